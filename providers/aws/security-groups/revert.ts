import type { Change } from '../../../model/change.ts';
import { type GroupPlan, OPEN } from '../../../model/drift/compare-groups.ts';
import type { Difference } from '../../../model/drift/difference.ts';
import { type GroupRule, mayReplace, ruleKey } from '../../../model/drift/group-rule.ts';
import type { RevertRequest, RevertResult } from '../../../model/ports/desired-state.ts';
import { formatTarget } from '../../../model/target.ts';
import type { DriftMeans } from '../../desired-state.ts';
import { FinalError } from '../../errors.ts';
import { HeldBack, LOST } from '../../instance.ts';
import { beating } from '../../pulse.ts';
import { MovedError } from '../../source/git.ts';
import type { Answered } from '../account.ts';
import { codeOf } from '../errors.ts';
import { type Look, look, type Means } from './look.ts';
import { UnfitSource } from './source.ts';

/** One call, as it is remembered: a rule that is closed has an id, one that is opened has none. */
interface Doing {
  group: string;
  /** {@link ruleKey} */
  path: string;
  id?: string;
}

interface Write extends Doing {
  rule: GroupRule;
  /** What is to be open before this is closed: names, see {@link nameOf}. */
  after: string[];
}

/** What could not be done, and by what error; none where it was left because of another. */
interface Left {
  write: Write;
  error?: FinalError;
}

/** What the next attempt has to know. */
interface Progress {
  /** All that was to be written, when the first attempt began: see {@link nameOf}. */
  todo: string[];
  changes: Change[];
  /** What was about to be written last: its answer may be lost. */
  doing?: Doing;
}

/** Somebody else, or an earlier attempt, has done it. */
const DONE = new Set([
  'InvalidPermission.Duplicate',
  'InvalidPermission.NotFound',
  'InvalidSecurityGroupRuleId.NotFound',
]);

/**
 * Reverts just what was reviewed: first what is only to be closed, then what is opened, then what that may replace, so that nothing
 * is cut in between. What AWS refuses keeps nothing else from being done, but what it was to replace. A rule is closed by its id, so
 * never a successor; each is a call of its own, for the same reason that each is a change.
 */
export async function revert(means: Means, request: RevertRequest, drift: DriftMeans): Promise<RevertResult> {
  const run = new Revert(means, request, drift);
  try {
    return await beating(
      drift.pulse,
      () => run.progress,
      () => run.run(),
    );
  } catch (error) {
    return run.ended(error);
  }
}

class Revert {
  progress: Progress | undefined;
  readonly #means: Means;
  readonly #request: RevertRequest;
  readonly #drift: DriftMeans;
  /** Name of what the attempt before this one was about to write. */
  #lost: string | undefined;

  constructor(means: Means, request: RevertRequest, drift: DriftMeans) {
    this.#means = means;
    this.#request = request;
    this.#drift = drift;
    this.progress = drift.pulse.last as Progress | undefined;
  }

  async run(): Promise<RevertResult> {
    const { pulse } = this.#drift;
    const watch = { signal: pulse.signal, beat: () => pulse.beat(this.progress) };
    const seen = await look(this.#means, this.#request.revision, watch);
    const plans = new Map(seen.found.map(({ difference, plan }) => [difference.address, plan]));
    const other = this.#request.reviewed.flatMap((reviewed) => this.#other(reviewed, seen) ?? []);
    if (other.length > 0) return this.#is('changed', `${other.join('; ')}; nothing more was touched`);
    const all = this.#request.reviewed.flatMap(({ address }) => writesOf(plans.get(address)));
    const left: Left[] = [];
    for (const write of this.#begin(all)) {
      const isWaiting = left.some((one) => write.after.includes(nameOf(one.write)));
      const error = isWaiting ? undefined : await this.#write(write);
      if (isWaiting || error) left.push({ write, ...(error && { error }) });
    }
    const [first] = left;
    if (first?.error && this.#changes.length === 0) throw first.error;
    if (first) return this.#is('failed', leftWords(left));
    const { length } = this.#changes;
    const rules = length === 1 ? 'one rule was' : `${length} rules were`;
    return this.#is('reverted', length === 0 ? 'nothing differs any more' : `${rules} opened or closed`);
  }

  /** @throws what is to be tried again by another attempt, which tells what this one has done */
  ended(error: unknown): RevertResult {
    if (error instanceof UnfitSource || error instanceof MovedError)
      return this.#is('changed', `${error.message}; nothing more was touched`);
    if (this.#changes.length === 0) throw error;
    if (error instanceof HeldBack) return { ...this.#is('held-back', error.message), objection: error.objection };
    if (error instanceof FinalError) return this.#is('failed', error.message);
    if (this.#drift.pulse.isCancelled?.()) return this.#is('failed', 'it was ended before it was done');
    throw error;
  }

  get #changes(): Change[] {
    return this.progress?.changes ?? [];
  }

  /** Why it is not what was reviewed; undefined where it is, or what is left of it. */
  #other({ address, digest }: Difference, { found }: Look): string | undefined {
    const now = found.find(({ difference }) => difference.address === address);
    const todo = this.progress?.todo;
    // Done by an earlier attempt, or by somebody else since.
    if (!now) return todo || this.#drift.isRepeat ? undefined : `${address} does not differ any more`;
    const { difference, plan } = now;
    const isLeft = plan && todo ? writesOf(plan).every((write) => todo.includes(nameOf(write))) : false;
    if (plan && (isLeft || difference.digest === digest)) return undefined;
    return `${address} is not as it was reviewed: ${difference.why}`;
  }

  /** @returns what is left to be written, in order */
  #begin(writes: readonly Write[]): Write[] {
    const { todo = writes.map(nameOf), changes = [], doing } = this.progress ?? {};
    this.progress = { todo, changes };
    if (!doing) return [...writes];
    const again = writes.filter((write) => nameOf(write) === nameOf(doing));
    if (again.length === 0) this.#done(doing, NOW(), LOST);
    else this.#lost = nameOf(doing);
    // First what was about to be written, for of that alone it is not known whether it was.
    return [...again, ...writes.filter((write) => !again.includes(write))];
  }

  /** @returns why AWS does not do it */
  async #write(write: Write): Promise<FinalError | undefined> {
    const { aws } = this.#means;
    const { pulse } = this.#drift;
    const { rule, after: _, ...doing } = write;
    const { group, id } = doing;
    this.progress = { todo: this.progress?.todo ?? [], changes: this.#changes, doing };
    pulse.beat(this.progress);
    await pulse.stillMine();
    try {
      const { direction } = rule;
      const answered = await (id === undefined
        ? aws.securityGroups.authorize(group, rule)
        : aws.securityGroups.revoke(group, { id, direction }));
      this.#done(doing, answered);
    } catch (error) {
      if (!(error instanceof FinalError)) throw error;
      if (!DONE.has(codeOf(error) ?? '')) {
        this.#done(doing);
        return error;
      }
      // By somebody else, or by the attempt before this one, which AWS told of too late for the look.
      if (this.#lost === nameOf(doing)) this.#done(doing, NOW(), LOST);
      else this.#done(doing);
    }
    return undefined;
  }

  /** @param answered absent: somebody else has done it, or nobody will */
  #done({ group, path, id }: Doing, answered?: Answered, lost = ''): void {
    const { todo = [], changes = [] } = this.progress ?? {};
    const closes = id !== undefined;
    const change = answered && {
      step: this.#request.step,
      what: `${group}: ${closes ? `close ${path} (${id})` : `open ${path}`}${lost}`,
      object: { key: formatTarget({ type: 'stack', name: this.#request.stack.name }), uid: group },
      ...{ field: path, before: closes ? OPEN : null, after: closes ? null : OPEN },
      ...answered,
    };
    this.progress = { todo, changes: [...changes, ...(change ? [change] : [])] };
    this.#drift.pulse.beat(this.progress);
  }

  #is<V extends RevertResult['verdict']>(verdict: V, why: string) {
    return { verdict, why, changes: this.#changes };
  }
}

const NOW = (): Answered => ({ at: new Date().toISOString() });

/** Tells one write from another: two rules that look the same have their ids. */
const nameOf = ({ group, path, id }: Doing): string => `${group} ${id ?? path}`;

function writesOf(plan: GroupPlan | undefined): Write[] {
  if (!plan) return [];
  const { group, authorize, revoke } = plan;
  const opens = authorize.map((rule) => ({ group, path: ruleKey(rule), rule, after: [] }));
  const closes = revoke.map((rule) => {
    const after = opens.filter((one) => mayReplace(one.rule, rule)).map(nameOf);
    return { group, path: ruleKey(rule), id: rule.id, rule, after };
  });
  const replaced = closes.filter(({ after }) => after.length > 0);
  return [...closes.filter((one) => !replaced.includes(one)), ...opens, ...replaced];
}

/** Rules, and errors, that one sentence names. */
const MOST_NAMED = 5;

function leftWords(left: readonly Left[]): string {
  const names = left.map(
    ({ write: { group, path, id } }) => `${group}: ${id === undefined ? 'open' : 'close'} ${path}`,
  );
  const errors = [...new Set(left.flatMap(({ error }) => error?.message ?? []))];
  const some = (texts: readonly string[], by: string) =>
    `${texts.slice(0, MOST_NAMED).join(by)}${texts.length > MOST_NAMED ? `${by}and ${texts.length - MOST_NAMED} more` : ''}`;
  return `left to be done: ${some(names, ', ')}. ${some(errors, '; ')}`;
}
