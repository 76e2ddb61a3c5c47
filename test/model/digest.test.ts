import fc from 'fast-check';
import { expect, it } from 'vitest';
import { canonicalJson, digest } from '../../model/digest.ts';

it.each([
  [{ b: 1, a: [true, null, 'x"y'] }, '{"a":[true,null,"x\\"y"],"b":1}'],
  [{ a: undefined, b: [undefined] }, '{"b":[null]}'],
  [Object.assign(Object.create(null), { __proto__x: '1', constructor: '2' }), '{"__proto__x":"1","constructor":"2"}'],
  ['text', '"text"'],
  [null, 'null'],
])('writes %j in one form', (value, expected) => {
  expect(canonicalJson(value)).toBe(expected);
});

it('is the beginning of the SHA-256', () => {
  // printf '{"a":1}' | sha256sum
  expect(digest({ a: 1 })).toBe('015abd7f5cc57a2d');
});

it('says the same as the value, whatever the order of its keys', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 2 })), (value) => {
      const reversed = Object.fromEntries(Object.entries(value).reverse());
      expect(canonicalJson(reversed)).toBe(canonicalJson(value));
      expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
    }),
  );
});
