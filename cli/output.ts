import { styleText } from 'node:util';

type Format = Parameters<typeof styleText>[0];

/** Colours text where standard output is a terminal that wants colour (NO_COLOR, --no-color and pipes do not). */
export const paint = (format: Format, text: string): string => styleText(format, text, { stream: process.stdout });

/** As {@link paint}, for standard error. */
export const paintError = (format: Format, text: string): string => styleText(format, text, { stream: process.stderr });

export const print = (...lines: string[]): void => {
  process.stdout.write(`${lines.join('\n')}\n`);
};

/** One JSON document: what `--json` promises, and nothing else on standard output. */
export const printJson = (value: unknown): void => print(JSON.stringify(value, null, 2));

/** Notes for the person, never part of the result: they go to standard error. */
export const note = (...lines: string[]): void => {
  if (lines.length > 0) process.stderr.write(`${lines.join('\n')}\n`);
};

/** Aligns columns by two spaces; cells are plain text, `style` colours a cell after it has been padded. */
export function table(rows: string[][], style: (text: string, column: number, row: number) => string): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, cell.length);
    });
  }
  return rows.map((cells, row) =>
    cells
      .map((cell, column) => {
        const last = column === cells.length - 1;
        return style(last ? cell : cell.padEnd(widths[column] ?? 0), column, row);
      })
      .join('  ')
      .trimEnd(),
  );
}
