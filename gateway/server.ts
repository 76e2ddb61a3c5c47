import { lookup } from 'node:dns/promises';
import { createServer, type Server, type ServerOptions } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Client } from '@temporalio/client';
import { type FastifyInstance, type FastifyRequest, fastify } from 'fastify';
import { type Logger, pino } from 'pino';
import type { Config } from '../model/config.ts';
import { lazyClient } from '../providers/temporal/connect.ts';
import { readSetting, secretOf } from '../providers/temporal/secret.ts';
import { answerOf, logDelivery } from './answer.ts';
import { authenticator, type Credentials, isLoopback, isOpen } from './auth.ts';
import { parseBody } from './body.ts';
import { Courier } from './courier.ts';
import { deliver } from './deliver.ts';
import { failureOf } from './failure.ts';
import { GatewayMetrics } from './metrics.ts';
import { addOrders } from './orders.ts';
import { endBroken, refuse } from './refuse.ts';
import { checkType, Rejection } from './reject.ts';
import { traced } from './trace.ts';
import { sort } from './webhook.ts';

/** Milliseconds in which a request must have arrived as a whole. */
const RECEIVE_WITHIN = 10_000;
/** Milliseconds that requests under way have when the gateway closes: more than a delivery takes. */
const CLOSE_WITHIN = 10_000;
/** Milliseconds that Temporal has to answer a readiness probe. */
const READY_WITHIN = 2_000;
/** Seconds after which the sender may try again. */
const RETRY_AFTER = '5';

export interface Gateway {
  /** Where it listens: `http://127.0.0.1:9095`. */
  url: string;
  /** Stops listening, finishes the requests under way, and closes the connection to Temporal if it is its own. */
  close(): Promise<void>;
}

export interface GatewayOptions {
  config: Config;
  /** Without it the gateway connects as `config.temporal` says, lazily: Temporal need not be up. */
  client?: Client;
  logger?: Logger;
  /** What else `/metrics` shows, in Prometheus' text format: where worker and gateway are one process. */
  moreMetrics?: () => Promise<string>;
}

/**
 * Starts the server of webhooks, and of what people order.
 *
 * @throws where it would listen beyond loopback without authentication, cannot listen, or a secret cannot be read
 */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { config, client: given, logger, moreMetrics = async () => '' } = options;
  const log = logger ?? pino(pino.destination(2));
  const credentials = credentialsOf(config.gateway);
  const host = await hostOf(config.gateway.listen, credentials);
  const server = serverOf(config.gateway.tls);
  const client = given ?? lazyClient(config.temporal);
  const app = appOf({ config, client, log, credentials, server, moreMetrics });
  try {
    await app.listen({ host, port: config.gateway.listen.port });
  } catch (error) {
    await app.close();
    if (given === undefined) await client.connection.close();
    const { code } = error as NodeJS.ErrnoException;
    const { listen } = config.gateway;
    throw new Error(
      `gateway.listen: cannot listen on ${listen.host}:${listen.port} (${code}). Choose another address, or stop what listens there.`,
      { cause: error },
    );
  }
  const url = urlOf(server, config.gateway.tls !== undefined);
  log.info({ url, authenticated: !isOpen(credentials) }, 'gateway listens');
  return {
    url,
    close: async () => {
      // Node no longer ends slow requests once it is closing.
      const overdue = setTimeout(() => server.closeAllConnections(), CLOSE_WITHIN);
      await app.close().finally(() => clearTimeout(overdue));
      if (given === undefined) await client.connection.close();
    },
  };
}

function credentialsOf({ bearerTokenFile, bearerTokenEnv, basicAuth }: Config['gateway']): Credentials {
  const bearer = secretOf({ file: bearerTokenFile, variable: bearerTokenEnv, setting: 'gateway.bearerToken' });
  const password =
    basicAuth &&
    secretOf({ file: basicAuth.passwordFile, variable: basicAuth.passwordEnv, setting: 'gateway.basicAuth.password' });
  return { bearer, basic: basicAuth && password && { username: basicAuth.username, password } };
}

/** The address to bind: what is checked is what is bound. */
async function hostOf({ host, port }: Config['gateway']['listen'], credentials: Credentials): Promise<string> {
  const { address } = await lookup(host, { order: 'ipv4first' }).catch((cause: unknown) => {
    throw new Error(`gateway.listen: the name ${host} has no address. Write an address of this machine.`, { cause });
  });
  if (isOpen(credentials) && !isLoopback(address)) {
    throw new Error(
      `gateway.listen: ${host}:${port} can be reached from other machines, and no authentication is configured. Set gateway.bearerTokenFile or gateway.basicAuth, or listen on 127.0.0.1.`,
    );
  }
  return address;
}

function serverOf(tls: Config['gateway']['tls']): Server {
  const options: ServerOptions = {
    requestTimeout: RECEIVE_WITHIN,
    headersTimeout: RECEIVE_WITHIN,
    connectionsCheckingInterval: 1_000,
    // Longer than Alertmanager keeps an idle connection between two groups is of no use; shorter than a proxy's 60 s races.
    keepAliveTimeout: 72_000,
  };
  if (tls === undefined) return createServer(options);
  const cert = readSetting(tls.certFile, 'gateway.tls.certFile');
  const key = readSetting(tls.keyFile, 'gateway.tls.keyFile');
  return createSecureServer({ ...options, cert, key });
}

function urlOf(server: Server, secure: boolean): string {
  const { address, family, port } = server.address() as AddressInfo;
  return `${secure ? 'https' : 'http'}://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
}

interface Parts {
  config: Config;
  client: Client;
  log: Logger;
  credentials: Credentials;
  server: Server;
  moreMetrics: () => Promise<string>;
}

function appOf(parts: Parts): FastifyInstance {
  const { config, client, log, credentials, server, moreMetrics } = parts;
  const metrics = new GatewayMetrics(config.rules.map(({ rule }) => rule.name));
  const app = fastify({
    bodyLimit: config.gateway.maxBody,
    serverFactory: (handler) => server.on('request', handler),
    clientErrorHandler: (error, socket) => endBroken(error, socket, metrics, log),
  });
  // A request that was under way when the gateway began to close must not keep its connection open for another one.
  let closing = false;
  app.addHook('preClose', async () => {
    closing = true;
  });
  app.addHook('onSend', async (_request, reply) => {
    if (closing) reply.header('connection', 'close');
  });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, async (_request: FastifyRequest, body: Buffer) =>
    parseBody(body),
  );
  app.setErrorHandler((error, request, reply) => refuse({ error, request, reply, metrics, log }));
  app.setNotFoundHandler(async (_request, reply) => reply.code(404).send({ error: 'Nothing is served here.' }));

  addWebhook(app, parts, metrics);
  addOrders(app, {
    config,
    client,
    log,
    metrics,
    webhook: credentials.bearer,
    authenticate: authenticator(credentials),
  });
  app.get('/healthz', async () => ({ status: 'ok' }));
  app.get('/readyz', async (_request, reply) => {
    if (await isReady(client, config.temporal.namespace, log)) return { status: 'ready' };
    return reply.code(503).header('retry-after', RETRY_AFTER).send({ error: 'Temporal cannot be reached.' });
  });
  app.get('/metrics', async (_request, reply) =>
    reply.type(metrics.registry.contentType).send((await metrics.registry.metrics()) + (await moreMetrics())),
  );
  return app;
}

function addWebhook(app: FastifyInstance, { config, client, log, credentials }: Parts, metrics: GatewayMetrics): void {
  const courier = new Courier(client, config.temporal.taskQueue, metrics);
  const authenticate = authenticator(credentials);
  const realm = [credentials.bearer && 'Bearer', credentials.basic && 'Basic realm="salvor"']
    .filter(Boolean)
    .join(', ');
  app.route({
    method: 'POST',
    url: '/webhook/alertmanager',
    onRequest: async ({ headers }, reply) => {
      if (!authenticate(headers.authorization)) {
        reply.header('www-authenticate', realm);
        throw new Rejection('The credentials are missing or wrong.', { status: 401, reason: 'unauthenticated' });
      }
      checkType(headers['content-type'], headers['content-encoding']);
    },
    onResponse: async (_request, reply) => metrics.requests.inc({ code: reply.statusCode }),
    handler: (request, reply) =>
      traced(request.headers, async (span) => {
        const sorted = sort(request.body, config, metrics);
        const delivery = await deliver(courier, sorted.batches, metrics);
        logDelivery(log, sorted, delivery, reply.elapsedTime);
        if (delivery.undelivered.length > 0) reply.code(503).header('retry-after', RETRY_AFTER);
        span.setAttributes({ 'http.response.status_code': reply.statusCode, 'salvor.alerts': sorted.alerts });
        return answerOf(sorted, delivery);
      }),
  });
}

async function isReady(client: Client, namespace: string, log: Logger): Promise<boolean> {
  try {
    await client.withDeadline(Date.now() + READY_WITHIN, () => client.workflowService.describeNamespace({ namespace }));
    return true;
  } catch (error) {
    log.warn({ namespace, temporal: failureOf(error) }, 'not ready: Temporal does not answer for its namespace');
    return false;
  }
}
