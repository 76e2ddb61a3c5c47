import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type AwsProxy, startAwsProxy } from './aws-proxy.ts';
import { findComponent } from './components.ts';
import { freePort } from './ports.ts';
import { answers, startComponent, untilReady } from './processes.ts';
import type { OnProgress } from './progress.ts';

export interface MotoOptions {
  /** Folder for its log; made where it is not there. */
  folder: string;
  onProgress?: OnProgress;
}

/** The APIs of AWS, as moto plays them, behind the proxy that adds what it lacks. Any credentials are accepted. */
export interface Moto {
  /** Of the proxy: the `endpoint` for clients. */
  readonly url: string;
  readonly proxy: AwsProxy;
  readonly pid: number;
  stop(): Promise<void>;
}

/** @throws MissingComponentError, ComponentStartError */
export async function startMoto({ folder, onProgress }: MotoOptions): Promise<Moto> {
  const executable = await findComponent('moto', { onProgress });
  await mkdir(folder, { recursive: true });
  const port = await freePort();
  const component = await startComponent({
    name: 'moto',
    file: executable,
    args: ['-H', '127.0.0.1', '-p', String(port)],
    // pip put its modules beside the folder of its scripts. It must never look for an account that is a real one.
    env: {
      PYTHONPATH: dirname(dirname(executable)),
      MOTO_EC2_LOAD_DEFAULT_AMIS: 'true',
      AWS_EC2_METADATA_DISABLED: 'true',
    },
    cwd: folder,
    logFile: join(folder, 'moto.log'),
  });
  const url = `http://127.0.0.1:${port}`;
  await untilReady(component, answers(`${url}/moto-api/`));
  const proxy = await startAwsProxy(url);
  return {
    url: proxy.url,
    proxy,
    pid: component.pid,
    stop: async () => {
      await proxy.stop();
      await component.stop();
    },
  };
}
