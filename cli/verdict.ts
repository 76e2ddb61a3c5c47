import { createInterface } from 'node:readline/promises';
import type { VerdictOptions } from './approve.ts';
import type { Context } from './command.ts';
import { atDesk, type Decided } from './desk.ts';
import { note, print, printJson } from './output.ts';
import type { Proposal } from './proposal.ts';
import { CliError, EXIT, type ExitStatus } from './status.ts';

/** Gives a proposal a person's verdict on its plan. */
export async function give(
  context: Context,
  answer: 'approve' | 'deny',
  meant: string,
  options: VerdictOptions,
): Promise<ExitStatus> {
  let { digest } = options;
  let id = meant;
  if (digest === undefined) {
    const proposal = await proposalOf(context, meant);
    // What was shown is what is decided about, though another one may come up for the same target meanwhile.
    id = proposal.run.id;
    digest = proposal.plan.digest;
    // To deny is safe, whatever the plan is.
    if (answer === 'approve') {
      const wanted = await isWanted(context, proposal);
      if (wanted !== true) return wanted;
    }
  }
  const order = { id, digest, comment: options.comment ?? '' };
  const decided = await atDesk(context, options, (desk) => desk.decide(answer, order));
  if (context.json) printJson(decided);
  else print(...sentences(decided));
  return EXIT.done;
}

const sentences = ({ answer, target, rule, by, digest }: Decided): string[] =>
  answer === 'approve'
    ? [
        `approved by ${by}: ${target}, rule ${rule}, plan ${digest}`,
        `the gates and a fresh diagnosis come first, then it acts: \`salvor show ${target}\` tells`,
      ]
    : [`denied by ${by}: ${target}, rule ${rule}; nothing is changed`];

async function proposalOf(context: Context, meant: string): Promise<Proposal> {
  const [{ readProposal }, { withTemporal }] = await Promise.all([import('./proposal.ts'), import('./temporal.ts')]);
  try {
    return await withTemporal(context, ({ client }) => readProposal(client, meant));
  } catch (error) {
    if (!(error instanceof CliError) || error.status !== EXIT.unknown) throw error;
    throw new CliError(`${error.message}, so the plan cannot be shown`, {
      status: EXIT.unknown,
      advice: 'Give the digest of the plan that you were shown: --digest D.',
      cause: error,
    });
  }
}

/** Shows the plan, and asks. @returns the exit status where nobody can be asked, or says no */
async function isWanted(context: Context, proposal: Proposal): Promise<true | ExitStatus> {
  const { proposalJson, proposalLines } = await import('./proposal.ts');
  const isAttended = process.stdin.isTTY && process.stderr.isTTY && !context.json;
  if (!isAttended) {
    const message = 'which plan is approved? Nobody can be asked here: look at it, and give its digest with --digest';
    if (context.json) printJson({ error: { status: EXIT.usage, message }, proposal: proposalJson(proposal) });
    else {
      print(...proposalLines(proposal));
      note(`salvor: ${message} ${proposal.plan.digest}`);
    }
    return EXIT.usage;
  }
  note(...proposalLines(proposal));
  const asking = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const said = await asking.question('Approve this plan? [y/N] ');
    if (/^y(?:es)?$/i.test(said.trim())) return true;
  } finally {
    asking.close();
  }
  note('nothing was decided');
  return EXIT.refused;
}
