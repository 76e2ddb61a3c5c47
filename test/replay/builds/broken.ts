import type { RemediationInput } from '../../../model/remediation.ts';

export { responder } from '../../../workflows/responder.ts';

export async function remediation(input: RemediationInput): Promise<string> {
  return nameOfThird(input.rule.name.split(' '));
}

const nameOfThird = (words: string[]): string => (words[2] as string).toUpperCase();
