import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { salvor } from './salvor.ts';
import type { Question } from './simulation.ts';

/**
 * Answers another simulator: one JSON line for each that comes, in order. An event answers `{}`, and `start` begins a new run, with
 * nothing left of the one before; all else is a question. A line that cannot be read is answered by what is wrong with it.
 */
export async function serve(input: Readable, output: Writable): Promise<void> {
  let controller = salvor();
  for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
    if (line.trim() === '') continue;
    let answer: object;
    try {
      const message = JSON.parse(line) as { event?: string };
      if (message.event === 'start') controller = salvor();
      answer = message.event === undefined ? { desired: controller(questionOf(message)) } : {};
    } catch (error) {
      answer = { error: error instanceof Error ? error.message : String(error) };
    }
    output.write(`${JSON.stringify(answer)}\n`);
  }
}

const NUMBERS = ['t', 'ready', 'starting', 'S', 'min', 'max', 'mu_nominal', 'objective_s'] as const;

function questionOf(message: object): Question {
  const question = message as Question;
  const wrong = NUMBERS.filter((name) => !Number.isFinite(question[name]));
  if (wrong.length > 0) throw new Error(`expected a number of ${wrong.join(', ')}`);
  return { ...question, sample: question.sample ?? null };
}
