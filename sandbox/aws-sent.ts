import type { IncomingMessage } from 'node:http';

export type Headers = Record<string, string>;

/** As the signature of a request names it. */
export interface Caller {
  /** Access key id. */
  by: string;
  region: string;
  /** `autoscaling`, `ec2`, `monitoring`, `cloudtrail`, … */
  service: string;
}

/** What a client has sent to the proxy before moto (aws-proxy.ts), as it is passed on. */
export interface Sent {
  headers: Headers;
  body: string;
  path: string;
}

/** Those that say what is asked and as whom; not those of the connection. */
export function headersOf({ headers }: IncomingMessage): Headers {
  const names = ['authorization', 'content-type', 'x-amz-date', 'x-amz-security-token', 'x-amz-target', 'accept'];
  return Object.fromEntries(
    names.flatMap((name) => (headers[name] === undefined ? [] : [[name, String(headers[name])]])),
  );
}

export function callerOf({ authorization = '' }: Headers): Caller {
  const [, by = '', region = '', service = ''] =
    /Credential=([^/]+)\/\d+\/([^/]+)\/([^/]+)\/aws4_request/.exec(authorization) ?? [];
  return { by, region, service };
}
