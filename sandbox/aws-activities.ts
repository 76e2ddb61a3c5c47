import { randomUUID } from 'node:crypto';

/** What the proxy before moto (aws-proxy.ts) tells of why the size of a group was changed, in the words of AWS. */
export class ActivityLog {
  /** By group, newest first. */
  readonly #of = new Map<string, string[]>();

  add(group: string, cause: string, [from, to]: [number, number]): void {
    if (from === to) return;
    const at = new Date().toISOString();
    const text = `At ${at} ${cause} changing the desired capacity from ${from} to ${to}.  At ${at} an instance was started in response to a difference between desired and actual capacity, increasing the capacity from ${from} to ${to}.`;
    const activity = `<member><ActivityId>${randomUUID()}</ActivityId><AutoScalingGroupName>${group}</AutoScalingGroupName><Cause>${text}</Cause><StartTime>${at}</StartTime><StatusCode>InProgress</StatusCode></member>`;
    this.#of.set(group, [activity, ...(this.#of.get(group) ?? [])]);
  }

  /** The result of DescribeScalingActivities. */
  of(group: string): string {
    return `<Activities>${(this.#of.get(group) ?? []).join('')}</Activities>`;
  }
}
