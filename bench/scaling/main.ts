import { parseArgs } from 'node:util';
import { writeSection } from '../support/report.ts';
import { report, run, START_UPS } from './figures.ts';
import { readScenarios } from './scenario.ts';
import { serve } from './serve.ts';

const { values } = parseArgs({
  options: { serve: { type: 'boolean' }, keep: { type: 'boolean' }, traces: { type: 'string' } },
});

if (values.serve === true) await serve(process.stdin, process.stdout);
else {
  const scenarios = readScenarios(values.traces ?? import.meta.dirname);
  const figures = report(START_UPS.map((startUp) => run(scenarios, startUp)));
  console.log(figures);
  if (values.keep === true) await writeSection('scaling', figures);
}
