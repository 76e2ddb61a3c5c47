/** Git repositories on this machine, by `file://` and by HTTP with basic authentication, as a test's source of configuration. */
import { spawn } from 'node:child_process';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { run } from '../../sandbox/run.ts';

/** Nothing of whoever runs the tests: neither settings, nor credentials, nor a prompt. */
export const GIT_ENV = {
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_TERMINAL_PROMPT: '0',
  GIT_AUTHOR_NAME: 'Ada',
  GIT_AUTHOR_EMAIL: 'ada@example.com',
  GIT_COMMITTER_NAME: 'Ada',
  GIT_COMMITTER_EMAIL: 'ada@example.com',
};

export interface Repository {
  readonly name: string;
  /** Its work tree. */
  readonly folder: string;
  readonly fileUrl: string;
  /**
   * Writes files, by their paths (undefined: the file is removed), and commits them on the branch that is checked out.
   * @returns the commit's full name
   */
  commit(files: Record<string, string | undefined>, message?: string): Promise<string>;
  /** Any command of Git in its work tree. @returns what it printed */
  git(...args: string[]): Promise<string>;
}

/** An empty repository in `root`, on the branch `main`. */
export async function makeRepository(root: string, name: string): Promise<Repository> {
  const folder = join(root, name);
  const git = (...args: string[]) => run('git', args, { cwd: folder, env: GIT_ENV });
  await mkdir(folder, { recursive: true });
  await git('init', '--quiet', '--initial-branch=main');
  return {
    name,
    folder,
    fileUrl: pathToFileURL(folder).href,
    git,
    commit: async (files, message = 'change') => {
      for (const [path, content] of Object.entries(files)) {
        const file = join(folder, path);
        await mkdir(dirname(file), { recursive: true });
        if (content === undefined) await rm(file);
        else await writeFile(file, content);
      }
      await git('add', '--all');
      await git('commit', '--quiet', '--allow-empty', `--message=${message}`);
      return git('rev-parse', 'HEAD');
    },
  };
}

export interface Credentials {
  user: string;
  password: string;
}

export interface GitServer {
  /** Of a repository in the server's root. Nothing of the credentials is in it. */
  url(name: string): string;
  /** All requests so far: whose they were, where they were those of somebody, and the status of the answer. */
  readonly requests: readonly { path: string; user?: string; status: number }[];
  /** From now on these alone are let in. */
  accept(credentials: Credentials): void;
  close(): Promise<void>;
}

/** Serves all repositories in `root`, for reading, by Git's own smart HTTP. @param credentials default: anybody may read */
export async function serveGit(root: string, credentials?: Credentials): Promise<GitServer> {
  const requests: { path: string; user?: string; status: number }[] = [];
  let accepted = credentials;
  const server = createServer((request, response) => {
    const given = credentialsOf(request);
    response.once('close', () => {
      const user = given && { user: given.user };
      requests.push({ path: request.url ?? '', ...user, status: response.statusCode });
    });
    if (!accepted || (given?.user === accepted.user && given.password === accepted.password)) {
      backend(root, request, response);
    } else {
      request.resume();
      response.writeHead(401, { 'www-authenticate': 'Basic realm="git"' }).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url: (name) => `${base}/${name}`,
    requests,
    accept: (next) => {
      accepted = next;
    },
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function credentialsOf({ headers }: IncomingMessage): Credentials | undefined {
  const encoded = /^Basic (.+)$/.exec(headers.authorization ?? '')?.[1];
  if (encoded === undefined) return undefined;
  const [user = '', ...password] = Buffer.from(encoded, 'base64').toString().split(':');
  return { user, password: password.join(':') };
}

/** Runs `git http-backend` as a web server runs a CGI program. */
function backend(root: string, request: IncomingMessage, response: ServerResponse): void {
  const { pathname, search } = new URL(request.url ?? '/', 'http://127.0.0.1');
  const { headers, method = 'GET' } = request;
  const child = spawn('git', ['http-backend'], {
    stdio: ['pipe', 'pipe', 'ignore'],
    env: {
      PATH: process.env['PATH'],
      ...GIT_ENV,
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: '1',
      PATH_INFO: decodeURIComponent(pathname),
      QUERY_STRING: search.slice(1),
      REQUEST_METHOD: method,
      REMOTE_ADDR: '127.0.0.1',
      CONTENT_TYPE: headers['content-type'] ?? '',
      ...(headers['content-length'] && { CONTENT_LENGTH: headers['content-length'] }),
      ...(headers['content-encoding'] && { HTTP_CONTENT_ENCODING: headers['content-encoding'] }),
      ...(headers['git-protocol'] && { GIT_PROTOCOL: headers['git-protocol'] as string }),
    },
  });
  response.once('close', () => child.kill());
  child.once('error', () => response.destroy());
  // It may answer before it has read all.
  child.stdin.once('error', () => request.resume());
  request.pipe(child.stdin);
  let head: Buffer | undefined = Buffer.alloc(0);
  child.stdout.on('data', (chunk: Buffer) => {
    if (head === undefined) {
      response.write(chunk);
      return;
    }
    head = Buffer.concat([head, chunk]);
    const end = head.indexOf('\r\n\r\n');
    if (end < 0) return;
    const lines = head.subarray(0, end).toString().split('\r\n');
    const fields = lines.map((line) => line.split(/: (.*)/s) as [string, string]);
    const status = fields.find(([name]) => name === 'Status')?.[1];
    for (const [name, value] of fields) if (name !== 'Status') response.setHeader(name, value);
    response.writeHead(Number.parseInt(status ?? '200', 10));
    response.write(head.subarray(end + 4));
    head = undefined;
  });
  child.stdout.once('end', () => response.end());
}
