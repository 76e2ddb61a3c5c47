import { onTestFinished } from 'vitest';
import type { CutRequest, Owner, ReplaceRequest } from '../../model/ports/instance.ts';
import { type DrainInstanceOptions, NODE_OPTIONS, type NodeOptions } from '../../model/rule.ts';
import { overtakenLeftOut } from '../support/audit.ts';
import { Pool } from '../support/nodes.ts';
import { actor, type Bench, inMs, OPTIONS, type Sick } from './instance-support.ts';

/** Options of a rule for nodes. */
export const nodeOptions = (node: Partial<NodeOptions> = {}, more: Partial<DrainInstanceOptions> = {}) => ({
  ...OPTIONS,
  ...more,
  node: { ...NODE_OPTIONS, ...node },
});

/** Nodes and a namespace for one test. */
export async function poolOf(
  bench: Bench,
  ...made: Parameters<typeof Pool.make> extends [unknown, ...infer R] ? R : never
) {
  const pool = await Pool.make(bench.cluster, ...made);
  onTestFinished(() => pool.stop());
  return pool;
}

/** Assesses a node of the pool. */
export const assess = (bench: Bench, pool: Pool, options = nodeOptions(), remediation?: string, uid?: string) =>
  bench.run('assess', { target: pool.key(), options, actor: actor(remediation), uid }).result;

/** Assesses a node that is expected to be sick, and makes of it what the workflow hands to the later steps. */
export async function sick(bench: Bench, pool: Pool, options = nodeOptions(), remediation?: string) {
  const found = await assess(bench, pool, options, remediation);
  if (found.verdict !== 'sick') throw new Error(`not sick but ${found.verdict}: ${found.why}`);
  const who = actor(remediation);
  const held = found.held.map((field) => ({ ...field, object: found.instance, ...who, until: inMs(600_000) }));
  const request: CutRequest = { step: 'cut', actor: who, instance: found.instance, held, options };
  return { found: found satisfies Sick, request };
}

/** Cordons a sick node, and makes the request for its drain. */
export async function cordoned(bench: Bench, pool: Pool, options = nodeOptions()) {
  const { found, request } = await sick(bench, pool, options);
  await bench.run('cut', request).result;
  const owner: Owner = found.owner;
  const replace: ReplaceRequest = {
    ...{ step: 'replace', actor: request.actor, instance: request.instance, held: request.held, owner, options },
    ...{ notBefore: inMs(0), deadline: inMs(600_000) },
  };
  return { found, request, replace };
}

/**
 * What Salvor changed of a node, or tried to. What is refused for the version that was read (409) is made again by the next
 * version: the node's own status changes at any time.
 */
export const mutations = async (bench: Bench, name: string) =>
  overtakenLeftOut(await bench.sandbox.kubernetes.readAudit({ user: 'salvor', resource: 'nodes', name }));
