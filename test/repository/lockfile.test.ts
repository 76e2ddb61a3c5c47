import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

interface Package {
  optionalDependencies?: Record<string, string>;
}
const { packages } = JSON.parse(readFileSync(join(import.meta.dirname, '..', '..', 'package-lock.json'), 'utf8')) as {
  packages: Record<string, Package>;
};

/** Where Node would find a dependency of the package at `path`, from the nearest `node_modules` on. */
function find(path: string, name: string): Package | undefined {
  const inner = packages[`${path === '' ? '' : `${path}/`}node_modules/${name}`];
  if (inner !== undefined || path === '') return inner;
  const above = path.lastIndexOf('/node_modules/');
  return find(above < 0 ? '' : path.slice(0, above), name);
}

describe('package-lock.json', () => {
  // npm leaves out what its registry did not offer for other platforms, and then `npm ci` refuses the whole file.
  it('has the optional packages of every platform, or `npm ci` fails', () => {
    const missing = Object.entries(packages).flatMap(([path, { optionalDependencies = {} }]) =>
      Object.keys(optionalDependencies).filter((name) => find(path, name) === undefined),
    );
    expect(missing).toEqual([]);
  });
});
