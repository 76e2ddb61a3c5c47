import { expect, it } from 'vitest';
import { Turns } from '../../activities/turns.ts';
import { eventually } from '../support/wait.ts';

const pulse = (controller = new AbortController()) => {
  const beats: unknown[] = [];
  const beat = (details: unknown) => void beats.push(details);
  return { signal: controller.signal, beat, beats, last: 'what was done before' };
};

it('so many at a time, the others in their order, each of them alive meanwhile', async () => {
  const turns = new Turns(1);
  const order: string[] = [];
  const first = await turns.next(pulse());
  const waiting = pulse();
  const others = ['a', 'b'].map(async (name) => {
    await using _ = await turns.next(name === 'a' ? waiting : pulse());
    order.push(name);
  });
  await eventually('who waits says that it lives', async () => waiting.beats.length > 0);
  expect(waiting.beats[0]).toBe('what was done before');
  expect(order).toEqual([]);
  await first[Symbol.asyncDispose]();
  await Promise.all(others);
  expect(order).toEqual(['a', 'b']);
});

it('who is cancelled while he waits takes no turn from the others', async () => {
  const turns = new Turns(1);
  const first = await turns.next(pulse());
  const controller = new AbortController();
  const gone = turns.next(pulse(controller));
  const next = turns.next(pulse());
  controller.abort(new Error('cancelled'));
  await expect(gone).rejects.toThrow('cancelled');
  await first[Symbol.asyncDispose]();
  await (await next)[Symbol.asyncDispose]();
  expect(await turns.next(pulse())).toBeDefined();
});
