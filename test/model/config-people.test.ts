import { describe, expect, it } from 'vitest';
import { configNotes } from '../../model/config-notes.ts';
import { configOf, problemsOf, RULE } from './config-support.ts';

describe('the people of the gateway', () => {
  const HASH = 'ab'.repeat(32);
  const people = (text: string) => `gateway:\n  people:\n${text}`;

  it('are known by the hashes of their tokens, and are in groups', () => {
    const { gateway } = configOf(
      people(`    - { name: ada@example.com, tokenHash: ${HASH.toUpperCase()} }
    - { name: grace, tokenHash: ${'cd'.repeat(32)}, groups: [sre, dba] }
`),
    );
    expect(gateway.people).toEqual([
      { name: 'ada@example.com', tokenHash: HASH, groups: [] },
      { name: 'grace', tokenHash: 'cd'.repeat(32), groups: ['sre', 'dba'] },
    ]);
  });

  const WANTED = 'expected the SHA-256 of the token in hex: printf %s TOKEN | sha256sum';
  it.each([
    ['a token', `    - { name: ada, tokenHash: s3cret }`, [`3:31 gateway.people[0].tokenHash: ${WANTED}`]],
    ['a token of digits', `    - { name: ada, tokenHash: 123456 }`, [`3:31 gateway.people[0].tokenHash: ${WANTED}`]],
    ['no hash', `    - { name: ada }`, [`3:7 gateway.people[0].tokenHash: ${WANTED}`]],
    [
      'the hash of nothing',
      `    - { name: ada, tokenHash: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 }`,
      [`3:31 gateway.people[0].tokenHash: ${WANTED} (this is that of no token at all)`],
    ],
    [
      'one name for two',
      `    - { name: ada, tokenHash: ${HASH} }\n    - { name: ada, tokenHash: ${'cd'.repeat(32)} }`,
      ['4:15 gateway.people[1].name: ada is the name of gateway.people[0] already: expected another one'],
    ],
    [
      'one token for two',
      `    - { name: ada, tokenHash: ${HASH} }\n    - { name: grace, tokenHash: ${HASH} }`,
      [
        '4:33 gateway.people[1].tokenHash: this is the token of gateway.people[0] already: expected one of his own for each person',
      ],
    ],
    [
      'a name that could be a group',
      `    - { name: 'group:sre', tokenHash: ${HASH} }`,
      [expect.stringMatching(/^3:15 gateway\.people\[0\]\.name: expected a name of letters, digits/)],
    ],
  ])('%s is refused, and never shown', (_, text, expected) => {
    const problems = problemsOf(people(text));
    expect(problems).toEqual(expected);
    expect(problems.join()).not.toMatch(/s3cret|123456/);
  });

  it('are no authentication of webhooks', () => {
    const listens = `gateway:\n  listen: 0.0.0.0:9095\n  people: [{ name: ada, tokenHash: ${HASH} }]\n`;
    expect(problemsOf(listens)).toEqual([
      expect.stringMatching(/^2:11 gateway\.listen: expected bearerTokenFile, bearerTokenEnv or basicAuth beside it/),
    ]);
    expect(problemsOf(`${listens}  bearerTokenFile: ./token\n`)).toEqual([]);
  });

  const KNOWN = people(`    - { name: ada, tokenHash: ${HASH}, groups: [sre] }\n`);
  it('may approve what the rule says that they may', () => {
    const [rule] = configOf(`${KNOWN}${RULE}    mode: propose
    approvers: [ada, 'group:sre']
    approveWithin: 4h
`).rules;
    expect(rule?.rule).toMatchObject({ mode: 'propose', approvers: ['ada', 'group:sre'], approveWithin: 14_400_000 });
    expect(configOf(`${KNOWN}${RULE}    mode: propose\n`).rules[0]?.rule.approvers).toEqual([]);
  });

  it('that nobody knows cannot approve', () => {
    const approvers = (text: string) => problemsOf(`${KNOWN}${RULE}    approvers: ${text}\n`);
    expect(approvers('[ada, bob]')).toEqual([
      '11:22 rules[0].approvers[1]: "bob" is not in gateway.people: those known are ada, group:sre',
    ]);
    expect(approvers("['group:sr']")).toEqual([
      '11:17 rules[0].approvers[0]: "group:sr" is not in gateway.people: did you mean group:sre?',
    ]);
    expect(approvers("['sre team']")).toEqual([
      '11:17 rules[0].approvers[0]: expected the name of a person of gateway.people, or group:NAME, got "sre team"',
    ]);
    // Whose name is at fault may be the one that is meant.
    expect(problemsOf(`${KNOWN.replace('name: ada', "name: 'a da'")}${RULE}    approvers: [ada]\n`)).toEqual([
      expect.stringMatching(/^3:15 gateway\.people\[0\]\.name: expected a name/),
    ]);
  });
});

describe('an Alertmanager', () => {
  const ALERTMANAGER = `alertmanager: { urls: ['http://localhost:9093'] }`;

  it('is told of failures, where there is one and the rule does not say otherwise', () => {
    const escalates = (text: string) => configOf(text).rules[0]?.rule.onFailure.escalate;
    expect(escalates(RULE)).toBe(false);
    expect(escalates(ALERTMANAGER + RULE)).toBe(true);
    expect(escalates(`${ALERTMANAGER}${RULE}    onFailure: { escalate: false }\n`)).toBe(false);
    expect(escalates(`${ALERTMANAGER}${RULE}    onFailure: {}\n`)).toBe(true);
  });

  it('has alerts silenced only where the rule says so', () => {
    expect(configOf(ALERTMANAGER + RULE).rules[0]?.rule.hush).toBe(false);
    expect(configOf(`${ALERTMANAGER}${RULE}    hush: true\n`).rules[0]?.rule.hush).toBe(true);
  });

  it('that is written wrongly is one fault, not three', () => {
    expect(problemsOf(`alertmanager: { urls: [] }${RULE}    hush: true\n    onFailure: { escalate: true }\n`)).toEqual([
      '1:23 alertmanager.urls: the list is empty: expected at least one item',
    ]);
  });
});

it('the limits over all rules are in each of them', () => {
  const { limits, rules } = configOf(`limits: { maxInFlight: 20, maxActsPerHour: 60, storm: { targets: 30 } }${RULE}`);
  expect(limits).toEqual({ maxInFlight: 20, maxActsPerHour: 60, storm: { targets: 30, within: 300_000 } });
  expect(rules[0]?.rule.limits).toEqual(limits);
  expect(configOf(`limits: {}${RULE}`)).not.toHaveProperty('limits');
  expect(configOf(RULE).rules[0]?.rule).not.toHaveProperty('limits');
});

describe('what a configuration that is right needs of others', () => {
  const notesOf = (text: string) => configNotes(configOf(text)).map(({ setting, message }) => `${setting}: ${message}`);
  const ALERTMANAGER = `alertmanager: { urls: ['http://localhost:9093'] }`;
  const PERSON = `gateway: { people: [{ name: ada, tokenHash: ${'ab'.repeat(32)} }] }`;
  const rule = (name: string, line: string) =>
    `${RULE.slice(RULE.indexOf('  - name')).replace('pod-unready', name)}    ${line}\n`;

  it('is nothing, where nothing is proposed or hushed', () => {
    expect(notesOf('')).toEqual([]);
    expect(notesOf(`${ALERTMANAGER}${RULE}    mode: act\n`)).toEqual([]);
  });

  it('for hush are the routes of Alertmanager, said once', () => {
    expect(notesOf(`${ALERTMANAGER}${RULE}${rule('b', 'hush: true')}${rule('c', 'hush: true')}`)).toEqual([
      expect.stringMatching(/^rules\[1\]\.hush: hush needs the routes of examples\/alertmanager\.yml: /),
    ]);
  });

  it('for a proposal is somebody who hears of it, and who may approve it', () => {
    const far = 'temporal: { address: temporal.example.com:7233 }\n';
    expect(notesOf(`${RULE}    mode: propose\n`)).toEqual([
      expect.stringMatching(/^rules\[0\]\.mode: nobody is told of what waits/),
    ]);
    expect(notesOf(`${far}${ALERTMANAGER}${RULE}    mode: propose\n`)).toEqual([
      expect.stringMatching(/^rules\[0\]\.mode: nobody can approve what it proposes: expected gateway\.people/),
    ]);
    expect(notesOf(`${far}${PERSON}\n${ALERTMANAGER}${RULE}    mode: propose\n`)).toEqual([]);
  });
});
