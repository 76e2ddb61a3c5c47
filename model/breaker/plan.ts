import { digest } from '../digest.ts';
import { formatDuration } from '../duration.ts';
import type { Plan, PlannedChange } from '../plan.ts';
import type { SwitchReading } from '../ports/switch.ts';
import type { Dependency } from './options.ts';

/** What opening the switch of a dependency would do. */
export function planOf(dependency: Dependency, { held }: Pick<SwitchReading, 'held'>): Plan {
  const { name, openFor, maxOpen, halfOpen } = dependency;
  const changes = held.map(
    ({ object, field, before, set }): PlannedChange => ({
      what: `${field}: ${before ?? 'absent'} → ${set ?? 'absent'}`,
      object,
      field,
      before,
      after: set,
    }),
  );
  const share = halfOpen.share > 0 ? `, letting ${halfOpen.share}% of the traffic through` : '';
  const steps = [
    `keep callers from ${name} for ${formatDuration(openFor)}, and twice as long after each relapse, up to ${formatDuration(maxOpen)}`,
    `then try it up to ${halfOpen.trials} times${share}; ${halfOpen.successes} successes in a row close it`,
    'put back what was there before',
  ];
  return { steps, changes, digest: digest({ target: `dependency/${name}`, changes, dependency }) };
}
