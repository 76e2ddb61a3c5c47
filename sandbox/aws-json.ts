/** What the proxy before moto (aws-proxy.ts) must read and write of the JSON protocols. */

/** The action of a request in JSON, whose header names it after its service; undefined where it is one of the query protocol. */
export const jsonAction = (target: string | undefined): string | undefined => /\.(\w+)$/.exec(target ?? '')?.[1];

export const jsonError = ({ code, message }: { code: string; message: string }): string =>
  JSON.stringify({ __type: code, message });

export const jsonCodeOf = (body: string): string | undefined => /"__type": ?"(?:[^"]*#)?(\w+)"/.exec(body)?.[1];
