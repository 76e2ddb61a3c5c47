import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createSecureServer, type Http2SecureServer } from 'node:http2';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer, type TLSSocket } from 'node:tls';
import { NativeConnection } from '@temporalio/worker';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connectOptions, lazyClient } from '../../providers/temporal/connect.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { testConfig } from './harness.ts';

const CA = join(import.meta.dirname, 'fixtures', 'ca.pem');
const CERT = join(import.meta.dirname, 'fixtures', 'cert.pem');
const KEY = join(import.meta.dirname, 'fixtures', 'key.pem');
const [ca, cert, key] = [readFileSync(CA), readFileSync(CERT), readFileSync(KEY)];

let sandbox: Sandbox<'temporal'>;
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'salvor-temporal-'));
  sandbox = await startSandbox({ parts: ['temporal'], temporal: { headless: true } });
});
afterAll(async () => {
  await sandbox?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Temporal behind TLS that wants a client certificate, as a proxy before it would. */
async function behindTls(): Promise<{ address: string; close(): void }> {
  const sockets = new Set<TLSSocket>();
  const options = { cert, key, ca, requestCert: true, rejectUnauthorized: true, ALPNProtocols: ['h2'] };
  const server = createServer(options, (outer) => {
    sockets.add(outer);
    const [host, port] = sandbox.temporal.address.split(':');
    const inner = connect(Number(port), host);
    outer.pipe(inner).pipe(outer);
    outer.on('error', () => inner.destroy());
    inner.on('error', () => outer.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    address: `localhost:${(server.address() as AddressInfo).port}`,
    close: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

async function reach(temporal: object): Promise<string> {
  const config = testConfig(temporal);
  const client = lazyClient(config.temporal);
  try {
    const { namespaceInfo } = await client.withDeadline(Date.now() + 15_000, () =>
      client.workflowService.describeNamespace({ namespace: config.temporal.namespace }),
    );
    return namespaceInfo?.name ?? '';
  } finally {
    await client.connection.close();
  }
}

describe('TLS', () => {
  test('with the authority of the server and a certificate of the client', async () => {
    const proxy = await behindTls();
    try {
      const tls = { caFile: CA, certFile: CERT, keyFile: KEY };
      expect(await reach({ address: proxy.address, tls })).toBe('default');
      const options = connectOptions(testConfig({ address: proxy.address, tls }).temporal);
      const native = await NativeConnection.connect(options);
      await native.close();
      await expect(reach({ address: proxy.address })).rejects.toThrow();
      await expect(reach({ address: proxy.address, tls: true })).rejects.toThrow(/UNAVAILABLE/);
      const misnamed = { ...tls, serverName: 'temporal.example' };
      await expect(reach({ address: proxy.address, tls: misnamed })).rejects.toThrow(/UNAVAILABLE/);
    } finally {
      proxy.close();
    }
  });

  test('without TLS', async () => {
    expect(await reach({ address: sandbox.temporal.address })).toBe('default');
  });

  test('half a pair, and a file that is not there, are said', () => {
    const { temporal } = testConfig({});
    const half = { ...temporal, tls: { certFile: CERT } };
    expect(() => connectOptions(half)).toThrow(/certFile and keyFile belong together/);
    const absent = { ...temporal, tls: { caFile: '/nonexistent/ca.pem' } };
    expect(() => connectOptions(absent)).toThrow(
      /temporal\.tls\.caFile: \/nonexistent\/ca\.pem cannot be read \(ENOENT\)/,
    );
  });
});

describe('API key', () => {
  /** Answers every call "permission denied", and keeps the key that it came with. */
  async function keyTaker(): Promise<{ server: Http2SecureServer; address: string; keys: unknown[] }> {
    const keys: unknown[] = [];
    const server = createSecureServer({ cert, key });
    server.on('stream', (stream, headers) => {
      keys.push(headers.authorization);
      stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '7' }, { endStream: true });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return { server, address: `localhost:${(server.address() as AddressInfo).port}`, keys };
  }

  test('from a file; one that is rotated is taken up by an open connection', async () => {
    const { server, address, keys } = await keyTaker();
    const apiKeyFile = join(folder, 'key');
    writeFileSync(apiKeyFile, 'first\n');
    const client = lazyClient(testConfig({ address, apiKeyFile, tls: { caFile: CA } }).temporal);
    try {
      const call = () => client.workflowService.getSystemInfo({});
      await expect(call()).rejects.toThrow(/PERMISSION_DENIED/);
      writeFileSync(apiKeyFile, 'second-key');
      await expect(call()).rejects.toThrow(/PERMISSION_DENIED/);
      expect(keys).toEqual(['Bearer first', 'Bearer second-key']);
    } finally {
      await client.connection.close();
      server.close();
    }
  });

  test('from the environment, and one that is not there', () => {
    const { temporal } = testConfig({ apiKeyEnv: 'SALVOR_TEST_API_KEY' });
    expect(() => lazyClient(temporal)).toThrow(/temporal\.apiKeyEnv: .*SALVOR_TEST_API_KEY is not set/);
    process.env.SALVOR_TEST_API_KEY = 'a-key';
    expect(connectOptions(temporal).apiKey).toBe('a-key');
    delete process.env.SALVOR_TEST_API_KEY;
    const absent = testConfig({ apiKeyFile: '/nonexistent/key' }).temporal;
    expect(() => connectOptions(absent)).toThrow(/temporal\.apiKeyFile: \/nonexistent\/key cannot be read/);
  });
});
