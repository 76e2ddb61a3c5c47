/** How a remediation ended; see docs/architecture.md. */
export const OUTCOMES = [
  'remediated', // acted and verified
  'recovered', // healed by itself while Salvor held it
  'not-needed', // healthy, or gone, on a fresh look
  'observed', // mode observe: recorded what it would do
  'refused', // a gate or a guard, named in the reason
  'failed', // escalated, undone where possible
  'cancelled', // by a person, undone
] as const;
export type Outcome = (typeof OUTCOMES)[number];

/** Outcomes after which the same firing of the same alert says nothing new. After `failed` a repeat is a retry. */
export const SETTLES: ReadonlySet<Outcome> = new Set([
  'remediated',
  'recovered',
  'not-needed',
  'observed',
  'refused',
  'cancelled',
]);

/** Outcomes after which the target is left alone for the rule's cooldown: Salvor did, or began to do, something. */
export const COOLS: ReadonlySet<Outcome> = new Set(['remediated', 'recovered', 'failed', 'cancelled']);
