import { decide, type Sample, scalingOptions, startingState } from '../../model/scaling/controller.ts';
import type { Controller, Reading } from './simulation.ts';

/**
 * The very function that the runbook's activity calls, asked in the words of the simulation. A backlog is to be drained within
 * the objective; everything else has its default.
 */
export const salvor: Controller = () => {
  let state = startingState();
  return ({ t, sample, ready, starting, S, min, max, mu_nominal, objective_s }) => {
    const options = scalingOptions({
      ...{ min, max, startUp: S * 1000, drainWithin: objective_s * 1000, ratePerReplica: mu_nominal },
    });
    const desired = ready + starting;
    const observation = { at: t * 1000, sample: sample && sampleOf(sample), ready, starting, desired };
    const answer = decide(state, observation, options);
    state = answer.state;
    return answer.decision.desired;
  };
};

const sampleOf = ({ t, backlog, arrivals_total, served_total, ready }: Reading): Sample => ({
  ...{ at: t * 1000, backlog, arrivalsTotal: arrivals_total, servedTotal: served_total, ready },
});
