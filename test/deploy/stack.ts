import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';

export const ROOT = join(import.meta.dirname, '..', '..');

export const readText = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

export interface Service {
  image: string;
  build?: string;
  user?: string;
  command?: string[];
  environment?: Record<string, string>;
  volumes?: string[];
  secrets?: string[];
  ports?: string[];
  tmpfs?: string[];
  restart?: string;
  read_only?: boolean;
  cap_drop?: string[];
  security_opt?: string[];
  healthcheck?: { test: string[] };
  depends_on?: Record<string, { condition: string }>;
  deploy?: { replicas: number };
}

export interface Stack {
  services: Record<string, Service>;
  secrets: Record<string, { file: string }>;
  volumes: Record<string, unknown>;
}

/** docker-compose.yml with its anchors and merge keys resolved, as the compose specification asks. */
export const readStack = (): Stack => parse(readText('docker-compose.yml'), { merge: true }) as Stack;

export function service(stack: Stack, name: string): Service {
  const found = stack.services[name];
  if (found === undefined) throw new Error(`docker-compose.yml has no service ${name}`);
  return found;
}

/** `./deploy/x:/y:ro` → source, target; a source without a leading dot is a volume. */
export function mounts({ volumes = [] }: Service): { source: string; target: string; options: string }[] {
  return volumes.map((volume) => {
    const [source = '', target = '', options = ''] = volume.split(':');
    return { source, target, options };
  });
}
