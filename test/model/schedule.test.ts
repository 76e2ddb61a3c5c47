// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the templates of rules are written so
import { describe, expect, it } from 'vitest';
import type { Alert } from '../../model/alertmanager.ts';
import { parseConfig } from '../../model/config.ts';
import { parseCron } from '../../model/cron.ts';
import { explain, route, tickOf } from '../../model/routing.ts';
import { describeSchedule } from '../../model/schedule.ts';
import { batchOf } from '../../model/tick.ts';

const RULE = `
clusters: [{ name: prod }]
rules:
  - name: nightly
    runbook: drain-instance
    target: k8s/prod/shop/pod/web-0
`;

const parse = (more: string, rule = RULE) => parseConfig(`${rule}    ${more}\n`, 'salvor.yaml');

const scheduleOf = (schedule: string) => {
  const parsed = parse(`schedule: ${schedule}`);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return parsed.config.rules[0]?.schedule;
};

const problemsOf = (more: string, rule = RULE): string[] => {
  const parsed = parse(more, rule);
  return parsed.ok
    ? []
    : parsed.problems.map(({ line, column, path, message }) => `${line}:${column} ${path}: ${message}`);
};

describe('a schedule', () => {
  it.each([
    ['every 5m', { every: 300_000, jitter: 30_000, overlap: 'skip', catchUp: 300_000 }],
    ['every 1s', { every: 1_000, jitter: 100, overlap: 'skip', catchUp: 10_000 }],
    ['every 1d', { every: 86_400_000, jitter: 30_000, overlap: 'skip', catchUp: 3_600_000 }],
    [
      '0 3 * * MON-FRI Europe/Berlin',
      {
        cron: { expression: '0 3 * * MON-FRI', zone: 'Europe/Berlin' },
        jitter: 6_000,
        overlap: 'skip',
        catchUp: 600_000,
      },
    ],
    ['"CRON_TZ=Europe/Berlin 30 2 1,15 */3 *"', { cron: { expression: '30 2 1,15 */3 *', zone: 'Europe/Berlin' } }],
    ['"* * * * *"', { cron: { expression: '* * * * *', zone: 'UTC' } }],
    [
      '{ every: 1h, jitter: 0s, overlap: bufferOne, catchUp: 2h }',
      { every: 3_600_000, jitter: 0, overlap: 'bufferOne', catchUp: 7_200_000 },
    ],
    ['{ cron: 0 3 * * * }', { cron: { expression: '0 3 * * *', zone: 'UTC' }, jitter: 6_000 }],
  ])('%s', (text, expected) => {
    expect(scheduleOf(text)).toMatchObject(expected);
  });

  it.each([
    ['never', 'is not a schedule: write every DURATION, or the five fields'],
    ['every day', '"day" is not a duration'],
    ['every 500ms', 'expected whole seconds, and at least 1s, got "500ms"'],
    ['every 0', 'expected whole seconds, and at least 1s'],
    ["'@hourly'", 'is not a schedule: write every DURATION'],
    ['"* * * *"', 'is not a schedule: write every DURATION, or the five fields'],
    ['"60 * * * *"', '"60" is no minute: write *, a number from 0 to 59'],
    ['"0 24 * * *"', '"24" is no hour'],
    ['"0 3 0 * *"', '"0" is no day of the month'],
    ['"0 3 * * MON-FOO"', '"MON-FOO" is no day of the week'],
    ['"0 3 * foo *"', 'or a name such as FEB'],
    ['"5-1 * * * *"', '"5-1" is no minute'],
    ['"*/0 * * * *"', '"*/0" is no minute'],
    ['"1, * * * *"', '"" is no minute'],
    ['"0 3 30 2 *"', 'never comes'],
    ['"0 3 31 4,6 *"', 'never comes'],
    ['0 3 * * * Europe/Berln', '"Europe/Berln" is not a time zone (did you mean Europe/Berlin?)'],
    ['"TZ=UTC 0 3 * * * UTC"', 'is not a schedule'],
    ['{ every: 5m, cron: "* * * * *" }', 'expected every or cron, and one of them only'],
    ['{ jitter: 5s }', 'expected every or cron, and one of them only'],
    ['{ every: 5m, jiter: 5s }', 'did you mean jitter?'],
    ['{ every: 5m, jitter: 6m }', 'expected no more than the interval itself'],
    ['{ every: 5m, catchUp: 1s }', 'expected at least 10s'],
    ['{ every: 5m, overlap: all }', 'expected one of skip, bufferOne, got "all"'],
    ['5', 'expected a schedule such as every 5m, or 0 3 * * MON-FRI Europe/Berlin'],
  ])('%s is refused, and it is said what would be right', (text, expected) => {
    const problems = problemsOf(`schedule: ${text}`);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(/^7:\d+ rules\[0\]\.schedule/);
    expect(problems[0]).toContain(expected);
  });

  it('is said as it is written', () => {
    for (const text of ['every 1h30m', '0 3 * * MON-FRI Europe/Berlin']) {
      const schedule = scheduleOf(text);
      expect(schedule && describeSchedule(schedule)).toBe(text);
    }
  });

  it('has names for months and days, in any case', () => {
    expect(parseCron('0 3 * Jan-mar,DEC sun,6-7').expression).toBe('0 3 * Jan-mar,DEC sun,6-7');
  });
});

describe('a rule with a schedule', () => {
  it('needs no match; without both nothing would begin it', () => {
    expect(problemsOf('schedule: every 5m')).toEqual([]);
    expect(problemsOf('mode: act')).toEqual([
      expect.stringMatching(/^4:5 rules\[0\]\.match: is missing: expected a list of matchers, or a schedule/),
    ]);
  });

  it('has one target and scope, for there is no alert that could name others', () => {
    const some = RULE.replace('shop', '${labels.namespace}');
    expect(problemsOf('schedule: every 5m', some)).toEqual([
      '6:13 rules[0].target: expected one target, without ${…}: a schedule has no alert whose labels it could take',
    ]);
    expect(problemsOf("schedule: every 5m\n    gates: { scope: '${labels.team}' }")).toEqual([
      expect.stringContaining('rules[0].gates.scope: expected a scope without ${…}'),
    ]);
    expect(problemsOf('schedule: every 5m\n    gates: { scope: all }')).toEqual([]);
  });

  it('silences no alert, where it has none', () => {
    const withAlertmanager = `alertmanager: { urls: ['http://localhost:9093'] }${RULE}`;
    expect(problemsOf('schedule: every 5m\n    hush: true', withAlertmanager)).toEqual([
      expect.stringContaining('rules[0].hush: expected match beside it'),
    ]);
    expect(problemsOf('schedule: every 5m\n    match: [a=b]\n    hush: true', withAlertmanager)).toEqual([]);
  });

  const alert: Alert = {
    status: 'firing',
    labels: { alertname: 'Any' },
    annotations: {},
    startsAt: '2026-01-31T12:00:00.000Z',
    fingerprint: '0011223344556677',
  };

  it('and without match takes no alert at all', () => {
    const parsed = parse('schedule: every 5m');
    if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
    expect(route(alert, parsed.config)).toEqual([]);
    expect(explain(alert, parsed.config).rules).toMatchObject([{ matched: false, matchers: [], schedule: 'every 5m' }]);
  });

  it('hands the same over each time, but for the time', () => {
    const parsed = parse('schedule: every 5m\n    match: [a=b]');
    if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
    const [rule] = parsed.config.rules;
    const tick = rule && tickOf(rule, parsed.config);
    expect(tick).toEqual({
      batch: { rule: rule?.rule, ruleDigest: rule?.digest, scope: 'prod/shop' },
      request: {
        fingerprint: expect.stringMatching(/^[0-9a-f]{16}$/),
        target: 'k8s/prod/shop/pod/web-0',
        alertname: 'Schedule',
        by: 'schedule:nightly',
        digest: expect.stringMatching(/^[0-9a-f]{16}$/),
        labels: { alertname: 'Schedule' },
      },
    });
    expect(tick && batchOf(tick, new Date(0), 'tick-1')).toEqual({
      ...tick?.batch,
      delivery: 'tick-1',
      requests: [{ ...tick?.request, startsAt: '1970-01-01T00:00:00.000Z', status: 'firing' }],
    });
    // The rule is the same one, with a schedule and without.
    const without = parse('match: [a=b]');
    expect(without.ok && without.config.rules[0]?.digest).toBe(rule?.digest);
  });
});
