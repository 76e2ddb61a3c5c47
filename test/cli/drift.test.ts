import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Asked, compare, tell } from '../../cli/drift.ts';
import { describeDrift, summary } from '../../cli/drift-text.ts';
import { CliError } from '../../cli/status.ts';
import { type Difference, type DriftClass, SENSITIVE } from '../../model/drift/difference.ts';
import type { Stack } from '../../model/drift/options.ts';
import type { Comparison } from '../../model/ports/desired-state.ts';
import type { DesiredStateProvider, DriftMeans } from '../../providers/desired-state.ts';
import { FinalError, UnavailableError } from '../../providers/errors.ts';
import { type Ended, salvor as invoke } from './salvor.ts';

const stack: Stack = {
  ...{ name: 'net', manifests: { folder: '/net', cluster: 'prod', kustomize: false } },
  ...{ ignore: [], minAge: 0, holdWhile: [], lockWithin: 0 },
};

const difference = (one: DriftClass, more: Partial<Difference> = {}): Difference => ({
  ...{ address: 'k8s/prod/shop/service/web', kind: 'Service', class: one, why: 'somebody changed it' },
  ...{ action: 'update', fields: [{ path: 'spec.ports[0].port', live: 8080, source: 80 }], digest: '0' },
  ...more,
});

const differing = (...differences: Difference[]): Extract<Comparison, { verdict: 'differs' | 'same' }> => ({
  ...{ verdict: differences.length > 0 ? 'differs' : 'same', why: 'all is as the source says', differences },
});

/** A provider of the port, which answers what it is told to. */
async function asking(
  answer: (means: DriftMeans) => Promise<Comparison>,
  more: Partial<Asked> = {},
): Promise<Comparison> {
  const provider: DesiredStateProvider = {
    compare: (request, means) => {
      expect(request).toMatchObject({
        stack,
        prune: ['Service'],
        create: ['NetworkPolicy'],
        actor: { runbook: 'revert-drift' },
      });
      return answer(means);
    },
    revert: () => Promise.reject(new Error('a check reverts nothing')),
  };
  const signal = new AbortController().signal;
  const asked = { stack, prune: ['Service'], create: ['NetworkPolicy'], held: async () => [], signal, ...more };
  return await compare({ of: () => provider }, asked);
}

afterEach(() => vi.restoreAllMocks());

const printed = (): (() => string) => {
  const wrote = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
  return () => wrote.mock.calls.map(([text]) => String(text)).join('');
};

describe('a check answers', () => {
  it.each<[string, DriftClass[], number]>([
    ['nothing: 0', [], 0],
    ['what is no drift: 0', ['unapplied', 'ignored', 'held', 'computed'], 0],
    ['what can be reverted: 1', ['unapplied', 'reversible'], 1],
    ['what needs an approval: 1', ['destructive'], 1],
    ['what is mixed: 1', ['mixed'], 1],
    ['what is only there: 1', ['extra'], 1],
  ])('%s', async (_, classes, status) => {
    const out = printed();
    const compared = await asking(async () => differing(...classes.map((one) => difference(one))));
    expect(await tell({ json: true }, 'net', compared, false)).toBe(status);
    const told = JSON.parse(out());
    expect(told).toMatchObject({ stack: 'net', drift: status === 1, verdict: compared.verdict });
    expect(told.differences.map((one: Difference) => one.class)).toEqual(classes);
    expect(Object.values<number>(told.counts).reduce((sum, one) => sum + one, 0)).toBe(classes.length);
    expect(await tell({ json: false }, 'net', compared, false)).toBe(status);
  });

  it.each([
    ['the API does not answer', new UnavailableError('prod does not answer')],
    ['the state is locked', new FinalError('the state is locked by ada', { type: 'Locked' })],
    ['it may not look', new FinalError('services is forbidden', { type: 'Forbidden' })],
    ['nobody foresaw it', new TypeError('undefined is not a function')],
  ])('that it could not find out, where %s: 4', async (_, error) => {
    const failed = await asking(() => Promise.reject(error)).catch((thrown: unknown) => thrown);
    expect(failed).toBeInstanceOf(CliError);
    expect(failed).toMatchObject({ status: 4, message: expect.stringContaining(error.message) });
  });

  it('that it could not find out, where the source must not be compared: 4', async () => {
    const refused = await asking(async () => ({ verdict: 'refused', why: 'the source is empty' }));
    const failed = await tell({ json: false }, 'net', refused, false).catch((thrown: unknown) => thrown);
    expect(failed).toMatchObject({ status: 4, message: 'net was not compared: the source is empty' });
  });

  it('nothing but the reason, where it is interrupted', async () => {
    const over = new AbortController();
    const ended = asking(
      ({ pulse: { signal } }) =>
        new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
      { signal: over.signal },
    );
    over.abort(new Error('interrupted'));
    await expect(ended).rejects.toBe(over.signal.reason);
  });

  it('to whoever would write, that a check changes nothing; and what is held is read once, when it is asked for', async () => {
    const held = vi.fn(async () => []);
    await asking(async () => differing(), { held });
    expect(held).not.toHaveBeenCalled();
    await asking(
      async ({ pulse, held: read }) => {
        await expect(pulse.stillMine()).rejects.toThrow('a check changes nothing');
        pulse.beat({});
        expect(await read()).toBe(await read());
        return differing();
      },
      { held },
    );
    expect(held).toHaveBeenCalledTimes(1);
  });
});

describe('what differs is shown', () => {
  const compared = {
    ...differing(
      difference('destructive', {
        ...{
          address: 'module.a.aws_instance.web["a"]',
          kind: 'aws_instance',
          action: 'replace',
          why: 'it has to be replaced',
        },
        ...{ fields: [{ path: 'user_data', live: SENSITIVE, source: SENSITIVE, sensitive: true as const }], more: 3 },
      }),
      difference('reversible', {
        who: { by: 'kubectl-edit', told: 'managedFields' },
        fields: [{ path: 'spec.type', live: 'NodePort', source: null }],
      }),
      difference('unapplied', { address: 'null_resource.new', why: 'not applied yet' }),
    ),
    ...{ revision: '1a2b3c4d', more: 2 },
  };

  it('drift with its fields, as they are and as the source has them; what is none in a line', () => {
    expect(describeDrift('net', compared, false)).toEqual([
      '± module.a.aws_instance.web["a"] aws_instance',
      '    destructive: it has to be replaced',
      '    user_data: (sensitive) → (sensitive)',
      '    … and 3 more fields',
      '',
      '~ k8s/prod/shop/service/web Service',
      '    reversible: somebody changed it',
      '    spec.type: "NodePort" → absent',
      '    changed by kubectl-edit (managedFields)',
      '',
      '~ null_resource.new unapplied: not applied yet',
      '',
      '… and 2 more',
      '',
      'net has drifted: 1 destructive, 1 reversible, 1 unapplied, 2 more (compared with 1a2b3c4d)',
    ]);
    expect(describeDrift('net', compared, true)).toContain('    spec.ports[0].port: 8080 → 80');
    expect(summary('net', differing(difference('held')))).toBe('net has not drifted: 1 held');
    expect(summary('net', differing())).toBe('net has not drifted: all is as the source says');
  });

  it('without what a terminal would obey', () => {
    const evil = '\u001b[2J\u202e';
    const fields = [{ path: evil, live: evil, source: evil }];
    const bad = difference('reversible', {
      address: evil,
      kind: evil,
      why: evil,
      fields,
      who: { by: evil, told: 'CloudTrail' },
    });
    const lines = describeDrift(
      'net',
      { ...differing(bad, difference('held', { address: evil, why: evil })), revision: evil },
      true,
    );
    for (const control of ['\u001b', '\u202e']) expect(lines.join('\n')).not.toContain(control);
  });
});

describe('salvor drift', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'salvor-drift-'));
    writeFileSync(
      join(folder, 'salvor.yaml'),
      'clusters: [{ name: prod }]\nstacks: [{ name: net, manifests: { folder: ./net, cluster: prod } }]\n',
    );
    return () => rmSync(folder, { recursive: true, force: true });
  });
  const salvor = (...args: string[]): Promise<Ended> => invoke(args, { cwd: folder });

  it('says which stacks there are, where it is given another one: 2', async () => {
    const ended = await salvor('drift', 'check', 'nets');
    expect(ended).toMatchObject({ status: 2, stdout: '' });
    expect(ended.stderr).toContain('the stack nets is not configured: the stacks are net; did you mean net?');
    expect((await salvor('drift', 'check')).status).toBe(2);
    const json = await salvor('drift', 'check', 'nets', '--json');
    expect(JSON.parse(json.stdout)).toMatchObject({ error: { status: 2 } });
  });
});
