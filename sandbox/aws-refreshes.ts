import { randomUUID } from 'node:crypto';
import { Refusal } from './aws-refusal.ts';
import { xmlResult } from './aws-xml.ts';

/** The instance refreshes of the proxy before moto (aws-proxy.ts): one stays `InProgress` and does nothing. */
export class Refreshes {
  /** By group, newest first. */
  readonly #of = new Map<string, { id: string; status: string }[]>();

  start(group: string): string {
    const refreshes = this.#of.get(group) ?? [];
    if (refreshes.some(({ status }) => status === 'InProgress'))
      throw new Refusal('An Instance Refresh is already in progress', 'InstanceRefreshInProgress');
    const id = randomUUID();
    this.#of.set(group, [{ id, status: 'InProgress' }, ...refreshes]);
    return xmlResult('StartInstanceRefresh', `<InstanceRefreshId>${id}</InstanceRefreshId>`);
  }

  cancel(group: string): string {
    const running = this.#of.get(group)?.find(({ status }) => status === 'InProgress');
    if (!running) throw new Refusal('No in progress Instance Refresh found', 'ActiveInstanceRefreshNotFound');
    running.status = 'Cancelled';
    return xmlResult('CancelInstanceRefresh', `<InstanceRefreshId>${running.id}</InstanceRefreshId>`);
  }

  describe(group: string): string {
    const members = (this.#of.get(group) ?? []).map(
      ({ id, status }) =>
        `<member><InstanceRefreshId>${id}</InstanceRefreshId><AutoScalingGroupName>${group}</AutoScalingGroupName><Status>${status}</Status></member>`,
    );
    return xmlResult('DescribeInstanceRefreshes', `<InstanceRefreshes>${members.join('')}</InstanceRefreshes>`);
  }
}
