import type { Seen } from './findings.ts';
import type { Container, Port, Probe } from './objects.ts';
import { isServed, listening, patchContainer, type Subject, serving } from './subject.ts';

/** The defaults of the API. */
const PERIOD = 10;
const FAILURES = 3;

/** Seconds that a pod should have between being taken out of traffic and being restarted, at the least. */
const LEAST_APART = 60;
/** Seconds that liveness is given where it is to be changed: as long as drain-instance waits for a recovery. */
const PATIENT = 300;

/** Liveness and readiness of the containers that do the work; helpers beside them are their makers' affair. */
export function probes(subject: Subject): Seen[] {
  return listening(subject.spec.containers).flatMap((container) => [
    ...(container.readinessProbe ? [] : [noReadiness(subject, container)]),
    ...(container.livenessProbe ? same(subject, container) : [noLiveness(subject, container)]),
  ]);
}

function noReadiness(subject: Subject, container: Container): Seen {
  const probe = suggested(subject, container, 'ready');
  const readinessProbe = { ...probe.handler, periodSeconds: 5, failureThreshold: 3 };
  const { livenessProbe } = container;
  // The probe that is proposed must not become the same as the one that is there.
  const alike = livenessProbe && soon({ ...container, readinessProbe, livenessProbe });
  return {
    id: 'no-readiness-probe',
    severity: isServed(subject) && serving(subject).includes(container) ? 'problem' : 'advice',
    seen: `container ${container.name} has no readiness probe`,
    mend: [
      {
        notes: probe.notes,
        document: patchContainer(subject, container, {
          readinessProbe,
          ...(alike && { livenessProbe: { failureThreshold: patience({ ...container, readinessProbe }) } }),
        }),
      },
    ],
  };
}

function noLiveness(subject: Subject, container: Container): Seen {
  const probe = suggested(subject, container, 'alive');
  const livenessProbe = { ...probe.handler, periodSeconds: PERIOD, failureThreshold: patience(container) };
  return {
    id: 'no-liveness-probe',
    severity: 'advice',
    seen: `container ${container.name} has no liveness probe`,
    mend: [
      {
        notes: [...probe.notes, 'Patient on purpose: it is for what hangs for good, not for what is slow.'],
        document: patchContainer(subject, container, { livenessProbe }),
      },
    ],
  };
}

function same(subject: Subject, container: Container): Seen[] {
  const { livenessProbe, readinessProbe } = container;
  if (!livenessProbe || !readinessProbe || !soon(container)) return [];
  const [alive, ready] = [lasting(livenessProbe), lasting(readinessProbe)];
  return [
    {
      id: 'same-probes',
      severity: 'problem',
      seen: `container ${container.name}: liveness and readiness are the same probe (${asks(livenessProbe)}), and liveness gives up after ${alive} s, readiness after ${ready} s`,
      mend: [
        {
          notes: ['Or let liveness ask for less than readiness does: only whether the process still answers at all.'],
          document: patchContainer(subject, container, { livenessProbe: { failureThreshold: patience(container) } }),
        },
      ],
    },
  ];
}

/** Whether the same failure restarts the container less than a minute after it has made it unready. */
function soon(container: Container): boolean {
  const { livenessProbe, readinessProbe } = container;
  if (!livenessProbe || !readinessProbe) return false;
  if (handler(livenessProbe, container) !== handler(readinessProbe, container)) return false;
  return lasting(livenessProbe) < lasting(readinessProbe) + LEAST_APART;
}

/** Seconds of failure until a probe has its effect. */
const lasting = ({ periodSeconds = PERIOD, failureThreshold = FAILURES }: Probe): number =>
  periodSeconds * failureThreshold;

/** The threshold of liveness that leaves enough time after readiness has failed. */
function patience({ livenessProbe, readinessProbe }: Container): number {
  const period = livenessProbe?.periodSeconds ?? PERIOD;
  const apart = readinessProbe ? lasting(readinessProbe) + LEAST_APART : 0;
  return Math.ceil(Math.max(PATIENT, apart) / period);
}

/** What a probe does, the same text for the same thing: ports may be given by name. */
function handler({ httpGet, tcpSocket, grpc, exec }: Probe, container: Container): string {
  const port = (given: Port): number | string =>
    container.ports?.find(({ name }) => name === given)?.containerPort ?? given;
  if (httpGet) {
    const { scheme = 'HTTP', host = '', path = '/' } = httpGet;
    return JSON.stringify(['http', scheme, host, port(httpGet.port), path]);
  }
  if (tcpSocket) return JSON.stringify(['tcp', tcpSocket.host ?? '', port(tcpSocket.port)]);
  if (grpc) return JSON.stringify(['grpc', grpc.port, grpc.service ?? '']);
  return JSON.stringify(['exec', exec?.command ?? []]);
}

function asks({ httpGet, tcpSocket, grpc, exec }: Probe): string {
  if (httpGet) return `GET ${httpGet.path ?? '/'} on port ${httpGet.port}`;
  if (tcpSocket) return `TCP on port ${tcpSocket.port}`;
  if (grpc) return `gRPC health on port ${grpc.port}`;
  return `exec ${(exec?.command ?? []).join(' ')}`;
}

/** A probe that works without changing the program, as far as there is one. */
function suggested(
  subject: Subject,
  container: Container,
  what: 'ready' | 'alive',
): { handler: object; notes: string[] } {
  const port = container.ports?.[0] ?? numbered(subject);
  if (port !== undefined) {
    const better =
      what === 'ready'
        ? 'It shows that the port is open. Better is an httpGet of a path that answers whether it can do its work.'
        : 'It shows that the port is open. Better is an httpGet of a path that answers without asking anything else.';
    return { handler: { tcpSocket: { port: port.name ?? port.containerPort } }, notes: [better] };
  }
  const file = `/tmp/${what}`;
  return {
    handler: { exec: { command: ['sh', '-c', `test -n "$(find ${file} -mmin -1)"`] } },
    notes: [`It listens on no port: let the program touch ${file} at least once a minute while it is ${what}.`],
  };
}

/** The port to which a Service sends, where the container does not name its own. */
function numbered({ services = [] }: Subject): { name?: string; containerPort: number } | undefined {
  const [first] = services.flatMap(({ spec }) => spec?.ports ?? []);
  const target = first?.targetPort ?? first?.port;
  return typeof target === 'number' ? { containerPort: target } : undefined;
}
