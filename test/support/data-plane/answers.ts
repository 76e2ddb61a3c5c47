/** What came of one request of the load. */
export interface Answer {
  /** Milliseconds since the epoch at which it was sent. */
  start: number;
  /** Milliseconds until its answer had come, or its failure. */
  latency: number;
  /** 0: there was no answer. */
  status: number;
  /** host:port of the server that it was given to; absent where it was given to none. */
  upstream?: string;
}

/** Milliseconds after which an answer is no good any more. */
const SLOW = 1_000;

export const hasFailed = ({ status }: Answer): boolean => status !== 200;
export const isBad = (answer: Answer): boolean => hasFailed(answer) || answer.latency > SLOW;

export interface Figures {
  requests: number;
  /** Not answered 200. */
  failed: number;
  /** Answered 200, in more than a second. */
  slow: number;
  /** Milliseconds from the first bad answer, failed or slow, to the last; 0 where there is none or one. */
  badFor: number;
}

export function figuresOf(answers: readonly Answer[]): Figures {
  const bad = answers.filter(isBad);
  const ends = bad.map(({ start, latency }) => start + latency);
  const failed = bad.filter(hasFailed).length;
  return {
    requests: answers.length,
    failed,
    slow: bad.length - failed,
    badFor: bad.length === 0 ? 0 : Math.max(...ends) - Math.min(...ends),
  };
}
