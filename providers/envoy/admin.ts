import { z } from 'zod';
import { FinalError, UnavailableError } from '../errors.ts';
import { oneRequest } from '../one-request.ts';

const REQUEST_MS = 5_000;

/** What a key has: of all layers together, and of the one that the admin endpoint writes; null where it has nothing. */
export interface Value {
  final: string | null;
  own: string | null;
}
export type Runtime = (key: string) => Value;

const runtimeSchema = z.object({
  layers: z.array(z.string()),
  entries: z.record(z.string(), z.object({ final_value: z.string(), layer_values: z.array(z.string()) })),
});
const dumpSchema = z.object({ configs: z.array(z.unknown()).optional() });

/** One Envoy, by its admin endpoint. */
export interface Endpoint {
  /** For people: its address, or its pod. */
  name: string;
  /** `http://10.0.0.1:15000` */
  url: string;
}

/** @throws UnavailableError; FinalError `Invalid`, `Forbidden` */
export async function readRuntime(endpoint: Endpoint, signal?: AbortSignal): Promise<Runtime> {
  const text = await call(endpoint, 'GET', '/runtime?format=json', signal);
  const answer = runtimeSchema.safeParse(jsonOf(text)).data;
  if (!answer) throw noEnvoy(endpoint, 'its /runtime is something else');
  const { layers, entries } = answer;
  // Envoy does not say which layer is the admin's. All configurations that are about call it so, or have it last, over all others.
  const named = layers.findIndex((name) => /admin/i.test(name));
  const at = named < 0 ? layers.length - 1 : named;
  return (key) => {
    const entry = Object.hasOwn(entries, key) ? entries[key] : undefined;
    return { final: entry?.final_value ?? null, own: entry?.layer_values[at] || null };
  };
}

/** All of them at once; null removes what was set. @throws as {@link readRuntime} does */
export async function modifyRuntime(
  endpoint: Endpoint,
  values: Readonly<Record<string, string | null>>,
): Promise<void> {
  const pairs = Object.entries(values).map(
    ([key, value]) => `${encodeURIComponent(key)}=${encodeURIComponent(value ?? '')}`,
  );
  await call(endpoint, 'POST', `/runtime_modify?${pairs.join('&')}`);
}

/** Envoy takes keys of clusters that it does not have, without a word. */
export async function hasCluster(endpoint: Endpoint, name: string, signal?: AbortSignal): Promise<boolean> {
  const regex = encodeURIComponent(`^${name.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&')}$`);
  for (const resource of ['static_clusters', 'dynamic_active_clusters']) {
    const path = `/config_dump?resource=${resource}&name_regex=${regex}`;
    const text = await call(endpoint, 'GET', path, signal, [404]);
    if ((dumpSchema.safeParse(jsonOf(text)).data?.configs?.length ?? 0) > 0) return true;
  }
  return false;
}

async function call(
  { name, url }: Endpoint,
  method: 'GET' | 'POST',
  path: string,
  signal?: AbortSignal,
  also: readonly number[] = [],
): Promise<string> {
  const asked = { url: url.replace(/\/$/, '') + path, method, within: REQUEST_MS, signal };
  const { status, text } = await oneRequest(asked);
  if (status === 200 || also.includes(status)) return text;
  const [place = ''] = path.split('?');
  const message = `${method} ${place} of Envoy ${name} answered ${status}: ${text.slice(0, 200).trim()}`;
  if (/admin layer/i.test(text))
    throw new FinalError(`${message}. Expected an \`admin_layer\` in its \`layered_runtime\``, { type: 'Invalid' });
  if (status === 401 || status === 403) throw new FinalError(message, { type: 'Forbidden' });
  if (status >= 500 || status === 429) throw new UnavailableError(message);
  throw new FinalError(message, { type: 'Invalid' });
}

const noEnvoy = ({ name, url }: Endpoint, what: string): FinalError =>
  new FinalError(`${name} (${url}) is no admin endpoint of Envoy: ${what}`, { type: 'Invalid' });

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // another server's page; the caller says what is expected
  }
}
