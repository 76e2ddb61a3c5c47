import type { Client } from '@temporalio/client';
import { describe, expect, it } from 'vitest';
import { Courier } from '../../gateway/courier.ts';
import { failureOf } from '../../gateway/failure.ts';
import { GatewayMetrics } from '../../gateway/metrics.ts';
import type { Batch } from '../../model/request.ts';
import { door } from '../support/wait.ts';
import { batch, request, rule } from '../support/workflows.ts';

/** A Temporal that takes one signal after the other, each when the test lets it. */
class Temporal {
  readonly taken: Batch[] = [];
  readonly doors: ReturnType<typeof door<Error | undefined>>[] = [];
  readonly courier: Courier;

  constructor() {
    const client = {
      withDeadline: (_end: number, call: () => Promise<unknown>) => call(),
      workflow: {
        signalWithStart: async (_type: string, { signalArgs }: { signalArgs: [Batch] }) => {
          this.taken.push(signalArgs[0]);
          const made = door<Error | undefined>();
          this.doors.push(made);
          const error = await made.opened;
          if (error) throw error;
        },
      },
    };
    this.courier = new Courier(client as unknown as Client, 'queue', new GatewayMetrics());
  }

  send(one: Batch, within = 60_000): Promise<void> {
    return this.courier.send(one, Date.now() + within);
  }

  /** Ends the signal under way. */
  async next(error?: Error): Promise<void> {
    this.doors.at(-1)?.open(error);
    await new Promise(setImmediate);
  }
}

const r = rule('r');
const pods = (...names: string[]): Batch =>
  batch(
    r,
    names.map((name) => request(name)),
  );
const namesIn = ({ requests }: Batch): string[] => requests.map(({ target }) => target.split('/').at(-1) ?? '');

describe('what comes while a signal is under way', () => {
  it('shares the next one, in its order, as a delivery of its own', async () => {
    const temporal = new Temporal();
    const batches = [pods('a'), pods('b', 'c'), pods('d')];
    const sent = batches.map((one) => temporal.send(one));
    expect(temporal.taken).toEqual([batches[0]]);
    await temporal.next();
    expect(temporal.taken.slice(1).map(namesIn)).toEqual([['b', 'c', 'd']]);
    expect(batches.map(({ delivery }) => delivery)).not.toContain(temporal.taken[1]?.delivery);
    await temporal.next();
    await Promise.all(sent);
    // Alone again, it waits for nobody and keeps its delivery.
    const last = pods('e');
    const alone = temporal.send(last);
    expect(temporal.taken.at(-1)).toBe(last);
    await temporal.next();
    await alone;
  });

  it('is split where it is too much for one signal', async () => {
    const temporal = new Temporal();
    const many = (from: string) => pods(...Array.from({ length: 90 }, (_, n) => `${from}${n}`));
    const sent = ['a', 'b', 'c', 'd'].map((from) => temporal.send(many(from)));
    for (let n = 0; n < 3; n++) await temporal.next();
    await Promise.all(sent);
    expect(temporal.taken.map(({ requests }) => requests.length)).toEqual([90, 180, 90]);
  });

  it('goes without what has no time left, which fails alone', async () => {
    const temporal = new Temporal();
    const first = temporal.send(pods('a'));
    const late = temporal.send(pods('b'), 400).catch(failureOf);
    const others = [temporal.send(pods('c')), temporal.send(pods('d'))];
    await temporal.next();
    expect(await late).toMatchObject({ status: 'DEADLINE_EXCEEDED' });
    expect(temporal.taken.slice(1).map(namesIn)).toEqual([['c', 'd']]);
    await temporal.next();
    await Promise.all([first, ...others]);
    // Where nobody has any left, nothing is sent.
    const taken = temporal.taken.length;
    await expect(temporal.send(pods('e'), 100)).rejects.toThrow('too late');
    expect(temporal.taken).toHaveLength(taken);
  });

  it('does not wait where it is for another scope, or under another version of the rule', () => {
    const temporal = new Temporal();
    const other = [batch(r, [request('b')], 'elsewhere'), batch(rule('r', {}, 'observe'), [request('c')])];
    for (const one of [pods('a'), ...other]) void temporal.send(one);
    expect(temporal.taken.map(namesIn)).toEqual([['a'], ['b'], ['c']]);
  });

  it('fails with it where Temporal is out of reach, and alone where only that signal was refused', async () => {
    const temporal = new Temporal();
    const outcomes = async (error: Error) => {
      const sent = [pods('a'), pods('b')].map((one) => temporal.send(one));
      const settled = Promise.allSettled(sent);
      await temporal.next(error);
      await temporal.next();
      return (await settled).map(({ status }) => status);
    };
    const grpc = (code: number) => Object.assign(new Error('no'), { code, details: 'no', metadata: {} });
    expect(await outcomes(grpc(14))).toEqual(['rejected', 'rejected']);
    expect(await outcomes(grpc(3))).toEqual(['rejected', 'fulfilled']);
  });
});
