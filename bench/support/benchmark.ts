/** How a benchmark is run; see README.md. */
export interface Settings {
  rounds: number;
  /** Small counts, to see whether it runs; the figures mean nothing and are not kept. */
  quick: boolean;
  /** Folder for CPU profiles of Salvor's worker and gateway. */
  profile?: string;
  /** Says what goes on. */
  say: (text: string) => void;
}

/** Answers its figures as Markdown. */
export type Benchmark = (settings: Settings) => Promise<string>;
