import type { Config, ConfiguredRule } from './config.ts';
import { isLoopback, parseHostAndPort } from './config-fields.ts';
import { literalSegment } from './target.ts';

/** What a person should know of a configuration that is right in itself. */
export interface ConfigNote {
  /** Which setting it is about, e.g. `rules[0].hush`. */
  setting: string;
  message: string;
}

/** What the file cannot show: that it needs something of other files or of people. For `salvor config check`. */
export function configNotes(config: Config): ConfigNote[] {
  return [...peopleNotes(config), ...drainNotes(config)];
}

function peopleNotes({ rules, gateway, temporal, alertmanager }: Config): ConfigNote[] {
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

/** Of each kind once: the first rule that it is about. */
function drainNotes({ rules }: Config): ConfigNote[] {
  const about = (is: (rule: ConfiguredRule) => boolean, setting: string, message: string): ConfigNote[] => {
    const i = rules.findIndex(is);
    return i < 0 ? [] : [{ setting: `rules[${i}].${setting}`, message }];
  };
  return [
    ...about(
      ({ rule, target }) =>
        literalSegment(target, 0) === 'asg' && rule.runbook === 'drain-instance' && rule.with.health === undefined,
      'with',
      'without health only what the group itself says of the instance is looked at: one that it calls Healthy is never touched, whatever the alert says',
    ),
    ...about(
      ({ rule }) => rule.runbook === 'drain-instance' && rule.with.health?.http !== undefined,
      'with.health.http',
      'the workers themselves ask the instance: where they cannot reach its address, every instance is sick',
    ),
    ...about(
      ({ rule }) => rule.runbook === 'drain-instance' && rule.with.node?.terminate === true,
      'with.node.terminate',
      "it ends machines, with what is on their own disks: the workers' AWS credentials must allow it for these groups, and for no others",
    ),
  ];
}
