import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { salvor } from './salvor.ts';

const folder = mkdtempSync(join(tmpdir(), 'salvor-config-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function write(name: string, text: string): string {
  writeFileSync(join(folder, name), text);
  return name;
}

const GOOD = `
clusters: [{ name: prod, context: prod }]
rules:
  - name: ready
    match: ['alertname="PodRunningNotReady"', 'namespace!~"kube-.*"']
    runbook: drain-instance
    target: k8s/prod/\${labels.namespace}/pod/\${labels.pod}
  - name: crashing
    match: ['alertname="KubePodCrashLooping"']
    runbook: drain-instance
    target: k8s/prod/\${labels.namespace}/pod/\${labels.pod}
    mode: act
`;
const BAD = `
clusters: [{ name: prod, context: prod }]
rules:
  - name: ready
    match: ['alertname="PodRunningNotReady"']
    runbook: drain-instance
    target: k8s/prod/\${labels.namespace}/pod/\${labels.pod}
    gates: { maxInFlights: 2 }
    mode: acts
`;
const run = (...args: string[]) => salvor(args, { cwd: folder });

describe('salvor config check', () => {
  it('is silent about a good file, and answers 0', async () => {
    const { status, stdout, stderr } = await run('config', 'check', write('good.yaml', GOOD));
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: 'ok good.yaml: 2 rules\n', stderr: '' });
  });

  it('names every problem with its place in the file, and answers 2', async () => {
    const { status, stdout } = await run('config', 'check', write('bad.yaml', BAD));
    expect(status).toBe(2);
    const lines = stdout.trimEnd().split('\n');
    expect(lines).toHaveLength(2);
    expect(lines[0]).toMatch(/^bad\.yaml:8:14 .*maxInFlights.*maxInFlight/);
    expect(lines[1]).toMatch(/^bad\.yaml:9:11 .*observe.*act/);
  });

  it('warns of files that are not there, and takes the configuration all the same', async () => {
    const file = write(
      'files.yaml',
      'gateway: { bearerTokenFile: ./no-token }\nclusters: [{ name: c, kubeconfig: ./none }]',
    );
    write('token', 'x');
    const { status, stdout, stderr } = await run('config', 'check', file);
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'ok files.yaml: 0 rules\n' });
    expect(stderr.trimEnd().split('\n')).toEqual([
      `warning: files.yaml: gateway.bearerTokenFile: ${join(folder, 'no-token')} is not there`,
      `warning: files.yaml: clusters[0].kubeconfig: ${join(folder, 'none')} is not there`,
    ]);
    const json = JSON.parse((await run('config', 'check', '--json', file)).stdout);
    expect(json).toMatchObject({ ok: true, warnings: [{ setting: 'gateway.bearerTokenFile' }, {}] });
    const there = write('there.yaml', 'gateway: { bearerTokenFile: ./token }');
    expect((await run('config', 'check', there)).stderr).toBe('');
  });

  it('says the same as JSON', async () => {
    const { status, stdout } = await run('config', 'check', '--json', write('bad.yaml', BAD));
    expect(status).toBe(2);
    expect(JSON.parse(stdout)).toMatchObject({
      ok: false,
      problems: [
        { line: 8, column: 14 },
        { line: 9, column: 11 },
      ],
    });
  });

  it('takes the file from --config and from SALVOR_CONFIG, and says so where there is none', async () => {
    write('good.yaml', GOOD);
    expect((await run('-c', 'good.yaml', 'config', 'check')).status).toBe(0);
    expect((await salvor(['config', 'check'], { cwd: folder, env: { SALVOR_CONFIG: 'good.yaml' } })).status).toBe(0);
    const absent = await run('config', 'check');
    expect(absent.status).toBe(2);
    expect(absent.stderr).toContain('there is no salvor.yaml here');
  });
});

describe('salvor config schema', () => {
  it('is a JSON Schema that takes the good file and refuses the bad one', async () => {
    const { status, stdout } = await run('config', 'schema');
    expect(status).toBe(0);
    const validate = new Ajv2020({ strict: false, validateFormats: false }).compile(JSON.parse(stdout) as object);
    expect(validate(parse(GOOD))).toBe(true);
    expect(validate(parse(BAD))).toBe(false);
  });
});

describe('salvor config explain', () => {
  const alert = { labels: { alertname: 'KubePodCrashLooping', namespace: 'shop', pod: 'web-0' } };
  const explain = (json: unknown, ...args: string[]) =>
    salvor(['-c', write('good.yaml', GOOD), 'config', 'explain', '--alert', '-', ...args], {
      cwd: folder,
      stdin: JSON.stringify(json),
    });

  it('says which rule takes an alert to which target, and why the others do not', async () => {
    const { status, stdout } = await explain(alert);
    expect(status).toBe(0);
    expect(stdout).toContain(
      'ready (line 4): no match: alertname="PodRunningNotReady", but alertname is "KubePodCrashLooping"',
    );
    expect(stdout).toContain('crashing (line 8): drain-instance k8s/prod/shop/pod/web-0');
    expect(stdout).toContain('mode act');
    expect(stdout).toContain('scope prod/shop');
    expect(stdout).toContain('at most 1 at once');
    expect(stdout).toContain('at most 25% of the workload');
    expect(stdout).toContain('above 40% unhealthy');
  });

  it('says which rules begin by a schedule, of which some take no alert', async () => {
    const target = 'k8s/prod/shop/pod/web-0';
    const rule = { runbook: 'drain-instance', target };
    const text = JSON.stringify({
      clusters: [{ name: 'prod' }],
      rules: [
        { ...rule, name: 'nightly', schedule: '0 3 * * MON-FRI Europe/Berlin' },
        { ...rule, name: 'both', schedule: 'every 5m', match: ['alertname="KubePodCrashLooping"'] },
      ],
    });
    const { status, stdout } = await salvor(
      ['-c', write('scheduled.yaml', text), 'config', 'explain', '--alert', '-'],
      { cwd: folder, stdin: JSON.stringify(alert) },
    );
    expect(status).toBe(0);
    expect(stdout).toContain(
      'nightly (line 1): takes no alert: it begins by its schedule only (0 3 * * MON-FRI Europe/Berlin)\n',
    );
    expect(stdout).toContain(`both (line 1): drain-instance ${target}\n`);
    expect(stdout).toContain('schedule every 5m: it begins by itself too\n');
  });

  it('takes a whole webhook, and answers 1 where an alert of it starts nothing', async () => {
    const other = { status: 'firing', labels: { alertname: 'Other' }, startsAt: '2026-01-31T12:00:00Z' };
    const webhook = {
      version: '4',
      groupKey: '{}',
      status: 'firing',
      receiver: 'salvor',
      groupLabels: {},
      commonLabels: {},
      commonAnnotations: {},
      externalURL: '',
      alerts: [{ ...other, ...alert }, other],
    };
    const { status, stdout } = await explain(webhook, '--json');
    expect(status).toBe(1);
    const explained = JSON.parse(stdout) as { rules: { rule: string; matched: boolean; target?: string }[] }[];
    expect(explained).toHaveLength(2);
    expect(explained[0]?.rules[1]).toMatchObject({
      rule: 'crashing',
      matched: true,
      target: 'k8s/prod/shop/pod/web-0',
    });
    expect(explained[1]?.rules.map(({ matched }) => matched)).toEqual([false, false]);
  });

  it('says which label is missing, or no name', async () => {
    const { pod: _, ...labels } = alert.labels;
    const missing = await explain({ labels });
    expect(missing.status).toBe(1);
    expect(missing.stdout).toContain('matches, but starts nothing');
    expect(missing.stdout).toContain('labels.pod');
    const hostile = await explain({ labels: { ...labels, pod: '../../etc' } });
    expect(hostile.status).toBe(1);
    expect(hostile.stdout).toContain('cannot be the name of a target');
  });

  it('answers 2 to what is no alert', async () => {
    for (const json of ['nothing', { alerts: 'none' }, { labels: { pod: 7 } }]) {
      const { status, stderr } = await explain(json);
      expect({ json, status }).toEqual({ json, status: 2 });
      expect(stderr).toContain('salvor: standard input: ');
      expect(stderr).not.toContain('Invalid input');
    }
  });

  it('takes a list as Alertmanager answers it, and amtool prints it', async () => {
    const listed = {
      ...alert,
      annotations: {},
      startsAt: '2026-01-31T12:00:00.000Z',
      endsAt: '2026-01-31T12:05:00.000Z',
      updatedAt: '2026-01-31T12:01:00.000Z',
      fingerprint: '00a1b2c3d4e5f607',
      receivers: [{ name: 'salvor' }],
      status: { inhibitedBy: [], silencedBy: [], state: 'active' },
    };
    const { status, stdout } = await explain([listed, listed], '--json');
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject([
      { alert: { status: 'firing', fingerprint: listed.fingerprint } },
      { alert: { status: 'firing' } },
    ]);
  });
});

describe('wrong use', () => {
  it.each([
    ['an unknown command', ['heal']],
    ['an unknown option', ['list', '--all']],
    ['a missing argument', ['show']],
    ['an outcome that there is not', ['list', '--outcome', 'healed']],
    ['a runbook that there is not', ['run', 'reboot', 'k8s/prod/shop/pod/web-0']],
    ['a target that is none', ['run', 'drain-instance', 'web-0']],
    [
      'an option of the runbook that it does not have',
      ['run', 'drain-instance', 'k8s/prod/shop/pod/web-0', '-w', 'x=1'],
    ],
    ['a broken configuration', ['-c', 'bad.yaml', 'list']],
    ['a configuration that is not there', ['-c', 'none.yaml', 'list']],
  ])('%s answers 2, with words and without a trace', async (_, args) => {
    write('bad.yaml', BAD);
    const { status, stdout, stderr } = await salvor(args, { cwd: folder });
    expect(status).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).not.toBe('');
    expect(stderr).not.toMatch(/^\s+at /m);
  });

  it('is told as JSON where that is asked for', async () => {
    for (const args of [['heal'], ['list', '--all'], ['show'], ['list', '--outcome', 'healed'], ['config']]) {
      const { status, stdout, stderr } = await salvor([...args, '--json'], { cwd: folder });
      expect({ args, status, stderr }).toEqual({ args, status: 2, stderr: '' });
      expect(JSON.parse(stdout)).toMatchObject({ error: { status: 2, message: expect.not.stringMatching(/^error:/) } });
    }
  });

  it('finds the options of every command in its help', async () => {
    const { status, stdout } = await salvor(['run', '--help']);
    expect(status).toBe(0);
    expect(stdout).toContain('--config <file>');
    expect(stdout).not.toContain('(default: {})');
  });

  it('Temporal out of reach answers 4, names the address and says what to do', async () => {
    write('nowhere.yaml', 'temporal: { address: 127.0.0.1:9 }');
    const { status, stdout, stderr } = await salvor(['-c', 'nowhere.yaml', 'list'], { cwd: folder });
    expect({ status, stdout }).toEqual({ status: 4, stdout: '' });
    expect(stderr).toContain('Temporal at 127.0.0.1:9 cannot be reached');
    expect(stderr).toContain('salvor up');
    const json = await salvor(['-c', 'nowhere.yaml', 'list', '--json'], { cwd: folder });
    expect(JSON.parse(json.stdout)).toMatchObject({ error: { status: 4 } });
  });
});
