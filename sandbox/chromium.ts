import { access, constants } from 'node:fs/promises';
import { delimiter, join } from 'node:path';

/**
 * A real browser, in which tests look at pages. It is not got like the other components: it needs many libraries of the
 * system, and every system has a way of its own to install it.
 */

const VARIABLE = 'SALVOR_CHROMIUM';
const COMMANDS = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome'];
const MACOS = ['/Applications/Chromium.app/Contents/MacOS/Chromium'];

/** For a browser that shows pages of this machine to a test: no window, no sandbox of its own, no calls home. */
export const CHROMIUM_FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** The path of the browser: what SALVOR_CHROMIUM says, or the first in the PATH. @throws Error that says how to get one */
export async function findChromium(): Promise<string> {
  const own = process.env[VARIABLE];
  if (own) {
    if (await isExecutable(own)) return own;
    throw new Error(`${VARIABLE}=${own}: no executable file`);
  }
  const folders = (process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== '');
  const files = [...COMMANDS.flatMap((command) => folders.map((folder) => join(folder, command))), ...MACOS];
  for (const file of files) if (await isExecutable(file)) return file;
  throw new Error(
    `Chromium is missing: none of ${COMMANDS.join(', ')} is in the PATH. Install it (Debian: apt-get install ` +
      `--no-install-recommends chromium fonts-dejavu-core), or set ${VARIABLE} to the path of its executable.`,
  );
}

const isExecutable = (file: string): Promise<boolean> =>
  access(file, constants.X_OK).then(
    () => true,
    () => false,
  );
