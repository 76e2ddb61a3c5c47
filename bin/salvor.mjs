#!/usr/bin/env node
// Written for any Node that knows ES modules, so that an old one says what is missing instead of a syntax error.
// Nothing is imported statically: static imports would be loaded before the check.

const NEEDED = [22, 19];

const [major, minor] = process.versions.node.split('.').map(Number);

if (major < NEEDED[0] || (major === NEEDED[0] && minor < NEEDED[1])) {
  console.error(
    'salvor: this is Node ' +
      process.versions.node +
      ' (' +
      process.execPath +
      '), Salvor needs Node ' +
      NEEDED.join('.') +
      ' or later.\n' +
      'Install Node 24 LTS: `nvm install 24`, `fnm install 24`, `npm install -g node@24`, or from https://nodejs.org.\n' +
      'In a checkout nothing needs to be installed: `npm ci` brings Node 24 along, and `npx salvor` runs on it.',
  );
  process.exitCode = 2;
} else {
  const entry = new URL('../dist/cli/main.js', import.meta.url);
  import(entry.href).then(
    (cli) => cli.main(process.argv),
    (error) => {
      if (error.code === 'ERR_MODULE_NOT_FOUND' && String(error.url) === entry.href) {
        console.error('salvor: this checkout is not built. Build it with `npm run build` (`npm ci` does so too).');
      } else {
        console.error('salvor: could not be loaded:', error);
      }
      process.exitCode = 2;
    },
  );
}
