import { createHash, randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Gateway, startGateway } from '../../gateway/server.ts';
import { parseConfig } from '../../model/config.ts';
import { readPauses } from '../../providers/temporal/pauses.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { type Ordered, startOrdered } from '../support/proposals.ts';
import { type Ended, type Invocation, salvor as invoke } from './salvor.ts';

const TOKEN = 'the-token-of-ada';

let sandbox: Sandbox<'temporal'>;
let ordered: Ordered;
let gateway: Gateway;
const folder = mkdtempSync(join(tmpdir(), 'salvor-pause-'));
let id: string;

beforeAll(async () => {
  sandbox = await startSandbox({ parts: ['temporal'], temporal: { headless: true } });
  ordered = await startOrdered({ address: sandbox.temporal.address });
  write('salvor.yaml', {});
  const people = [{ name: 'ada', tokenHash: createHash('sha256').update(TOKEN).digest('hex') }];
  const parsed = parseConfig(write('people.yaml', { gateway: { listen: '127.0.0.1:0', people } }), 'people.yaml');
  if (!parsed.ok) throw new Error(parsed.problems.map(({ message }) => message).join('\n'));
  gateway = await startGateway({ config: parsed.config, logger: pino({ level: 'silent' }) });
  const { host } = new URL(gateway.url);
  // As whoever runs the command has it: with the address that the gateway has.
  write('people.yaml', { gateway: { listen: host, people } });
});
afterAll(async () => {
  await gateway?.close();
  await ordered?.stop();
  await sandbox?.stop();
  rmSync(folder, { recursive: true, force: true });
});
beforeEach(() => {
  id = `t${randomUUID().slice(0, 8)}`;
});
afterEach(async () => {
  await salvor('resume');
  expect(await readPauses(ordered.client)).toEqual([]);
});

function write(file: string, more: object): string {
  const text = JSON.stringify({
    temporal: { address: sandbox.temporal.address, taskQueue: ordered.taskQueue },
    audit: { url: 'file:./audit.db' },
    clusters: [{ name: 'prod', context: 'prod' }],
    ...more,
  });
  writeFileSync(join(folder, file), text);
  return text;
}

const salvor = (...args: string[]): Promise<Ended> => invoke(args, { cwd: folder });
const asPeople = (args: string[], more: Invocation = {}): Promise<Ended> =>
  invoke(['-c', 'people.yaml', ...args], { cwd: folder, ...more });
const prefixes = async () => (await readPauses(ordered.client)).map(({ prefix }) => prefix);

describe('straight to Temporal on this machine', () => {
  it('pauses and resumes, on record as somebody whom nobody has verified', async () => {
    const paused = await salvor('pause', `k8s/prod/${id}`, '--for', '2h', '--reason', 'a look');
    expect(paused).toMatchObject({ status: 0, stderr: expect.stringContaining('unverified:') });
    expect(paused.stdout).toMatch(new RegExp(`k8s/prod/${id} is paused by unverified:\\S+ \\(a look\\) until \\d{4}-`));
    const [one] = await readPauses(ordered.client);
    expect(Date.parse(one!.until!) - Date.parse(one!.since)).toBe(7_200_000);

    const everything = await salvor('pause', '--json');
    expect(JSON.parse(everything.stdout)).toMatchObject({ pause: { prefix: '', by: one!.by } });
    const listed = await salvor('list');
    expect(listed.stdout.split('\n').slice(0, 2)).toEqual([
      expect.stringMatching(new RegExp(`^k8s/prod/${id} is paused by`)),
      expect.stringMatching(/^everything is paused by/),
    ]);
    expect(JSON.parse((await salvor('list', '--json')).stdout)).toMatchObject([
      { outcome: 'paused', prefix: `k8s/prod/${id}` },
      { outcome: 'paused', prefix: '' },
    ]);

    const resumed = await salvor('resume', `k8s/prod/${id}`, '--reason', 'seen');
    expect(resumed).toMatchObject({ status: 0, stdout: expect.stringContaining(`k8s/prod/${id} is resumed`) });
    expect(resumed.stderr).toContain('still held back: everything is paused');
    expect(await prefixes()).toEqual(['']);
    expect((await salvor('resume', `k8s/prod/${id}`)).stdout).toContain('nothing was paused at or under');
  });

  it('says so where nothing that is configured is under the prefix', async () => {
    const paused = await salvor('pause', 'k8s/prd');
    expect(paused).toMatchObject({ status: 0, stderr: expect.stringContaining('was k8s/prod meant?') });
  });

  it.each([
    ['a prefix of no known form', ['pause', 'prod/*']],
    ['a duration that is none', ['pause', '--for', 'soon']],
    ['a duration that is too long', ['pause', '--for', '31d']],
    ['an unknown form of what is resumed', ['resume', 'rule/a/b']],
    ['a gateway that is no address', ['pause', '--gateway', 'here']],
  ])('%s is wrong use, and nothing is paused', async (_name, args) => {
    const { status, stdout, stderr } = await salvor(...args);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).not.toMatch(/\n\s+at /);
    expect(await prefixes()).toEqual([]);
  });

  it('is refused where Temporal is not on this machine: nobody could tell who it was', async () => {
    write('remote.yaml', { temporal: { address: 'temporal.example.com:7233' } });
    const { status, stderr } = await salvor('-c', 'remote.yaml', 'pause');
    expect(status).toBe(2);
    expect(stderr).toMatch(/nobody can tell who[\s\S]*SALVOR_GATEWAY[\s\S]*SALVOR_TOKEN/);
  });

  it('says so where Temporal cannot be reached', async () => {
    write('down.yaml', { temporal: { address: '127.0.0.1:9' } });
    expect(await salvor('-c', 'down.yaml', 'pause')).toMatchObject({ status: 4 });
  });
});

describe('through the gateway, where people are configured', () => {
  it('pauses in the name of the token', async () => {
    const paused = await asPeople(['pause', `k8s/prod/${id}`, '--json'], { env: { SALVOR_TOKEN: TOKEN } });
    expect(paused).toMatchObject({ status: 0, stderr: '' });
    expect(JSON.parse(paused.stdout)).toMatchObject({ pause: { by: 'person:ada' } });
    writeFileSync(join(folder, 'token'), `${TOKEN}\n`);
    const resumed = await asPeople(['resume', '--token-file', 'token']);
    expect(resumed).toMatchObject({ status: 0, stdout: expect.stringContaining(`k8s/prod/${id} is resumed`) });
  });

  it('also where only the gateway is named', async () => {
    const env = { SALVOR_GATEWAY: gateway.url, SALVOR_TOKEN: TOKEN };
    const paused = await invoke(['pause', 'k8s/prod', '--json'], { cwd: tmpdir(), env });
    expect(JSON.parse(paused.stdout)).toMatchObject({ pause: { by: 'person:ada' } });
  });

  it('tells what the gateway says: who is not known, what is wrong, that it is not there', async () => {
    const env = { SALVOR_TOKEN: TOKEN };
    const without = await asPeople(['pause']);
    expect(without).toMatchObject({ status: 2, stderr: expect.stringContaining('SALVOR_TOKEN') });
    expect(await asPeople(['pause'], { env: { SALVOR_TOKEN: 'another' } })).toMatchObject({ status: 3 });
    expect(await asPeople(['pause', 'prod'], { env })).toMatchObject({ status: 2 });
    const gone = await asPeople(['pause', '--gateway', 'http://127.0.0.1:9', '--json'], { env });
    expect(gone.status).toBe(4);
    expect(JSON.parse(gone.stdout)).toMatchObject({ error: { status: 4 } });
    expect(await prefixes()).toEqual([]);
  });
});
