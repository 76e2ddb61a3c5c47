import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  covers,
  difference,
  equal,
  filled,
  formatPointer,
  type Json,
  type JsonObject,
  merged,
  type Operation,
  parsePointer,
  putBack,
  touched,
  valueAt,
  withValue,
} from '../../../model/breaker/patch.ts';

/** Few keys, so that objects and patches meet; some that are no plain names. */
const key = fc.constantFrom('a', 'b', 'c', 'a/b', '~', '', '__proto__', '0');
const leaf = fc.oneof(fc.integer({ min: 0, max: 3 }), fc.boolean(), fc.constantFrom('', 'x'), fc.constant(null));
const { object } = fc.letrec<{ json: Json; object: JsonObject }>((tie) => ({
  json: fc.oneof({ maxDepth: 3 }, leaf, fc.array(tie('json'), { maxLength: 3 }), tie('object')) as fc.Arbitrary<Json>,
  object: fc
    .uniqueArray(fc.tuple(key, tie('json')), { maxLength: 4, selector: ([name]) => name })
    .map((entries) => Object.fromEntries(entries)) as fc.Arbitrary<JsonObject>,
}));

/** Operations as RFC 6902 says. */
function applied(target: Json, operations: Operation[]): Json {
  return operations.reduce((value: Json, operation) => {
    const path = parsePointer(operation.path)!;
    return withValue(value, path, operation.op === 'remove' ? undefined : operation.value);
  }, target);
}

const undone = (made: Json, before: Json, patch: Json): Json =>
  touched(before, patch, made).reduce((value, one) => putBack(value, one), made);

describe('a merge patch', () => {
  it.each<[Json, Json, Json]>([
    // Those of RFC 7386, appendix A, that are about objects.
    [{ a: 'b' }, { a: 'c' }, { a: 'c' }],
    [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }],
    [{ a: 'b' }, { a: null }, {}],
    [{ a: 'b', b: 'c' }, { a: null }, { b: 'c' }],
    [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
    [{ a: 'c' }, { a: ['b'] }, { a: ['b'] }],
    [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
    [{ a: [{ b: 'c' }] }, { a: [1] }, { a: [1] }],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [
      ['a', 'b'],
      ['c', 'd'],
      ['c', 'd'],
    ],
    [{ a: 'foo' }, null, null],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ])('of %j by %j is %j', (target, patch, result) => {
    expect(merged(target, patch)).toEqual(result);
  });

  it('that is undone gives the very object back, with absent keys, arrays and nulls', () => {
    fc.assert(
      fc.property(object, object, (before, patch) => {
        const made = merged(before, patch);
        expect(undone(made, before, patch)).toEqual(before);
        // Nobody's object was written into.
        expect(equal(merged(before, patch), made)).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });

  it('touches nothing where it changes nothing, and leaves all other paths alone', () => {
    fc.assert(
      fc.property(object, object, (before, patch) => {
        const made = merged(before, patch);
        expect(touched(made, patch, merged(made, patch))).toEqual([]);
        const back = touched(before, patch, made).reduce<Json>(
          (value, { path, after }) => withValue(value, path, after),
          before,
        );
        expect(back).toEqual(made);
      }),
      { numRuns: 1_000 },
    );
  });

  it('that is undone leaves what somebody else has changed meanwhile', () => {
    const before: Json = { spec: { hosts: ['a'], weight: 1 } };
    const patch: Json = { spec: { weight: 0, limits: { most: 0, deep: { x: 1 } } } };
    const made = merged(before, patch);
    const changed = withValue(withValue(made, ['spec', 'weight'], 5), ['spec', 'limits', 'own'], true);
    expect(undone(made, before, patch)).toEqual(before);
    const [limits, weight] = [touched(before, patch, made)[1]!, touched(before, patch, made)[0]!];
    expect(putBack(putBack(changed, weight), limits)).toEqual({
      spec: { hosts: ['a'], weight: 5, limits: { own: true } },
    });
  });

  it('that adds values of an API by itself is undone with them', () => {
    const before: Json = { spec: {} };
    const patch: Json = { spec: { ports: [{ port: 53 }], none: [] } };
    const made: Json = { spec: { ports: [{ port: 53, protocol: 'TCP' }] } };
    expect(touched(before, patch, made)).toEqual([
      { path: ['spec', 'ports'], before: undefined, after: [{ port: 53, protocol: 'TCP' }] },
    ]);
    expect(undone(made, before, patch)).toEqual(before);
  });
});

it('the difference makes the one out of the other', () => {
  fc.assert(
    fc.property(object, object, (from, to) => {
      const operations = difference(from, to);
      expect(applied(from, operations)).toEqual(to);
      expect(operations.length === 0).toBe(equal(from, to));
    }),
    { numRuns: 2_000 },
  );
});

describe('pointers', () => {
  it('name each way once', () => {
    fc.assert(
      fc.property(fc.array(key), (path) => {
        expect(parsePointer(formatPointer(path))).toEqual(path);
      }),
    );
    expect(['a', '/~', '/~2', '/a~'].map(parsePointer)).toEqual([undefined, undefined, undefined, undefined]);
  });

  it('find values in arrays, and nothing where there is none', () => {
    const value: Json = { a: [{ b: null }, 'x'] };
    expect(valueAt(value, ['a', '0', 'b'])).toBe(null);
    expect(valueAt(value, ['a', '01'])).toBeUndefined();
    expect(valueAt(value, ['a', 'length'])).toBeUndefined();
    expect(valueAt(value, ['toString'])).toBeUndefined();
  });
});

it('a place is filled where it is the whole text', () => {
  const value: Json = { a: ['${share}', 'at ${share}'], b: { c: '${rest}' } };
  expect(filled(value, { '${share}': 10, '${rest}': 90 })).toEqual({ a: [10, 'at ${share}'], b: { c: 90 } });
});

it.each<[Json | undefined, Json | undefined, boolean]>([
  [{ a: [{ b: 1, more: true }] }, { a: [{ b: 1 }] }, true],
  [{ a: [{ b: 1 }, 2] }, { a: [{ b: 1 }] }, false],
  [{}, { a: [], b: { c: {} }, d: '', e: null, f: 0 }, true],
  [{}, { a: [0] }, false],
  [{}, { a: { b: 'x' } }, false],
  [undefined, undefined, true],
  [{ a: 1 }, { a: 2 }, false],
])('%j covers %j: %s', (found, asked, is) => {
  expect(covers(found, asked)).toBe(is);
});
