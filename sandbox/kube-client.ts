import { Agent, request } from 'node:https';
import { json, text } from 'node:stream/consumers';

/** A plain call of the API server, for the sandbox's own needs before a client library has anything to connect to. */
export type Call = (
  method: 'GET' | 'POST',
  path: string,
  body?: unknown,
  headers?: Record<string, string>,
) => Promise<unknown>;

/**
 * Answers parsed JSON, or text where the server sends no JSON.
 * @param ca reads the certificate, which the server makes when it starts
 * @throws Error on a status of 300 or more
 */
export function caller(server: string, token: string, ca: () => Promise<Buffer>): Call {
  const agent = new Agent({ keepAlive: true, timeout: 5_000 });
  return async (method, path, body, headers) => {
    const certificate = await ca();
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const call = request(
      new URL(path, server),
      {
        agent,
        method,
        ca: certificate,
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', ...headers },
      },
      (response) => {
        const isJson = response.headers['content-type']?.startsWith('application/json') === true;
        const status = response.statusCode ?? 0;
        (isJson ? json(response) : text(response)).then((answer) => {
          if (status < 300) resolve(answer);
          else reject(new Error(`${method} ${path} answered ${status}: ${isJson ? JSON.stringify(answer) : answer}`));
        }, reject);
      },
    );
    call.once('timeout', () => call.destroy(new Error(`${method} ${path}: no answer within 5 s`)));
    call.once('error', reject);
    call.end(body === undefined ? undefined : JSON.stringify(body));
    return promise;
  };
}

/** A kubeconfig with one context, `sandbox`. `ca` is base64. */
export function kubeconfigOf(server: string, ca: string, user: string, token: string): object {
  return {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'sandbox',
    clusters: [{ name: 'sandbox', cluster: { server, 'certificate-authority-data': ca } }],
    users: [{ name: user, user: { token } }],
    contexts: [{ name: 'sandbox', context: { cluster: 'sandbox', user } }],
  };
}
