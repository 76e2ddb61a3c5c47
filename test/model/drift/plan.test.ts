import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bounded } from '../../../model/drift/bounded.ts';
import { type Difference, DRIFT_CLASSES, isDrift, MOST_DIFFERENCES } from '../../../model/drift/difference.ts';
import { planOf } from '../../../model/drift/plan.ts';

const value = fc.oneof(fc.string({ maxLength: 200 }), fc.integer(), fc.boolean(), fc.constant(null));
const difference: fc.Arbitrary<Difference> = fc.record({
  address: fc.string({ minLength: 1, maxLength: 60 }),
  kind: fc.string({ maxLength: 20 }),
  class: fc.constantFrom(...DRIFT_CLASSES),
  why: fc.string({ maxLength: 40 }),
  action: fc.constantFrom('create', 'update', 'replace', 'delete'),
  fields: fc.array(fc.record({ path: fc.string({ maxLength: 40 }), live: value, source: value }), { maxLength: 20 }),
  digest: fc.stringMatching(/^[0-9a-f]{8,16}$/),
});
const reviewed = fc.uniqueArray(difference, { selector: ({ address }) => address, minLength: 1, maxLength: 10 });

describe('the digest of a plan', () => {
  it('is the same in whatever order it was seen, at whatever commit, and however it is told', () => {
    fc.assert(
      fc.property(reviewed, fc.string(), (some, why) => {
        const { digest } = planOf('stack/net', some, 'c1');
        expect(planOf('stack/net', some.toReversed(), 'c2').digest).toBe(digest);
        const retold = some.map((one) => ({ ...one, why, fields: [] }));
        expect(planOf('stack/net', retold).digest).toBe(digest);
      }),
    );
  });

  it('is another one where anything of what would be written is', () => {
    fc.assert(
      fc.property(reviewed, fc.nat(), difference, (some, at, other) => {
        const { digest } = planOf('stack/net', some);
        const index = at % some.length;
        const one = some[index] as Difference;
        const others = [
          some.toSpliced(index, 1),
          some.toSpliced(index, 1, { ...one, digest: `${one.digest}x` }),
          some.toSpliced(index, 1, { ...one, address: `${one.address}x${'y'.repeat(60)}` }),
          some.toSpliced(index, 1, { ...one, action: one.action === 'delete' ? 'create' : 'delete' }),
          [...some, { ...other, address: 'z'.repeat(61) }],
        ];
        for (const changed of others) expect(planOf('stack/net', changed).digest).not.toBe(digest);
        expect(planOf('stack/other', some).digest).not.toBe(digest);
      }),
    );
  });

  it('comes with what people read: each address, and each field before and after', () => {
    const [one] = fc.sample(difference, 1) as [Difference];
    const fields = [{ path: 'spec.port', live: 8080, source: 443 }];
    const plan = planOf('stack/net', [{ ...one, address: 'a', action: 'update', why: 'changed', fields }], 'abc');
    expect(plan.steps.join('\n')).toMatch(/source at abc.*\nupdate a: changed\n/);
    expect(plan.changes).toEqual([
      { what: 'a spec.port', object: { key: 'stack/net', uid: 'a' }, field: 'spec.port', before: 8080, after: 443 },
    ]);
  });
});

describe('what travels of a look', () => {
  it('is bounded, keeps every address while it can, and never the digest less', () => {
    fc.assert(
      fc.property(fc.array(difference, { maxLength: 60 }), fc.integer({ min: 2_000, max: 40_000 }), (some, most) => {
        const kept = bounded(some, most);
        expect(JSON.stringify(kept).length).toBeLessThanOrEqual(most + 200);
        kept.forEach((one, at) => {
          const whole = some[at] as Difference;
          expect(one).toMatchObject({ address: whole.address, digest: whole.digest, class: whole.class });
          expect(one.fields.length + (one.more ?? 0)).toBe(whole.fields.length + (whole.more ?? 0));
        });
      }),
    );
  });

  it('is all of it where there is room', () => {
    const many = fc.sample(difference, MOST_DIFFERENCES).map((one) => ({ ...one, fields: one.fields.slice(0, 2) }));
    expect(bounded(many)).toEqual(many);
    expect(many.some(isDrift)).toBe(true);
  });
});
