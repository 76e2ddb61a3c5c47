import type { ResolvedGates, ResolvedRule } from '../model/rule.ts';

/** Gates that a rule of version 0.1 did not have: as if they were not there. */
const WITHOUT = {
  maxUnavailable: { percent: 100 },
  storm: { above: 100, settleFor: 0 },
  windows: [],
  failClosed: false,
} satisfies Partial<ResolvedGates>;

/** A rule as it is now: one that a gateway or a run of an older version hands over may lack what came later. */
export const completed = (rule: ResolvedRule): ResolvedRule =>
  (rule.gates as Partial<ResolvedGates>).storm ? rule : { ...rule, gates: { ...WITHOUT, ...rule.gates } };
