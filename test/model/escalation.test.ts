import { describe, expect, it } from 'vitest';
import { type About, approvalRequest, escalation } from '../../model/escalation.ts';
import type { Plan } from '../../model/plan.ts';

const RUN = { workflowId: 'remediation/k8s/prod/shop/pod/web-0', runId: '0190abcd-1111-7222-8333-444455556666' };

const about: About = {
  rule: 'pod-unready',
  scope: 'prod/shop',
  target: 'k8s/prod/shop/pod/web-0',
  alert: {
    fingerprint: 'aaaaaaaaaaaaaaaa',
    startsAt: '2026-01-31T12:00:00.000Z',
    alertname: 'KubePodNotReady',
    digest: 'd1',
    by: 'alertmanager',
    labels: { alertname: 'KubePodNotReady', namespace: 'shop', pod: 'web-0', severity: 'page', salvor_id: 'forged' },
  },
  run: RUN,
  at: '2026-01-31T12:05:00.000Z',
};

const plan: Plan = {
  steps: ['cut its traffic', 'wait up to 5m', 'else evict it'],
  changes: [
    {
      what: 'label salvor.dev/traffic: on → off',
      object: { key: 'k8s/prod/shop/pod/web-0', uid: 'u1' },
      field: 'metadata.labels[salvor.dev/traffic]',
      before: 'on',
      after: 'off',
    },
    {
      what: 'evict it',
      object: { key: 'k8s/prod/shop/pod/web-0', uid: 'u1' },
      field: 'eviction',
      before: null,
      after: true,
    },
  ],
  digest: '0123456789abcdef',
};

describe('an escalation', () => {
  it('keeps the labels of the alert, whose name becomes another, and is never taken for it', () => {
    const alert = escalation({ ...about, id: RUN.runId, reason: 'not ready within 5m', tried: ['cut', 'evicted'] });
    expect(alert).toEqual({
      id: RUN.runId,
      alertname: 'SalvorEscalation',
      labels: {
        alert: 'KubePodNotReady',
        namespace: 'shop',
        pod: 'web-0',
        severity: 'page',
        salvor_rule: 'pod-unready',
        salvor_scope: 'prod/shop',
        salvor_target: 'k8s/prod/shop/pod/web-0',
      },
      annotations: {
        summary: 'not ready within 5m',
        description: 'cut\nevicted',
        look: 'salvor show 0190abcd-1111-7222',
      },
      run: RUN,
      startsAt: '2026-01-31T12:05:00.000Z',
      target: 'k8s/prod/shop/pod/web-0',
    });
  });

  it('of a whole scope has no target, and says where its responder tells more', () => {
    const { target: _, alert: __, ...scope } = about;
    const run = { workflowId: 'responder/pod-unready/prod%2Fshop', runId: 'r1' };
    const alert = escalation({ ...scope, run, id: 'storm-r1-1', reason: '6 of 10 are unhealthy', tried: [] });
    expect(alert.target).toBeUndefined();
    expect(alert.labels).toEqual({ salvor_rule: 'pod-unready', salvor_scope: 'prod/shop' });
    expect(alert.annotations).toEqual({
      summary: '6 of 10 are unhealthy',
      description: '',
      look: 'salvor audit list --rule pod-unready',
    });
  });

  it('has a name also where the labels were not kept while it waited', () => {
    const { labels: _, ...alert } = about.alert!;
    expect(escalation({ ...about, alert, id: 'x', reason: 'waited too long', tried: [] }).labels['alert']).toBe(
      'KubePodNotReady',
    );
  });

  it('tells the latest of what was tried, in about four thousand characters', () => {
    const tried = Array.from({ length: 200 }, (_, at) => `${at} ${'x'.repeat(at === 199 ? 5_000 : 60)}`);
    const { description = '', summary = '' } = escalation({
      ...about,
      id: 'x',
      reason: 'é'.repeat(900),
      tried,
    }).annotations;
    expect(description.length).toBeLessThan(4_100);
    expect(description).toMatch(/^\d+ lines before …\n/);
    expect(description).toContain('\n198 ');
    expect(description).toMatch(/\n199 x+…$/);
    expect(summary).toHaveLength(500);
  });
});

describe('a request for approval', () => {
  const asked = { ...about, plan, why: 'not ready since 11:58', until: '2026-02-01T12:05:00.000Z' };

  it('shows the plan with before and after, until when, and the commands that answer', () => {
    const alert = approvalRequest(asked);
    expect(alert).toMatchObject({ id: RUN.runId, alertname: 'SalvorApproval', until: '2026-02-01T12:05:00.000Z' });
    expect(alert.target, 'its end is that of the proposal').toBeUndefined();
    expect(alert.annotations).toEqual({
      summary: 'k8s/prod/shop/pod/web-0: not ready since 11:58',
      description: [
        ...plan.steps,
        'label salvor.dev/traffic: on → off [metadata.labels[salvor.dev/traffic]: on → off]',
        'evict it [eviction: nothing → true]',
      ].join('\n'),
      command: 'salvor approve 0190abcd-1111-7222 --digest 0123456789abcdef',
      deny: 'salvor deny 0190abcd-1111-7222',
      look: 'salvor show 0190abcd-1111-7222',
      until: '2026-02-01T12:05:00.000Z',
    });
  });

  it('names who may approve, where the rule does', () => {
    const { annotations } = approvalRequest({ ...asked, approvers: ['anna', 'group:sre'] });
    expect(annotations['approvers']).toBe('anna, group:sre');
  });

  it('keeps the first lines of a long plan and says how many more there are', () => {
    const steps = Array.from({ length: 300 }, (_, at) => `step ${at} of a long plan`);
    const { description = '' } = approvalRequest({ ...asked, plan: { ...plan, steps } }).annotations;
    expect(description).toMatch(/^step 0 of/);
    expect(description).toMatch(/\n… and \d+ more$/);
    expect(description.length).toBeLessThan(4_100);
  });
});
