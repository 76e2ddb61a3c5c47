import { expect, it } from 'vitest';
import { salvor } from './salvor.ts';

interface Act {
  steps: { after: number; what: string }[];
}

it('`salvor sandbox demo` breaks two pods and shows how they are healed', async () => {
  const { status, stdout, stderr } = await salvor(['sandbox', 'demo', '--json']);
  expect(stderr).not.toContain('salvor:');
  expect(status).toBe(0);
  const lines = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { done?: boolean; acts?: Act[] });
  const [recovers, replaced] = lines.at(-1)?.acts?.map(({ steps }) => steps.map(({ what }) => what)) ?? [];
  const text = (pattern: RegExp) => expect.stringMatching(pattern);
  expect(recovers).toEqual(
    expect.arrayContaining([
      text(/^the pod \S+ is broken$/),
      text(/PodRunningNotReady fires/),
      text(/a remediation runs/),
      'label salvor.dev/traffic: on → off',
      text(/^it is out of the EndpointSlice/),
      'label salvor.dev/traffic: off → on',
      text(/^recovered: /),
      text(/is back in the EndpointSlice$/),
    ]),
  );
  expect(replaced).toEqual(
    expect.arrayContaining(['evicted the pod', text(/^remediated: /), text(/serves in its place$/)]),
  );
  expect(replaced).not.toContain('label salvor.dev/traffic: off → on');
});
