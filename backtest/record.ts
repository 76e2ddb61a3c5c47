import type { AuditEntry, AuditKind, AuditNote } from '../model/audit.ts';
import type { ConfiguredRule } from '../model/config.ts';
import { alertKey } from '../model/gates.ts';
import type { Outcome } from '../model/outcome.ts';
import type { RecordedAlert } from '../model/request.ts';
import type { Mode, ResolvedRule } from '../model/rule.ts';

/** A note as the audit store gives it, with its stream's ID. */
export interface Noted extends AuditNote {
  stream: string;
}

/** What a rule was asked, and what became of it. All times are in milliseconds since the epoch. */
export interface RecordedRequest {
  rule: string;
  ruleDigest: string;
  mode: Mode;
  scope: string;
  target: string;
  alert: RecordedAlert;
  /** When it was first asked for; of one that was admitted at once, when it began. */
  at: number;
  /** Its place among those of the same time. */
  order: number;
  /** It waited, at first for this gate. */
  wait?: { gate: string; reason: string };
  refused?: { at: number; gate: string; reason: string };
  /** Its alert was resolved while it waited. */
  droppedAt?: number;
  /** It was admitted. */
  episode?: Episode;
}

/** A remediation, or a proposal, as it went. */
export interface Episode {
  begunAt: number;
  rule: ResolvedRule;
  /** It acted on a plan that a person had approved. */
  approved: boolean;
  /** Absent where no end is on record. */
  ended?: { at: number; outcome: Outcome | 'terminated' };
  /** What it found first, for people. */
  diagnosis?: string;
}

export interface Recorded {
  /** In the order of the first note about each firing. */
  requests: RecordedRequest[];
  /** Every version of a rule that is known, by its digest: those under which something began, and those configured. */
  rules: Map<string, ResolvedRule>;
  /** Labels and annotations by fingerprint, which is a hash of the labels. */
  labels: Map<string, Pick<RecordedAlert, 'labels' | 'annotations'>>;
  /** Notes that were lost while the store was down. */
  lost: number;
}

/**
 * Puts together what the store has of each request. The order in which the notes come does not matter.
 *
 * @param configured rules whose settings are known from elsewhere: a decision on record names only their digest
 */
export async function readRecord(
  notes: AsyncIterable<Noted> | Iterable<Noted>,
  configured: readonly Pick<ConfiguredRule, 'rule' | 'digest'>[] = [],
): Promise<Recorded> {
  const facts = new Facts();
  for await (const note of notes) facts.add(note);
  const recorded = facts.recorded();
  for (const { rule, digest } of configured) recorded.rules.set(digest, rule);
  return recorded;
}

type Entry<K extends AuditKind> = Extract<AuditEntry, { kind: K }>;

interface Fact<K extends AuditKind> {
  at: number;
  stream: string;
  /** The number of the note in its stream. */
  order: number;
  entry: Entry<K>;
}

type Told = Fact<'begun'> | Fact<'decision'> | Fact<'dropped'>;

/** What is kept of the notes while they are read: changes and histories are of no interest here. */
class Facts {
  readonly #told: Told[] = [];
  readonly #seen = new Set<string>();
  readonly #ends = new Map<string, Episode['ended']>();
  readonly #diagnoses = new Map<string, { order: number; text: string }>();
  #lost = 0;

  add({ stream, key, at, entry }: Noted): void {
    const fact = { at: Date.parse(at), stream, order: Number.parseInt(key, 10) || 0 };
    switch (entry.kind) {
      case 'ended': {
        const known = this.#ends.get(stream);
        // One that was taken for terminated may still have had a word of its own: that counts.
        if (known && known.outcome !== 'terminated') return;
        this.#ends.set(stream, { at: fact.at, outcome: entry.outcome });
        return;
      }
      case 'evidence':
        // The first is the diagnosis on which it acted, or did not.
        if (fact.order < (this.#diagnoses.get(stream)?.order ?? Number.POSITIVE_INFINITY))
          this.#diagnoses.set(stream, { order: fact.order, text: `${entry.verdict}: ${entry.why}` });
        return;
      case 'begun':
      case 'decision':
      case 'dropped':
      case 'lost':
        break;
      default:
        return;
    }
    const name = `${stream} ${key}`;
    if (this.#seen.has(name)) return;
    this.#seen.add(name);
    if (entry.kind === 'lost') this.#lost += entry.count;
    else this.#told.push({ ...fact, entry } as Told);
  }

  recorded(): Recorded {
    const told = this.#told.sort(
      (a, b) => a.at - b.at || (a.stream < b.stream ? -1 : Number(a.stream > b.stream)) || a.order - b.order,
    );
    const rules: Recorded['rules'] = new Map();
    const labels: Recorded['labels'] = new Map();
    const firings = new Map<string, Told[]>();
    for (const fact of told) {
      const { entry } = fact;
      const { alert } = entry;
      if (entry.kind === 'begun') rules.set(entry.ruleDigest, entry.rule);
      if (alert.labels) labels.set(alert.fingerprint, { labels: alert.labels, annotations: alert.annotations });
      const key = `${ruleOf(entry)} ${alertKey(alert)}`;
      const firing = firings.get(key);
      if (firing) firing.push(fact);
      else firings.set(key, [fact]);
    }
    const requests = [...firings.values()].flatMap((facts) => this.#requestsOf(facts));
    return { requests, rules, labels, lost: this.#lost };
  }

  /** What one rule was asked about one firing of one alert: a firing is asked for again after a failure, for one. */
  #requestsOf(facts: Told[]): RecordedRequest[] {
    const requests = new Map<string, RecordedRequest>();
    for (const fact of facts) {
      if (!isOf(fact, 'decision')) continue;
      const { since, decision } = fact.entry;
      const request = requests.get(since) ?? { ...aboutOf(fact.entry), at: Date.parse(since), order: fact.order };
      requests.set(since, request);
      const { gate, reason } = decision;
      if (decision.answer === 'wait') request.wait ??= { gate, reason };
      else request.refused ??= { at: fact.at, gate, reason };
    }
    const all = [...requests.values()];
    for (const fact of facts) {
      if (isOf(fact, 'decision')) continue;
      // Of what waits for one firing of one alert there is one at a time.
      const waiting = all
        .filter((request) => request.at <= fact.at && isWaiting(request))
        .sort((a, b) => a.at - b.at)
        .at(-1);
      if (isOf(fact, 'dropped')) {
        if (waiting) waiting.droppedAt = fact.at;
      } else if (isOf(fact, 'begun')) {
        const episode = this.#episodeOf(fact);
        if (waiting) waiting.episode = episode;
        else {
          const at = fact.entry.since === undefined ? fact.at : Date.parse(fact.entry.since);
          all.push({ ...aboutOf(fact.entry), at, order: fact.at, episode });
        }
      }
    }
    return all;
  }

  #episodeOf({ stream, at, entry }: Fact<'begun'>): Episode {
    const ended = this.#ends.get(stream);
    const diagnosis = this.#diagnoses.get(stream)?.text;
    const approved = entry.alert.approval !== undefined;
    return { begunAt: at, rule: entry.rule, approved, ...(ended && { ended }), ...(diagnosis && { diagnosis }) };
  }
}

const isOf = <K extends Told['entry']['kind']>(fact: Told, kind: K): fact is Extract<Told, Fact<K>> =>
  fact.entry.kind === kind;

const isWaiting = ({ wait, refused, droppedAt, episode }: RecordedRequest): boolean =>
  wait !== undefined && refused === undefined && droppedAt === undefined && episode === undefined;

const ruleOf = ({ rule }: Told['entry']): string => (typeof rule === 'string' ? rule : rule.name);

function aboutOf(entry: Entry<'begun'> | Entry<'decision'>) {
  const { ruleDigest, scope, target, alert } = entry;
  const about = { ruleDigest, scope, target, alert };
  return entry.kind === 'begun'
    ? { ...about, rule: entry.rule.name, mode: entry.rule.mode }
    : { ...about, rule: entry.rule, mode: entry.mode };
}
