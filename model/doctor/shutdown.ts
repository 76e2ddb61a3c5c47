import type { Seen } from './findings.ts';
import type { Container } from './objects.ts';
import { isServed, patchContainer, patchPods, type Subject, serving } from './subject.ts';

/** Seconds; the default of the API. */
const GRACE = 30;
/** Seconds in which the endpoints of every proxy have learnt that a pod is gone; drain-instance waits as long (`quietFor`). */
const SPREAD = 15;
/** Seconds that are left to end after the hook, at the least. */
const LEAST = 5;

/** How its pods end, where they have traffic. */
export function shutdown(subject: Subject): Seen[] {
  if (!isServed(subject)) return [];
  return [...serving(subject).flatMap((container) => hook(subject, container)), ...grace(subject)];
}

const graceOf = ({ spec }: Subject): number => spec.terminationGracePeriodSeconds ?? GRACE;

function hook(subject: Subject, container: Container): Seen[] {
  if (container.lifecycle?.preStop) return [];
  const lifecycle = { preStop: { sleep: { seconds: SPREAD } } };
  const needed = SPREAD + GRACE / 2;
  return [
    {
      id: 'no-pre-stop',
      severity: 'advice',
      seen: `container ${container.name} has traffic and no preStop hook`,
      mend: [
        {
          notes: [
            `It goes on serving for ${SPREAD} s. Not needed where the program does that by itself after SIGTERM. Before`,
            'Kubernetes 1.30: exec: { command: [sleep, "15"] }.',
          ],
          document:
            graceOf(subject) < needed
              ? patchPods(subject, {
                  terminationGracePeriodSeconds: needed,
                  containers: [{ name: container.name, lifecycle }],
                })
              : patchContainer(subject, container, { lifecycle }),
        },
      ],
    },
  ];
}

function grace(subject: Subject): Seen[] {
  const period = graceOf(subject);
  const longest = Math.max(0, ...subject.spec.containers.map(sleepOf));
  if (period - longest >= LEAST) return [];
  const hooked = longest > 0 ? `, and its preStop hook sleeps for ${longest} s of them` : '';
  return [
    {
      id: 'grace-too-short',
      severity: 'problem',
      seen: `terminationGracePeriodSeconds is ${period}${hooked}`,
      mend: [{ document: patchPods(subject, { terminationGracePeriodSeconds: longest + GRACE }) }],
    },
  ];
}

/** Seconds that the hook surely takes: of a sleep, also in a shell; of anything else nobody knows. */
function sleepOf({ lifecycle }: Container): number {
  const { sleep, exec } = lifecycle?.preStop ?? {};
  if (sleep) return sleep.seconds;
  const [, seconds] = /(?:^|[\s/;&])sleep\s+(\d+)/.exec((exec?.command ?? []).join(' ')) ?? [];
  return Number(seconds ?? 0);
}
