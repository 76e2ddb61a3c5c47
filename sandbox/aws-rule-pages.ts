/** Of the proxy before moto (aws-proxy.ts): DescribeSecurityGroupRules in pages, which moto has all in one. Rules with tags are not its. */
export class RulePages {
  #size = Number.POSITIVE_INFINITY;

  size(most: number): void {
    this.#size = most;
  }

  /** @param token where the page begins, as the one before it said */
  paged(body: string, token: string | undefined): string {
    const set = /<securityGroupRuleSet>([\s\S]*)<\/securityGroupRuleSet>/.exec(body)?.[1];
    if (set === undefined || this.#size === Number.POSITIVE_INFINITY) return body;
    const from = Number(token ?? 0);
    const items = set.split('</item>').slice(0, -1);
    const page = items.slice(from, from + this.#size).map((item) => `${item}</item>`);
    const next = from + this.#size < items.length ? `<nextToken>${from + this.#size}</nextToken>` : '';
    return body.replace(set, () => page.join('')).replace('</securityGroupRuleSet>', (end) => `${end}${next}`);
  }
}
