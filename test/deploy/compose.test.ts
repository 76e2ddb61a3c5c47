import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { namedFiles, parseConfig } from '../../model/config.ts';
import { mounts, ROOT, readStack, readText, type Service, service } from './stack.ts';

const stack = readStack();
const services = Object.entries(stack.services);
const lasting = services.filter(([, { restart }]) => restart === 'unless-stopped');

/** Environment variables that the images take: template and entry point of Temporal's server, tools/sql, the CLI, the UI. */
const KNOWN: Record<string, string[]> = {
  postgres: ['POSTGRES_USER', 'POSTGRES_PASSWORD_FILE', 'PGHOST', 'PGUSER', 'PGDATABASE'],
  'temporalio/admin-tools': [
    'SQL_PLUGIN',
    'SQL_HOST',
    'SQL_PORT',
    'SQL_USER',
    'TEMPORAL_ADDRESS',
    'TEMPORAL_NAMESPACE',
  ],
  'temporalio/server': [
    'DB',
    'DB_PORT',
    'POSTGRES_SEEDS',
    'POSTGRES_USER',
    'BIND_ON_IP',
    'NUM_HISTORY_SHARDS',
    'DYNAMIC_CONFIG_FILE_PATH',
  ],
  'temporalio/ui': ['TEMPORAL_ADDRESS'],
};

/** `host:port` names a service of the stack that listens on that port. */
const LISTENS: Record<string, number> = {
  postgresql: 5432,
  temporal: 7233,
  'temporal-ui': 8080,
  prometheus: 9090,
  alertmanager: 9093,
  gateway: 9095,
  worker: 9096,
};
function expectService(address: string): void {
  const [host = '', port] = address.split(':');
  expect(Object.keys(stack.services), address).toContain(host);
  expect(Number(port), address).toBe(LISTENS[host]);
}

describe('docker-compose.yml', () => {
  it('is valid by the compose specification', () => {
    const validate = new Ajv2020({ strict: false, validateFormats: false }).compile(
      JSON.parse(readText('test/deploy/fixtures/compose-spec.schema.json')) as object,
    );
    expect(validate(stack) ? [] : validate.errors).toEqual([]);
    const misspelt = { ...stack, services: { gateway: { ...service(stack, 'gateway'), read_onyl: true } } };
    expect(validate(misspelt), 'the schema finds a misspelt key').toBe(false);
  });

  it('has Temporal with its database and UI, Prometheus, Alertmanager, the gateway and two workers', () => {
    expect(Object.keys(stack.services)).toEqual(
      expect.arrayContaining([
        'postgresql',
        'temporal',
        'temporal-ui',
        'prometheus',
        'alertmanager',
        'gateway',
        'worker',
      ]),
    );
    expect(service(stack, 'worker').deploy?.replicas).toBe(2);
  });

  it.each(services)(
    '%s waits only for services that exist, and can become what it waits for',
    (_name, { depends_on = {} }) => {
      for (const [other, { condition }] of Object.entries(depends_on)) {
        const awaited = service(stack, other);
        if (condition === 'service_healthy') expect(awaited.healthcheck, other).toBeDefined();
        if (condition === 'service_completed_successfully') expect(awaited.restart, other).toMatch(/^on-failure/);
      }
    },
  );

  it.each(services)('%s: every file, volume and secret that it names exists', (_name, one) => {
    for (const { source, options } of mounts(one)) {
      if (source.startsWith('.')) {
        expect(existsSync(join(ROOT, source)), source).toBe(true);
        expect(options, source).toBe('ro');
      } else expect(Object.keys(stack.volumes)).toContain(source);
    }
    for (const secret of one.secrets ?? []) expect(Object.keys(stack.secrets)).toContain(secret);
    if (one.build !== undefined) expect(existsSync(join(ROOT, one.build, 'Dockerfile'))).toBe(true);
  });

  it.each(services)(
    '%s: every path in its command and its environment is mounted, a secret of its own, or of its image',
    (_name, one) => {
      const targets = [
        ...mounts(one).map(({ target }) => target),
        ...(one.secrets ?? []).map((name) => `/run/secrets/${name}`),
      ];
      const text = [...(one.command ?? []), ...Object.values(one.environment ?? {})].join(' ');
      const OF_IMAGE = ['/etc/temporal/entrypoint.sh'];
      for (const [path] of text.matchAll(/(?<![\w.:])\/[a-z][\w./-]*/g))
        expect([...targets, ...OF_IMAGE]).toContain(path);
    },
  );

  it.each(services)(
    '%s: its environment holds what its image reads, and no secret',
    (_name, { image, environment = {} }) => {
      const [repository = ''] = image.split(':');
      expect(KNOWN[repository] ?? []).toEqual(expect.arrayContaining(Object.keys(environment)));
      for (const [name, value] of Object.entries(environment)) {
        if (/PASSWORD|TOKEN|SECRET|KEY/.test(name)) expect(value, name).toMatch(/^\/run\/secrets\//);
      }
    },
  );

  it.each(services)(
    '%s is pinned, runs on a read-only root without privileges, and publishes on loopback only',
    (_name, one) => {
      expect(one.image).toMatch(/:(?!latest$)[\w.-]+$/);
      expect(one).toMatchObject({ read_only: true, cap_drop: ['ALL'], security_opt: ['no-new-privileges:true'] });
      for (const port of one.ports ?? []) expect(port).toMatch(/^127\.0\.0\.1:\d+:\d+$/);
    },
  );

  it.each(lasting)('%s has a health check', (_name, { healthcheck }) => {
    expect(healthcheck?.test[0]).toBe('CMD');
  });

  it.each(services)(
    '%s: published and checked ports are those on which it listens',
    (name, { ports = [], healthcheck }) => {
      for (const port of ports) expect(Number(port.split(':').at(-1))).toBe(LISTENS[name]);
      for (const [, port] of (healthcheck?.test.join(' ') ?? '').matchAll(/127\.0\.0\.1[: ](\d+)/g))
        expect(Number(port)).toBe(LISTENS[name]);
    },
  );
});

describe('what the services of docker-compose.yml read', () => {
  const parsed = parseConfig(readText('examples/compose/salvor.yaml'), join(ROOT, 'examples/compose/salvor.yaml'));
  if (!parsed.ok) throw new Error(parsed.problems.map(({ message }) => message).join('\n'));
  const { config } = parsed;

  it('salvor.yaml names services, and files that gateway and worker have', () => {
    expectService(config.temporal.address);
    expect(config.gateway.listen).toEqual({ host: '0.0.0.0', port: LISTENS.gateway });
    expect(config.worker.listen).toEqual({ host: '0.0.0.0', port: LISTENS.worker });
    const files = namedFiles(config).map(({ path }) => path);
    for (const name of ['gateway', 'worker']) {
      const held = (service(stack, name).secrets ?? []).map((secret) => `/run/secrets/${secret}`);
      expect(held).toEqual(expect.arrayContaining(files));
    }
    expect(config.temporal.namespace).toBe(service(stack, 'temporal-namespace').environment?.TEMPORAL_NAMESPACE);
  });

  it('salvor.yaml names the Alertmanager of the stack, and the UI of Temporal where a person finds it', () => {
    for (const url of config.alertmanager?.urls ?? []) expectService(new URL(url).host);
    expect(config.alertmanager?.urls).toHaveLength(1);
    const published = service(stack, 'temporal-ui').ports?.map((port) => port.replace(/:\d+$/, ''));
    expect(published).toEqual([new URL(config.temporal.ui ?? '').host]);
  });

  it('the audit is in a database of its own, made with the password that Salvor has', () => {
    const url = new URL(config.audit?.url ?? '');
    expectService(url.host);
    const script = readText('deploy/compose/audit-database.sh');
    expect(script).toContain(`CREATE ROLE ${url.username} `);
    expect(script).toContain(`CREATE DATABASE ${url.pathname.slice(1)} OWNER ${url.username}`);
    expect(script).toContain(`cat ${config.audit?.passwordFile})`);
    expect(service(stack, 'audit-database').environment?.PGUSER).toBe(
      service(stack, 'postgresql').environment?.POSTGRES_USER,
    );
    for (const name of ['gateway', 'worker'])
      expect(service(stack, name).depends_on?.['audit-database']).toEqual({
        condition: 'service_completed_successfully',
      });
  });

  it('acts on nothing before a person says so', () => {
    expect(config.rules.map(({ rule }) => rule.mode)).toEqual(['observe']);
  });

  it('Temporal, its schema and its UI name services', () => {
    for (const name of ['temporal-namespace', 'temporal-ui'])
      expectService(service(stack, name).environment?.TEMPORAL_ADDRESS ?? '');
    const { SQL_HOST, SQL_PORT } = service(stack, 'temporal-schema').environment ?? {};
    expectService(`${SQL_HOST}:${SQL_PORT}`);
    const { POSTGRES_SEEDS, DB_PORT } = service(stack, 'temporal').environment ?? {};
    expectService(`${POSTGRES_SEEDS}:${DB_PORT}`);
  });

  it('Alertmanager delivers to the webhook of the gateway, with a token that it has', () => {
    const { receivers } = parse(readText('examples/compose/alertmanager.yml')) as {
      receivers: {
        webhook_configs?: { url: string; http_config: { authorization: { credentials_file: string } } }[];
      }[];
    };
    const [webhook] = receivers.flatMap(({ webhook_configs = [] }) => webhook_configs);
    const url = new URL(webhook?.url ?? '');
    expectService(url.host);
    expect(url.pathname).toBe('/webhook/alertmanager');
    const secrets = (service(stack, 'alertmanager').secrets ?? []).map((secret) => `/run/secrets/${secret}`);
    expect(secrets).toContain(webhook?.http_config.authorization.credentials_file);
  });

  it('the alerts of Salvor itself go to a person at once, and never to Salvor', () => {
    const { route } = parse(readText('examples/compose/alertmanager.yml')) as {
      route: {
        group_wait: string;
        routes: { receiver: string; matchers?: string[]; continue?: boolean; group_wait: string }[];
      };
    };
    const [own, salvor] = route.routes;
    expect(own).toMatchObject({ receiver: 'person', matchers: ['salvor_id!=""'], group_wait: '0s' });
    expect(own?.continue).toBeUndefined();
    expect(salvor).toMatchObject({ receiver: 'salvor', continue: true });
  });

  it('Prometheus scrapes and alerts services, with rules and targets that it has', () => {
    const prometheus = parse(readText('examples/compose/prometheus.yml')) as {
      rule_files: string[];
      alerting: { alertmanagers: { static_configs: { targets: string[] }[] }[] };
      scrape_configs: {
        job_name: string;
        static_configs?: { targets: string[] }[];
        dns_sd_configs?: { names: string[]; port: number }[];
        file_sd_configs?: { files: string[] }[];
      }[];
    };
    const listed = [...prometheus.alerting.alertmanagers, ...prometheus.scrape_configs].flatMap(
      ({ static_configs = [] }) => static_configs,
    );
    for (const address of listed.flatMap(({ targets }) => targets))
      expectService(address.replace('localhost', 'prometheus'));
    for (const { names, port } of prometheus.scrape_configs.flatMap(({ dns_sd_configs = [] }) => dns_sd_configs))
      for (const name of names) expectService(`${name}:${port}`);
    expect(prometheus.rule_files).toEqual(['rules/*.yml', 'salvor/*.yml']);
    for (const file of prometheus.scrape_configs
      .flatMap(({ file_sd_configs = [] }) => file_sd_configs)
      .flatMap(({ files }) => files)) {
      expect(existsSync(join(ROOT, 'examples/compose', file)), file).toBe(true);
    }
    expect(mounts(service(stack, 'prometheus')).map(({ target }) => target)).toEqual(
      expect.arrayContaining([
        '/etc/prometheus/prometheus.yml',
        '/etc/prometheus/rules',
        '/etc/prometheus/salvor',
        '/etc/prometheus/targets',
      ]),
    );
  });

  it('the rules about Salvor look at jobs that Prometheus has', () => {
    const jobs = [...readText('deploy/prometheus/salvor.yml').matchAll(/job="([^"]+)"/g)].map(([, job]) => job);
    expect(new Set(jobs)).toEqual(new Set(['salvor-gateway', 'salvor-worker']));
    for (const job of jobs) expect(readText('examples/compose/prometheus.yml')).toContain(`job_name: ${job}\n`);
  });

  it.each(['temporal-schema.sh', 'temporal-namespace.sh', 'audit-database.sh', 'secrets.sh'])(
    '%s is a shell script without errors of syntax',
    (script) => {
      const checked = spawnSync('sh', ['-n', join(ROOT, 'deploy/compose', script)], { encoding: 'utf8' });
      expect(checked).toMatchObject({ status: 0, stderr: '' });
    },
  );
});

describe('deploy/compose/secrets.sh', () => {
  const folder = mkdtempSync(join(tmpdir(), 'salvor-secrets-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  cpSync(join(ROOT, 'deploy/compose'), join(folder, 'deploy/compose'), { recursive: true });
  // Stands for the person's kubectl: what it is asked is what counts here.
  writeFileSync(join(folder, 'kubectl'), '#!/bin/sh\necho "# kubectl $*"\n');
  chmodSync(join(folder, 'kubectl'), 0o755);
  const run = () =>
    spawnSync('sh', ['deploy/compose/secrets.sh', 'prod'], {
      cwd: folder,
      encoding: 'utf8',
      env: { PATH: `${folder}:${process.env.PATH}` },
    });

  it('writes every secret that the stack reads, for its containers only, and keeps them the next time', () => {
    expect(run().status).toBe(0);
    const files = Object.values(stack.secrets).map(({ file }) => join(folder, file));
    expect(statSync(join(folder, 'secrets')).mode & 0o777).toBe(0o700);
    for (const file of files) expect(statSync(file).mode & 0o777).toBe(0o444);
    const read = () => files.map((file) => readFileSync(file, 'utf8'));
    const written = Object.fromEntries(files.map((file) => [basename(file), readFileSync(file, 'utf8')]));
    const { kubeconfig, ...random } = written;
    expect(Object.keys(random).sort()).toEqual(['audit_password', 'postgres_password', 'webhook_token']);
    for (const secret of Object.values(random)) expect(secret).toMatch(/^[0-9a-f]{64}$/);
    expect(new Set(Object.values(random)).size).toBe(3);
    expect(kubeconfig).toBe('# kubectl config view --raw --minify --flatten --context prod\n');

    const before = read();
    expect(run()).toMatchObject({ status: 0, stdout: '' });
    expect(read()).toEqual(before);
  });

  it('writes where git and the image builder do not look', () => {
    expect(readText('.gitignore').split('\n')).toContain('/secrets/');
    expect(readText('.dockerignore').split('\n')).toContain('*');
    expect(readText('.dockerignore')).not.toMatch(/^!secrets/m);
  });
});

describe('Dockerfile', () => {
  const lines = readText('Dockerfile').replaceAll('\\\n', ' ').split('\n');
  const copied = lines
    .filter((line) => line.startsWith('COPY ') && !line.includes('--from='))
    .flatMap((line) => line.split(/\s+/).slice(1, -1));
  const compiled = (JSON.parse(readText('tsconfig.build.json')) as { include: string[] }).include;

  it('copies what exists, and nothing that .dockerignore keeps away', () => {
    const let_in = readText('.dockerignore')
      .split('\n')
      .filter((line) => line.startsWith('!'))
      .map((line) => line.slice(1));
    for (const source of copied) {
      expect(existsSync(join(ROOT, source)), source).toBe(true);
      expect(let_in).toContain(source);
    }
  });

  it('copies every room that is compiled, and no empty one, for that is in no clone', () => {
    const holdsCode = (room: string) =>
      existsSync(join(ROOT, room)) &&
      readdirSync(join(ROOT, room), { recursive: true }).some((file) => String(file).endsWith('.ts'));
    for (const room of compiled) expect(copied.includes(room), room).toBe(holdsCode(room));
  });

  it('runs as a user by number, with an init, on the Node that the tests run on', () => {
    const { devDependencies } = JSON.parse(readText('package.json')) as { devDependencies: Record<string, string> };
    expect(lines).toContain(`ARG NODE=${devDependencies.node}`);
    expect(lines).toContain('USER 1000:1000');
    const entry = JSON.parse(
      lines.find((line) => line.startsWith('ENTRYPOINT'))?.slice('ENTRYPOINT'.length) ?? '[]',
    ) as string[];
    expect(entry).toEqual(['/usr/bin/tini', '--', 'node', '/salvor/bin/salvor.mjs']);
    expect(existsSync(join(ROOT, 'bin/salvor.mjs'))).toBe(true);
  });

  it('gives the services commands that salvor has', () => {
    const own = services.filter(([, { image }]: [string, Service]) => image === 'salvor:local');
    expect(own.map(([name]) => name)).toEqual(['gateway', 'worker']);
    for (const [, { command }] of own)
      expect(existsSync(join(ROOT, 'cli', `${command?.[0]}.ts`)), command?.[0]).toBe(true);
  });
});
