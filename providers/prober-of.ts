import type { Dependency } from '../model/breaker/options.ts';
import type { Finding } from '../model/ports/switch.ts';
import { confirmBy } from './probes/confirm.ts';
import { probe } from './probes/probe.ts';
import { Prometheus } from './prometheus/client.ts';
import type { Prober } from './switch.ts';

/** How dependencies fare, with the Prometheus that is configured. */
export function proberOf(world: { prometheus?: { url: string } | undefined }): Prober {
  const prometheus = world.prometheus && new Prometheus(world.prometheus.url);
  const nothing = ({ name }: Dependency): Finding => ({
    ...{ verdict: 'unknown', why: `dependency ${name} has neither \`confirm\` nor \`probe\`` },
  });
  const byNumbers = ({ confirm }: Dependency, signal: AbortSignal) => confirm && confirmBy(prometheus, confirm, signal);
  const byProbe = (dependency: Dependency, signal: AbortSignal) =>
    dependency.probe && probe(dependency.probe, { prometheus, signal });
  return {
    confirm: async (it, signal) => (await (byNumbers(it, signal) ?? byProbe(it, signal))) ?? nothing(it),
    try: async (it, signal) => (await (byProbe(it, signal) ?? byNumbers(it, signal))) ?? nothing(it),
  };
}
