import type { Config } from './config.ts';
import { isLoopback, parseHostAndPort } from './config-fields.ts';

/** What a person should know of a configuration that is right in itself. */
export interface ConfigNote {
  /** Which setting it is about, e.g. `rules[0].hush`. */
  setting: string;
  message: string;
}

/** What the file cannot show: that it needs something of other files or of people. For `salvor config check`. */
export function configNotes({ rules, gateway, temporal, alertmanager }: Config): ConfigNote[] {
  const notes: ConfigNote[] = [];
  const hushes = rules.findIndex(({ rule }) => rule.hush);
  if (hushes >= 0) {
    notes.push({
      setting: `rules[${hushes}].hush`,
      message:
        "hush needs the routes of examples/alertmanager.yml: Salvor first and at once, and the pager's route waiting longer than that; else a person is paged before the silence is there",
    });
  }
  const proposes = rules.findIndex(({ rule }) => rule.mode === 'propose');
  if (proposes < 0) return notes;
  if (gateway.people.length === 0 && !isLoopback(parseHostAndPort(temporal.address).host)) {
    notes.push({
      setting: `rules[${proposes}].mode`,
      message: 'nobody can approve what it proposes: expected gateway.people, for Temporal is not on this machine',
    });
  }
  if (!alertmanager) {
    notes.push({
      setting: `rules[${proposes}].mode`,
      message: 'nobody is told of what waits for an approval: set alertmanager.urls, or look at `salvor list`',
    });
  }
  return notes;
}
