import type { GroupScene } from './scene.ts';

/**
 * Who set the desired capacity to what it is, as far as the group's own scaling activities tell: a scaling policy or a scheduled
 * action by name. A request by a person and one by a program look the same there, as does Salvor's own.
 */
export async function whoSet({ account, group: name }: GroupScene): Promise<string | undefined> {
  const group = await account.group(name);
  if (!group) return undefined;
  const to = `to ${group.desired}`;
  // "At <time> a monitor alarm <alarm> in state ALARM triggered policy <policy> changing the desired capacity from 2 to 4."
  const sentence = (await account.causes(name))
    .flatMap((cause) => cause.split(/\.\s+(?=At )/))
    .find((part) => part.includes('changing the desired capacity') && part.replace(/\.\s*$/, '').endsWith(to));
  if (sentence === undefined) return undefined;
  const policy = /triggered policy (.+?) changing the desired/.exec(sentence)?.[1];
  if (policy !== undefined) return `the scaling policy ${policy}`;
  if (/scheduled action/.test(sentence)) return 'a scheduled action';
  return 'a request to AWS (CloudTrail tells by whom)';
}
