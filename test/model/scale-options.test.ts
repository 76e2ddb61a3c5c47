import { describe, expect, it } from 'vitest';
import { parseConfig } from '../../model/config.ts';

const WITH = { backlog: { items: { promql: 'queue_length{queue="${name}"}' } }, max: 20 };

interface Given {
  with?: object;
  target?: string;
  prometheus?: boolean;
  aws?: boolean;
}

function parse({ with: options = WITH, target = 'k8s/prod/shop/deployment.apps/web', prometheus = true, aws }: Given) {
  const text = JSON.stringify({
    ...(prometheus && { prometheus: { url: 'http://localhost:9090' } }),
    ...(aws && { aws: [{ name: 'main', region: 'eu-west-1' }] }),
    clusters: [{ name: 'prod' }],
    rules: [{ name: 'grow', match: ['alertname="QueueGrows"'], runbook: 'scale-on-backlog', target, with: options }],
  });
  return parseConfig(text, 'salvor.yaml');
}

const optionsOf = (given: Given) => {
  const parsed = parse(given);
  if (!parsed.ok) throw new Error(parsed.problems.map(({ message }) => message).join('\n'));
  return parsed.config.rules[0]?.rule.with;
};

function problemsOf(given: Given): string[] {
  const parsed = parse(given);
  return parsed.ok ? [] : parsed.problems.map(({ path, message }) => `${path}: ${message}`);
}

describe('the options of scale-on-backlog', () => {
  it('have the defaults of the documentation', () => {
    expect(optionsOf({})).toEqual({
      backlog: { items: { promql: 'queue_length{queue="${name}"}' }, drainWithin: 60_000 },
      ...{ startUp: 60_000, min: 1, max: 20, tolerance: 0.1, every: 15_000 },
      ...{ readyWithin: 600_000, stalledAfter: 600_000, goodFor: 300_000 },
      behavior: {
        scaleUp: { stabilizationWindow: 0, policies: [], select: 'Max' },
        scaleDown: {
          stabilizationWindow: 300_000,
          policies: [{ type: 'Percent', value: 100, period: 15_000 }],
          select: 'Max',
        },
      },
    });
  });

  it('take an objective as a duration, in seconds', () => {
    const latency = { seconds: { promql: 'latency_seconds' }, objective: '500ms' };
    expect(optionsOf({ with: { latency, max: 5 } })).toMatchObject({ latency: { objective: 0.5 } });
  });

  it.each<[string, Given, string]>([
    ['no max', { with: { backlog: WITH.backlog } }, 'max: is missing'],
    ['nothing to scale on', { with: { max: 5 } }, 'expected backlog, latency, or both'],
    ['min over max', { with: { ...WITH, min: 30 } }, 'expected min to be at most max'],
    ['an unknown key', { with: { ...WITH, startUP: '3s' } }, 'did you mean startUp?'],
    ['two sources', { with: { ...WITH, backlog: { items: { promql: 'a', cloudwatch: {} } } } }, 'items'],
    ['no source', { with: { ...WITH, backlog: { items: {} } } }, 'expected promql or cloudwatch'],
    ['no Prometheus', { prometheus: false }, 'expected prometheus: { url'],
    [
      'a value that it has not',
      { with: { ...WITH, backlog: { items: { promql: 'q{a="${pod}"}' } } } },
      'has no ${pod}',
    ],
    ['a pod', { target: 'k8s/prod/shop/pod/web' }, 'takes workloads with a scale subresource'],
    ['a DaemonSet', { target: 'k8s/prod/shop/daemonset.apps/web' }, 'takes workloads with a scale subresource'],
    [
      'an instance',
      { target: 'asg/main/web/i-0123456789abcdef0', aws: true },
      'takes workloads with a scale subresource',
    ],
  ])('%s: a problem that says what would be right', (_, given, message) => {
    expect(problemsOf(given).join('\n')).toContain(message);
  });

  const metric = {
    namespace: 'AWS/SQS',
    metric: 'ApproximateNumberOfMessagesVisible',
    dimensions: { QueueName: 'orders' },
  };
  const cloud = (more: object = {}) => ({ backlog: { items: { cloudwatch: { ...metric, ...more } } }, max: 5 });
  it('take metrics of CloudWatch, of the account of the group or of one that is named', () => {
    expect(problemsOf({ with: cloud(), target: 'asg/main/web', aws: true })).toEqual([]);
    expect(problemsOf({ with: cloud({ aws: 'main', period: '30s', statistic: 'p99' }), aws: true })).toEqual([]);
  });

  it.each<[string, Given, string]>([
    ['without any account', { with: cloud({ aws: 'main' }) }, 'expected aws: [{ name: …, region: … }]'],
    ['of nobody knows which account', { with: cloud(), aws: true }, 'expected aws: NAME within it'],
    ['of an account that is not configured', { with: cloud({ aws: 'other' }), aws: true }, 'other is not configured'],
    ['of a period that there is not', { with: cloud({ aws: 'main', period: '20s' }), aws: true }, '10s, 30s or 1m'],
    ['of a period that is over too late', { with: cloud({ aws: 'main', period: '5m' }), aws: true }, '10s, 30s or 1m'],
    [
      'of a statistic that there is not',
      { with: cloud({ aws: 'main', statistic: 'median' }), aws: true },
      'percentile',
    ],
  ])('a metric of CloudWatch %s', (_, given, message) => {
    expect(problemsOf(given).join('\n')).toContain(message);
  });
});
