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

/** Outcomes after which the same alert (fingerprint and start) says nothing new. */
export const SETTLES: ReadonlySet<Outcome> = new Set(['remediated', 'recovered', 'not-needed', 'observed', 'refused']);
