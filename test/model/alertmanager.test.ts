import { describe, expect, it } from 'vitest';
import { labelFingerprint, parsePayload } from '../../model/alertmanager.ts';
import { labelValue } from '../../model/labels.ts';

const firing = {
  status: 'firing',
  labels: { alertname: 'KubePodNotReady', namespace: 'shop', pod: 'web-0' },
  annotations: { summary: 'not ready' },
  startsAt: '2026-01-31T12:00:00.123456789Z',
  endsAt: '0001-01-01T00:00:00Z',
  generatorURL: 'http://prometheus:9090/graph',
  fingerprint: '00a1b2c3d4e5f607',
};

const payload = (alerts: unknown, over: object = {}) => ({
  version: '4',
  groupKey: '{}:{alertname="KubePodNotReady"}',
  truncatedAlerts: 0,
  status: 'firing',
  receiver: 'salvor',
  groupLabels: { alertname: 'KubePodNotReady' },
  commonLabels: {},
  commonAnnotations: {},
  externalURL: 'http://alertmanager:9093',
  alerts,
  ...over,
});

const read = (json: unknown) => {
  const parsed = parsePayload(json);
  if ('problem' in parsed) throw new Error(parsed.problem);
  return parsed;
};

const readOne = (json: unknown) => {
  const [parsed] = read(payload([json])).alerts;
  if (!parsed?.ok) throw new Error(parsed?.problem);
  return parsed.alert;
};

describe('a payload', () => {
  it('is read whole, with the fields that nobody knows', () => {
    const { payload: envelope, alerts } = read(
      payload([{ ...firing, dashboardURL: 'x' }], { notificationReason: 'new', truncatedAlerts: 7 }),
    );
    expect(envelope).toMatchObject({
      groupKey: '{}:{alertname="KubePodNotReady"}',
      truncatedAlerts: 7,
      notificationReason: 'new',
    });
    expect(alerts).toHaveLength(1);
    expect(alerts[0]).toMatchObject({
      ok: true,
      alert: {
        status: 'firing',
        startsAt: '2026-01-31T12:00:00.123Z',
        fingerprint: '00a1b2c3d4e5f607',
        dashboardURL: 'x',
      },
    });
  });

  it('may lack the count of truncated alerts (Alertmanager before 0.21)', () => {
    expect(read({ ...payload([]), truncatedAlerts: undefined }).payload.truncatedAlerts).toBe(0);
  });

  it.each([
    [null, /expected an object, got/],
    ['text', /expected an object, got/],
    [[], /expected an object, got/],
    [{}, /version is missing; groupKey is missing; status is missing; and 6 more$/],
    [payload([], { version: '3' }), /version: .*"4"/],
    [payload([], { version: 4 }), /version: expected "4", got a number/],
    [payload(undefined), /: alerts is missing$/],
    [payload({}), /alerts: expected an array, got an object/],
    [payload([], { status: 'pending' }), /status: expected "firing" or "resolved", got "pending"/],
    [payload([], { groupLabels: ['a'] }), /groupLabels: expected an object of strings, got an array/],
    [payload([], { truncatedAlerts: -1 }), /truncatedAlerts: expected at least 0/],
  ])('that is none is refused as a whole (%#)', (json, message) => {
    const parsed = parsePayload(json);
    expect('problem' in parsed ? parsed.problem : '').toMatch(message);
  });
});

describe('an alert', () => {
  it.each([
    [null, /expected an object, got/],
    [7, /expected an object, got/],
    [{}, /status.*labels/],
    [{ ...firing, status: 'unknown' }, /status/],
    [{ ...firing, labels: undefined }, /labels is missing/],
    [{ ...firing, labels: null }, /labels: expected an object of strings, got null/],
    [{ ...firing, labels: { pod: 7 } }, /labels\.pod: expected a string, got a number/],
    [{ ...firing, labels: { pod: { a: 'b' } } }, /labels\.pod: expected a string, got an object/],
    [{ ...firing, annotations: 'x' }, /annotations: expected an object of strings/],
    [{ ...firing, startsAt: 'yesterday' }, /startsAt: expected a time such as/],
    [{ ...firing, startsAt: '2026-13-01T00:00:00Z' }, /startsAt: expected a time/],
    [{ ...firing, startsAt: 1_700_000_000 }, /startsAt/],
    [{ ...firing, startsAt: undefined }, /startsAt/],
    [{ ...firing, endsAt: '' }, /endsAt/],
  ])('that is malformed (%#) is reported by its index and takes no other with it', (bad, message) => {
    const { alerts } = read(payload([firing, bad, { ...firing, status: 'resolved' }]));
    expect(alerts.map(({ ok }) => ok)).toEqual([true, false, true]);
    const [, problem] = alerts;
    expect(problem).toMatchObject({ ok: false, index: 1, problem: expect.stringMatching(message) });
  });

  it('with very many faults has a short report', () => {
    const labels = Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`${'l'.repeat(500)}${i}`, i]));
    const [parsed] = read(payload([{ ...firing, labels }])).alerts;
    expect(parsed?.ok).toBe(false);
    expect(parsed?.ok === false && parsed.problem).toMatch(/and 4997 more$/);
    expect(parsed?.ok === false && parsed.problem.length).toBeLessThan(500);
  });

  it('may lack annotations, the end, the generator and the fingerprint', () => {
    const { status, labels, startsAt } = firing;
    expect(readOne({ status, labels, startsAt })).toMatchObject({
      annotations: {},
      fingerprint: labelFingerprint(labels),
    });
  });

  it('names its start alike in every time zone', () => {
    expect(readOne({ ...firing, startsAt: '2026-01-31T14:00:00.123+02:00' }).startsAt).toBe('2026-01-31T12:00:00.123Z');
    expect(readOne({ ...firing, startsAt: '2026-01-31t12:00:00z' }).startsAt).toBe('2026-01-31T12:00:00.000Z');
  });

  it('takes its fingerprint from the payload only where that is one', () => {
    expect(readOne({ ...firing, fingerprint: '00A1B2C3D4E5F607' }).fingerprint).toBe('00a1b2c3d4e5f607');
    const computed = labelFingerprint(firing.labels);
    for (const fingerprint of [
      '',
      '0',
      'xyz',
      '../../etc',
      '00a1b2c3d4e5f607\n',
      'g'.repeat(16),
      7,
      null,
      { toString: 1 },
    ]) {
      expect(readOne({ ...firing, fingerprint }).fingerprint).toBe(computed);
    }
  });

  it('takes no harm from labels with the names of what objects inherit', () => {
    const json: unknown = JSON.parse(
      JSON.stringify({ ...firing, labels: {} }).replace(
        '"labels":{}',
        '"labels":{"__proto__":"polluted","constructor":"c","toString":"t","pod":"web-0"},"__proto__":{"admin":true}',
      ),
    );
    const { labels, annotations, ...alert } = readOne(json);
    expect(Object.getPrototypeOf(labels)).toBeNull();
    expect(Object.getPrototypeOf(annotations)).toBeNull();
    expect(Object.keys(labels).sort()).toEqual(['__proto__', 'constructor', 'pod', 'toString']);
    expect(labelValue(labels, '__proto__')).toBe('polluted');
    expect(labelValue(labels, 'hasOwnProperty')).toBe('');
    expect(Object.getPrototypeOf(alert)).toBe(Object.prototype);
    expect(({} as Record<string, unknown>).admin).toBeUndefined();
    expect((alert as Record<string, unknown>).admin).toBeUndefined();
  });

  it('takes an object in place of a label for a fault of that alert alone', () => {
    const bad: unknown = JSON.parse(
      '{"status":"firing","startsAt":"2026-01-31T12:00:00Z","labels":{"__proto__":{"admin":true}}}',
    );
    expect(read(payload([bad, firing])).alerts).toMatchObject([{ ok: false, index: 0 }, { ok: true }]);
  });

  it('may carry nesting without end', () => {
    const depth = 50_000;
    const deep: unknown = JSON.parse(`${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`);
    expect(readOne({ ...firing, deep }).fingerprint).toBe(firing.fingerprint);
    expect(read(payload([{ ...firing, labels: deep }])).alerts[0]?.ok).toBe(false);
  });
});

describe('a fingerprint', () => {
  it.each([
    // prometheus/common: model/signature_test.go
    [{}, 14_695_981_039_346_656_037n],
    [{ name: 'garland, briggs', fear: 'love is not enough' }, 5_799_056_148_416_392_346n],
    // Computed with model.LabelsToSignature of prometheus/common 0.63.
    [firing.labels, 0x9ebecf9d0a87268fn],
  ])('of %j is as Prometheus computes it', (labels, expected) => {
    expect(labelFingerprint(labels)).toBe(expected.toString(16).padStart(16, '0'));
  });

  it('does not depend on the order of the labels, and sorts by bytes as Go does', () => {
    // U+FFFD sorts before U+1F642 by bytes, and after it by UTF-16 code units.
    const [a, b] = [
      { '\ufffd': '1', '🙂': '2' },
      { '🙂': '2', '\ufffd': '1' },
    ];
    expect(labelFingerprint(a)).toBe(labelFingerprint(b));
    // Computed with model.LabelsToSignature of prometheus/common 0.63.
    expect(labelFingerprint(a)).toBe('0666ae3bdc78a459');
  });
});
