import { parseArgs } from 'node:util';
import { crashMatrix, describe } from './matrix.ts';
import { RULES } from './patients.ts';
import { World } from './world.ts';

const { values } = parseArgs({ options: { runs: { type: 'string', default: '200' }, seed: { type: 'string' } } });
const runs = Number(values.runs);
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 32));
if (!Number.isInteger(runs) || runs < 1 || !Number.isInteger(seed)) {
  console.error('Usage: npm run crash -- [--runs N] [--seed N]');
  process.exit(2);
}
const say = (text: string): void => console.error(`${new Date().toISOString().slice(11, 19)} ${text}`);

say(`seed ${seed}`);
const world = new World();
let status = 1;
try {
  await world.start(RULES);
  say('all is up');
  const matrix = await crashMatrix(world, { runs, seed, say });
  console.log(describe(matrix));
  status = matrix.problems.length === 0 ? 0 : 1;
} catch (error) {
  console.error(error);
} finally {
  await world.stop();
}
// The guard of the sandbox and kept-alive connections have nothing left to do.
process.exit(status);
