import { parseArgs } from 'node:util';
import { writeSection } from '../support/report.ts';
import { report, run, START_UPS, summary } from './figures.ts';
import { readScenarios, type Scenario } from './scenario.ts';
import { serve } from './serve.ts';
import { variations } from './variations.ts';

const { values } = parseArgs({
  options: {
    serve: { type: 'boolean' },
    vary: { type: 'boolean' },
    keep: { type: 'boolean' },
    traces: { type: 'string' },
  },
});

async function show(name: string, figures: string): Promise<void> {
  console.log(figures);
  if (values.keep === true) await writeSection(name, figures);
}

const runs = (scenarios: readonly Scenario[]) => START_UPS.map((startUp) => run(scenarios, startUp));

if (values.serve === true) await serve(process.stdin, process.stdout);
else {
  const scenarios = readScenarios(values.traces ?? import.meta.dirname);
  if (values.vary === true) {
    const parts = Object.entries(variations(scenarios)).map(([name, all]) => summary(runs(all), name));
    await show('scaling-vary', parts.join('\n\n'));
  } else await show('scaling', report(runs(scenarios)));
}
