/** What is happening to a component that is being got. */
export interface Progress {
  component: string;
  phase: 'download' | 'build' | 'package' | 'wait' | 'ready';
  /** For people: "compiled 340 packages". */
  message: string;
  /** 0 to 1, where it is known. */
  fraction?: number;
}
export type OnProgress = (progress: Progress) => void;

const BAR = 24;
/** On a plain log one phase says something again only after this long. */
const QUIET_MS = 15_000;

/** Shows progress: one line that is redrawn, with a bar, on a terminal; plain lines elsewhere. */
export function consoleProgress(stream: NodeJS.WriteStream = process.stderr): OnProgress {
  return stream.isTTY ? drawn(stream) : plain(stream);
}

function drawn(stream: NodeJS.WriteStream): OnProgress {
  const current = new Map<string, Progress>();
  return (progress) => {
    current.delete(progress.component);
    if (progress.phase === 'ready') {
      stream.write(`\r\x1b[K${progress.component}: ${progress.message}\n`);
    } else {
      current.set(progress.component, progress);
    }
    const line = [...current.values()].map((one) => `${one.component} ${bar(one)}${one.message}`).join('  |  ');
    stream.write(`\r\x1b[K${line.slice(0, Math.max(20, stream.columns - 1))}`);
  };
}

function bar({ fraction }: Progress): string {
  if (fraction === undefined) return '';
  const full = Math.round(Math.min(1, fraction) * BAR);
  return `[${'#'.repeat(full)}${'.'.repeat(BAR - full)}] `;
}

function plain(stream: NodeJS.WriteStream): OnProgress {
  const last = new Map<string, { phase: string; at: number }>();
  return ({ component, phase, message, fraction }) => {
    const before = last.get(component);
    // What has a fraction is said over and over; what has none is news.
    const again = fraction !== undefined && before?.phase === phase && Date.now() - before.at < QUIET_MS;
    if (again) return;
    last.set(component, { phase, at: Date.now() });
    const share = fraction === undefined ? '' : ` (${Math.round(Math.min(1, fraction) * 100)}%)`;
    stream.write(`${component}: ${message}${share}\n`);
  };
}
