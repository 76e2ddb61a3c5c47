import { ENVOY_CLUSTER } from '../../sandbox/envoy.ts';

/**
 * What came of the calls to a dependency, by Envoy's statistics, as examples/ has it: `upstream_rq_completed` and
 * `upstream_rq_xx` count what the breaker refused too, so that is taken off.
 */
export function envoyQueries(window: string, cluster = ENVOY_CLUSTER): { calls: string; failed: string } {
  const sum = (name: string, more = '') =>
    `sum(increase(envoy_cluster_upstream_rq_${name}{envoy_cluster_name="${cluster}"${more}}[${window}]))`;
  const refused = `(${sum('active_overflow')} or vector(0)) - (${sum('pending_overflow')} or vector(0))`;
  return {
    calls: `clamp_min(${sum('completed')} - ${refused}, 0)`,
    failed: `clamp_min((${sum('xx', ',envoy_response_code_class="5"')} or vector(0)) - ${refused}, 0)`,
  };
}
