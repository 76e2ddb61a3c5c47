import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';

/** Bare Temporal over the histories of a folder: one worker, as its documentation has it. Prints what it did. */
const [, , folder = '', bundle = ''] = process.argv;

Runtime.install({ logger: new DefaultLogger('WARN') });

function* histories() {
  for (const file of readdirSync(folder))
    yield { workflowId: file, history: JSON.parse(readFileSync(join(folder, file), 'utf8')) as object };
}

let [replayed, same] = [0, 0];
for await (const { error } of Worker.runReplayHistories({ workflowBundle: { codePath: bundle } }, histories())) {
  replayed += 1;
  if (!error) same += 1;
}
console.log(JSON.stringify({ replayed, same }));
