import type { RunAnswer } from '../model/request.ts';
import type { Queued } from '../model/responder.ts';

/** Answer to `salvor run`, filled in when it is known. */
export interface Answer {
  settled?: RunAnswer;
}

/** Of what was admitted and is not started yet, by episode: who waits to be told, and what had waited before. */
export class Answers {
  readonly #answers = new Map<string, Answer>();
  readonly #waited = new Map<string, Queued>();

  keep(episode: string, { answer, queued }: { answer?: Answer | undefined; queued?: Queued | undefined }): void {
    if (answer) this.#answers.set(episode, answer);
    if (queued) this.#waited.set(episode, queued);
  }

  askedBy(episode: string): Answer | undefined {
    const answer = this.#answers.get(episode);
    this.#answers.delete(episode);
    return answer;
  }

  hadWaited(episode: string): Queued | undefined {
    const queued = this.#waited.get(episode);
    this.#waited.delete(episode);
    return queued;
  }

  tell(episode: string, told: RunAnswer): void {
    const answer = this.askedBy(episode);
    if (answer) answer.settled = told;
  }
}
