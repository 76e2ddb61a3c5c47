import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { allFinished } from '../../../providers/processes/unfinished.ts';
import { sweep } from '../../../providers/processes/workplace.ts';
import { requiredProviders } from '../../../sandbox/opentofu.ts';
import { classesOf, makeWorld, openStage, providerOf, revertible, type Stage, type World } from './support.ts';

let stage: Stage;
beforeAll(async () => {
  stage = await openStage();
}, 900_000);
afterAll(() => stage?.[Symbol.asyncDispose]());

const local = requiredProviders('local');
const motd = (files: string) => `${local}
resource "local_file" "motd" {
  filename = "${files}/motd"
  content  = "welcome"
}
`;

const there = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );
const comes = (path: string) => expect.poll(() => there(path), { timeout: 60_000 }).toBe(true);
const lockOf = ({ state }: World) => join(dirname(state), '.terraform.tfstate.lock.info');

/** A person who plans, and is asked whether to apply: until they answer, the state is locked. */
async function ponder(world: World): Promise<ChildProcess> {
  const env = { ...process.env, ...stage.tofu.env, TF_INPUT: '1', TF_DATA_DIR: join(dirname(world.folder), 'data') };
  const person = spawn(stage.tofu.executable, ['apply', '-no-color'], {
    ...{ cwd: world.folder, env, stdio: ['pipe', 'ignore', 'ignore'] },
  });
  onTestFinished(async () => {
    if (person.exitCode !== null) return;
    person.kill('SIGKILL');
    await once(person, 'close');
  });
  await comes(lockOf(world));
  return person;
}

async function answer(person: ChildProcess, text: string): Promise<void> {
  const closed = once(person, 'close');
  person.stdin?.end(`${text}\n`);
  await closed;
}

test('a lock that somebody has is waited for, told, and never ended', async () => {
  const world = await makeWorld(stage, motd);
  await world.applyAll();
  await rm(join(world.files, 'motd'));
  const person = await ponder(world);
  const info = await readFile(lockOf(world), 'utf8');

  const hasty = { stack: { ...world.stack, lockWithin: 1_500 } };
  const refused = await providerOf(hasty)
    .compare()
    .catch((error: Error) => error);
  expect(refused).toMatchObject({ name: 'FinalError', type: 'Locked' });
  const { ID, Who } = JSON.parse(info) as { ID: string; Who: string };
  expect(String(refused)).toContain(`locked by ${Who} for OperationTypeApply since`);
  expect(String(refused)).toContain(`force-unlock ${ID}`);
  expect(await readFile(lockOf(world), 'utf8')).toBe(info);

  const patient = providerOf(world).compare();
  await answer(person, 'no');
  expect(classesOf(await patient)).toEqual({ 'local_file.motd': 'reversible' });
  expect(await there(lockOf(world))).toBe(false);
});

// Of a stack there is one run at a time: two at once are an attempt, and one before it that nobody waits for any more.
test('two at once take turns by the lock, and it is as its source says in the end', async () => {
  const world = await makeWorld(
    stage,
    (files) => `${local}
resource "local_file" "motd" {
  filename = "${files}/motd"
  content  = "welcome"
}
`,
  );
  await world.applyAll();
  await rm(join(world.files, 'motd'));
  const reviewed = revertible(await providerOf(world).compare());
  const told = await Promise.all([providerOf(world).revert(reviewed), providerOf(world).revert(reviewed)]);
  // A file that is made anew has the same id, so the state need not move: then the second finds its plan still good.
  const verdicts = told.map(({ verdict }) => verdict);
  expect(verdicts).toContain('reverted');
  for (const verdict of verdicts) expect(['changed', 'reverted']).toContain(verdict);
  expect(await readFile(join(world.files, 'motd'), 'utf8')).toBe('welcome');
  expect(await providerOf(world).compare()).toMatchObject({ verdict: 'same' });
});

/** Making the file again takes until `go` is there, but for the first time. */
const slow = (files: string) => `${local}
resource "local_file" "slow" {
  filename = "${files}/slow"
  content  = "slow"
  provisioner "local-exec" {
    command = "touch ${files}/begun; while [ ! -e ${files}/go ]; do sleep 0.1; done; echo made >> ${files}/log"
  }
}
resource "local_file" "next" {
  depends_on = [local_file.slow]
  filename   = "${files}/next"
  content    = "next"
}
`;

async function slowWorld(): Promise<World> {
  const world = await makeWorld(stage, slow);
  await writeFile(join(world.files, 'go'), '');
  await world.applyAll();
  for (const name of ['go', 'begun', 'slow', 'next']) await rm(join(world.files, name));
  return world;
}

test('the worker is killed during an apply: the next finds the lock, what was begun is ended, and the state is whole', async () => {
  const world = await slowWorld();
  const provider = providerOf(world);
  const reviewed = revertible(await provider.compare());
  expect(reviewed).toHaveLength(2);
  const child = spawn(
    process.execPath,
    [join(import.meta.dirname, 'revert-child.ts'), JSON.stringify({ stack: world.stack, reviewed })],
    { stdio: 'ignore' },
  );
  onTestFinished(async () => {
    await writeFile(join(world.files, 'go'), '');
  });
  await comes(join(world.files, 'begun'));
  const killed = once(child, 'close');
  child.kill('SIGKILL');
  await killed;

  await sweep(tmpdir());
  const mine = await readdir(tmpdir());
  expect(mine.filter((name) => name.includes(`-${child.pid}-`))).not.toEqual([]);
  const hasty = providerOf({ stack: { ...world.stack, lockWithin: 1_000 } });
  await expect(hasty.compare()).rejects.toMatchObject({ type: 'Locked' });
  const next = provider.revert(reviewed, { isRepeat: true });
  await writeFile(join(world.files, 'go'), '');
  const told = await next;
  expect(told).toMatchObject({ verdict: 'reverted' });
  expect(new Set(told.changes.map(({ object }) => object.uid))).toEqual(
    new Set(['local_file.slow', 'local_file.next']),
  );
  expect(await readFile(join(world.files, 'log'), 'utf8')).toBe('made\nmade\n');
  expect(await provider.compare()).toMatchObject({ verdict: 'same' });
  expect(await world.by('plan', '-no-color')).toContain('No changes');

  const gone = async () => {
    await sweep(tmpdir());
    return (await readdir(tmpdir())).filter((name) => name.includes(`-${child.pid}-`));
  };
  await expect.poll(gone, { timeout: 30_000 }).toEqual([]);
});

test('ended while it applies, it lets go of the lock, begins nothing more, and says what it has done', async () => {
  const world = await slowWorld();
  const provider = providerOf(world);
  const reviewed = revertible(await provider.compare());
  const over = new AbortController();
  const told = provider.revert(reviewed, { signal: over.signal, isCancelled: () => true });
  await comes(join(world.files, 'begun'));
  over.abort(new Error('cancelled'));
  // What a worker waits for before it ends.
  await allFinished();
  expect(await there(lockOf(world))).toBe(false);
  expect(await told).toMatchObject({
    verdict: 'failed',
    why: expect.stringContaining('it was ended before it was done'),
  });
  expect(await there(join(world.files, 'next'))).toBe(false);
  expect(JSON.parse(await world.stateText())).toMatchObject({ version: 4 });
});
