import type { Dependency, EnvoySwitch } from '../../model/breaker/options.ts';
import type { Change, Held, ObjectRef } from '../../model/change.ts';
import type { KeepOpenRequest, Position, SetSwitchRequest, SwitchReading } from '../../model/ports/switch.ts';
import { formatTarget } from '../../model/target.ts';
import { FinalError } from '../errors.ts';
import { type Attempt, LOST, type Release } from '../instance.ts';
import { keepOpen, type Look } from '../keep-open.ts';
import type { Cluster } from '../kubernetes/cluster.ts';
import type { ReleasableSwitch } from '../switch-kinds.ts';
import { type Endpoint, hasCluster, modifyRuntime, type Runtime, readRuntime } from './admin.ts';
import { endpointsLeft, endpointsOf, settleAll } from './endpoints.ts';
import { beforeOf, heldOf } from './held.ts';
import { Keys, type Note, sameNow } from './keys.ts';
import { closable, enough, type Failure, failed, mayBeOpen } from './quorum.ts';

type Kept = Exclude<Position, 'closed'>;
type Values = Record<string, string | null>;

/** A cluster of all Envoys that call the dependency: what they are told is in their runtime, and goes with their process. */
export function envoySwitch(dependency: Dependency, options: EnvoySwitch, cluster?: Cluster): ReleasableSwitch {
  const it = new Envoys(dependency, options, cluster);
  return {
    read: () => it.read(),
    set: (request, attempt) => it.set(request, attempt),
    keepOpen: (request, pulse) =>
      keepOpen(request, pulse, (mayAssert) => it.look(request, mayAssert, () => pulse.stillMine(), pulse.signal)),
    release: (held, dryRun) => it.release(held, dryRun),
  };
}

class Envoys {
  readonly #options: EnvoySwitch;
  readonly #cluster: Cluster | undefined;
  readonly #keys: Keys;
  readonly #object: ObjectRef;

  constructor({ name }: Dependency, options: EnvoySwitch, cluster: Cluster | undefined) {
    this.#options = options;
    this.#cluster = cluster;
    this.#keys = new Keys(options);
    this.#object = { key: formatTarget({ type: 'dependency', name }), uid: `envoy:${options.envoyCluster}` };
  }

  async read(): Promise<SwitchReading> {
    const { read, failures } = await this.#readAll();
    enough(this.#options.quorum, read.length, failures, 'answered');
    await this.#checkCluster(read);
    const stands = read.map(({ endpoint, runtime }) => ({ endpoint, is: this.#keys.position(runtime) }));
    const [first] = stands;
    const alike = stands.every(({ is }) => JSON.stringify(is) === JSON.stringify(first?.is));
    const position = first && alike ? first.is : 'mixed';
    const told = alike
      ? `${read.length} of ${read.length + failures.length} Envoys are ${shown(position)}`
      : stands.map(({ endpoint, is }) => `${endpoint.name} is ${shown(is)}`).join(', ');
    const why = [told, ...failures.map(({ why }) => why)].join('; ');
    const held = heldOf(
      this.#keys.limits,
      this.#object,
      read.map(({ endpoint, runtime }) => ({
        ...{ name: endpoint.name, before: this.#keys.before(runtime) },
      })),
    );
    return { position, why, held };
  }

  async set(request: SetSwitchRequest, attempt: Attempt): Promise<Change[]> {
    const { position, step, held } = request;
    if (position === 'closed') return this.#close(step, held);
    this.#keys.wanted(position, {});
    if (Date.now() >= attempt.aloneUntil) await attempt.stillMine();
    const endpoints = await endpointsOf(this.#options, this.#cluster);
    const results = await settleAll(endpoints, (one) => this.#open(one, { ...request, position }, attempt.since));
    const failures = failed(endpoints, results);
    const taken = results.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    enough(this.#options.quorum, taken.length, failures, `took ${shown(position)}`);
    return taken.flat();
  }

  async #open(
    endpoint: Endpoint,
    { position, step, actor }: SetSwitchRequest & { position: Kept },
    since: number,
  ): Promise<Change[]> {
    const keys = this.#keys;
    const runtime = await readRuntime(endpoint);
    const note = keys.noteIn(runtime);
    const before = keys.before(runtime);
    const wanted = keys.wanted(position, before);
    if (note && sameNow(runtime, wanted)) {
      if (note.remediation !== actor.remediation || Date.parse(note.at) < since) return [];
      return [this.#change(endpoint, step, { before, after: wanted, more: LOST, at: note.at })];
    }
    const now: Note = { remediation: actor.remediation, at: new Date().toISOString(), position, before };
    return this.#write(endpoint, step, { runtime, wanted, note: now });
  }

  /** Writes, and reads whether that is what rules now. */
  async #write(
    endpoint: Endpoint,
    step: string,
    { runtime, wanted, note, more }: { runtime: Runtime; wanted: Values; note: Note | null; more?: string },
  ): Promise<Change[]> {
    const text = note && JSON.stringify(note);
    await modifyRuntime(endpoint, { ...wanted, [this.#keys.note]: text });
    const after = await readRuntime(endpoint);
    const over = Object.entries(wanted).find(([key, value]) => value !== null && after(key).final !== value);
    if (over)
      throw new FinalError(
        `Envoy ${endpoint.name} took ${over[0]}=${over[1]}, but a layer of its runtime over the admin's says ${after(over[0]).final}`,
        { type: 'Invalid' },
      );
    const before = Object.fromEntries(Object.keys(wanted).map((key) => [key, runtime(key).own]));
    if (sameNow(runtime, wanted)) return [];
    return [this.#change(endpoint, step, { before, after: wanted, more })];
  }

  #change(
    { name }: Endpoint,
    step: string,
    { before, after, more = '', at }: { before: Values; after: Values; more?: string | undefined; at?: string },
  ): Change {
    const moved = Object.keys(after).filter((key) => before[key] !== after[key]);
    const texts = moved.map((key) => `${key}: ${before[key] ?? '(none)'} → ${after[key] ?? '(none)'}`);
    const of = (values: Values) => JSON.stringify(Object.fromEntries(moved.map((key) => [key, values[key] ?? null])));
    return {
      ...{ step, what: `runtime of Envoy ${name}: ${texts.join(', ')}${more}`, object: this.#object },
      ...{ field: `runtime of ${name}`, before: of(before), after: of(after), at: at ?? new Date().toISOString() },
    };
  }

  /** Of all that can be reached: where nothing listens any more, what was set has gone with the process. */
  async #close(step: string, held: readonly Held[]): Promise<Change[]> {
    // Where no pod is left there is nothing to close.
    const endpoints = await endpointsLeft(this.#options, this.#cluster);
    const results = await settleAll(endpoints, (one) => this.#closeOne(one, step, held));
    closable(failed(endpoints, results));
    return results.flatMap((one) => (one.status === 'fulfilled' ? one.value : []));
  }

  async #closeOne(
    endpoint: Endpoint,
    step: string,
    held: readonly Held[],
    note: Note | null = null,
  ): Promise<Change[]> {
    const keys = this.#keys;
    const runtime = await readRuntime(endpoint);
    const found = keys.noteIn(runtime);
    // Without a note it is not known to be Salvor's, but for what it sets: what else is there is somebody else's.
    const before = found ? keys.before(runtime) : beforeOf(held, endpoint.name);
    const set = keys.wanted(found?.position ?? 'open', before);
    const wanted = Object.fromEntries(
      Object.entries(before).filter(([key]) => runtime(key).own === set[key] && (found || set[key] === '0')),
    );
    if (!found && !note && Object.keys(wanted).length === 0) return [];
    return this.#write(endpoint, step, { runtime, wanted, note });
  }

  /** Whether all Envoys are open; those that were restarted, or are new, know nothing of it and are told. */
  async look(
    { step, actor, held }: KeepOpenRequest,
    mayAssert: boolean,
    mayWrite: () => Promise<void>,
    signal: AbortSignal,
  ): Promise<Look> {
    const keys = this.#keys;
    const { read, failures } = await this.#readAll(signal);
    const off = read.flatMap(({ endpoint, runtime }) => {
      const note = keys.noteIn(runtime);
      const before = note ? keys.before(runtime) : { ...keys.before(runtime), ...noted(held, endpoint, runtime) };
      const wanted = keys.wanted('open', before);
      const due: Note = { remediation: actor.remediation, at: new Date().toISOString(), position: 'open', before };
      return note && !note.released && sameNow(runtime, wanted) ? [] : [{ endpoint, runtime, note, wanted, due }];
    });
    const released = off.find(({ note }) => note?.released);
    const object = this.#object;
    if (released)
      return {
        ...{ changes: [], contest: { by: 'salvor release', object } },
        over: `Salvor itself gave ${released.endpoint.name} back; it is left so`,
      };
    const contested = off.filter(({ note }) => note);
    const contest = contested[0] && { by: `somebody at ${contested[0].endpoint.name} (not recorded)`, object };
    const again = mayAssert ? off : off.filter(({ note }) => !note);
    if (again.length > 0) await mayWrite();
    const results = await settleAll(again, ({ endpoint, runtime, note, wanted, due }) => {
      const more = note ? ' again, for somebody had changed it' : ' again, for it was started anew';
      return this.#write(endpoint, step, { runtime, wanted, note: due, more });
    });
    const changes = results.flatMap((one) => (one.status === 'fulfilled' ? one.value : []));
    if (!contest && changes.length === 0) enough(this.#options.quorum, read.length, failures, 'answered', true);
    return { changes, ...(contest && { contest }) };
  }

  async release(held: Held, dryRun: boolean): Promise<Release> {
    const { read, failures } = await this.#readAll();
    const is = (result: Release['result'], why: string, changes: Change[] = []): Release => ({ result, why, changes });
    const open = read.filter(({ runtime }) => this.#keys.position(runtime) !== 'closed');
    if (open.length === 0) {
      closable(failures);
      return is('as-before', 'no Envoy is open any more');
    }
    const others = open.map(({ runtime }) => this.#keys.noteIn(runtime)?.remediation ?? held.remediation);
    const other = others.find((one) => one !== held.remediation);
    if (other !== undefined) return is('kept', `remediation ${other} holds it now`);
    const names = open.map(({ endpoint }) => endpoint.name).join(', ');
    if (dryRun) return is('given-back', `closes ${names}${besides(failures)}`);
    // Whoever still keeps it open sees by the mark that it was not a restart.
    const mark: Note = {
      remediation: held.remediation,
      at: new Date().toISOString(),
      position: 'open',
      before: {},
      released: true,
    };
    const endpoints = open.map(({ endpoint }) => endpoint);
    const results = await settleAll(endpoints, (one) => this.#closeOne(one, 'release', [held], mark));
    const left = [...failures, ...failed(endpoints, results)].filter(mayBeOpen);
    const changes = results.flatMap((one) => (one.status === 'fulfilled' ? one.value : []));
    // One on a machine that is gone keeps nobody from closing the others.
    if (left.length > 0 && left.length === read.length + failures.length) closable(left);
    if (left.length > 0) return is('unclear', `closed what answers${besides(left)}`, changes);
    return is('given-back', `closed ${names}`, changes);
  }

  async #readAll(signal?: AbortSignal) {
    const endpoints = await endpointsOf(this.#options, this.#cluster, signal);
    const results = await settleAll(endpoints, async (endpoint) => ({
      ...{ endpoint, runtime: await readRuntime(endpoint, signal) },
    }));
    signal?.throwIfAborted();
    const failures: Failure[] = failed(endpoints, results);
    return { read: results.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : [])), failures };
  }

  async #checkCluster(read: readonly { endpoint: Endpoint }[]): Promise<void> {
    const { envoyCluster } = this.#options;
    for (const { endpoint } of read) if (await hasCluster(endpoint, envoyCluster)) return;
    const names = read.map(({ endpoint }) => endpoint.name).join(', ');
    throw new FinalError(`no cluster "${envoyCluster}" in Envoy ${names}; nothing was touched`, { type: 'Invalid' });
  }
}

/** What is open without a note, as where another has removed it: what was there before is known from the reading alone. */
const noted = (held: readonly Held[], { name }: Endpoint, runtime: Runtime): Values =>
  Object.fromEntries(Object.entries(beforeOf(held, name)).filter(([key]) => runtime(key).own === '0'));

/** Of those that did not answer, for people. */
const besides = (failures: readonly Failure[]): string => {
  const left = failures.filter(mayBeOpen).map(({ why }) => why);
  return left.length > 0 ? `; may be open still, until it is started anew: ${left.join('; ')}` : '';
};

const shown = (position: Position | 'mixed'): string =>
  typeof position === 'string' ? position : `letting ${position.share}% through`;
