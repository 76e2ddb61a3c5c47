import type { Change } from '../../model/change.ts';
import type { Assessment, CutRequest, InstancePort, Owner, VerifyResult } from '../../model/ports/instance.ts';
import type { Ending } from '../../model/remediation.ts';
import type { DrainInstanceOptions } from '../../model/rule.ts';
import type { Life } from '../life.ts';
import { wordsOf } from './drain-words.ts';
import { changing, reading, undoing, waiting } from './steps.ts';

export type Sick = Extract<Assessment, { verdict: 'sick' }>;

const { assess } = reading<InstancePort>('look at its live state');

export const cutting = (summary: string): InstancePort['cut'] => changing<InstancePort>(summary).cut;

const restoring = (summary: string): InstancePort['restore'] => undoing<InstancePort>(summary).restore;

export const look = (life: Life<'drain-instance'>, uid?: string): Promise<Assessment> => {
  const { target, rule } = life.input;
  return assess({ target, options: rule.with, actor: life.actor, uid });
};

export const describe = ({ verdict, why }: Assessment): string => `${verdict}: ${why}`;

/** Nothing was done yet, and nothing is to be done. */
export const leftAlone = (life: Life<'drain-instance'>, { verdict, why }: Exclude<Assessment, Sick>): Ending =>
  life.end(verdict === 'protected' ? 'refused' : 'not-needed', why);

export const giveBack = (life: Life<'drain-instance'>, request: CutRequest): Promise<Change[]> =>
  restoring(wordsOf(life).back)({ ...request, step: 'restore' });

/** Healthy, or not to be touched any more: give the traffic back and end. */
export async function undone(
  life: Life<'drain-instance'>,
  request: CutRequest,
  now: Pick<Exclude<Assessment, Sick>, 'verdict' | 'why'>,
): Promise<Ending> {
  if (request.held.length > 0) life.record(await giveBack(life, request));
  life.released();
  return life.end(now.verdict === 'protected' ? 'refused' : 'recovered', now.why);
}

interface Replaced {
  /** What was done. */
  why: string;
  owner: Owner;
  moved?: Owner[];
  options?: DrainInstanceOptions;
}

/** Waits until what replaces it serves. */
export async function verified(
  life: Life<'drain-instance'>,
  { instance, held }: CutRequest,
  { why, owner, moved = [], options = life.input.rule.with }: Replaced,
): Promise<VerifyResult> {
  const { verifyWithin } = options;
  const deadline = life.in(verifyWithin);
  const { toSee } = wordsOf(life);
  life.phase('verify', why, { what: `see ${toSee}`, until: deadline });
  const seen = await waiting<InstancePort>('wait for its replacement', verifyWithin).verify({
    ...{ actor: life.actor, instance, owner, deadline, held, options },
    ...(moved.length > 0 && { moved }),
  });
  life.evidence('verify', seen.verified ? 'verified' : 'unverified', seen.why);
  return seen;
}
