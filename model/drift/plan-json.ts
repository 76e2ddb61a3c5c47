import { z } from 'zod';
import { InputError } from '../input-error.ts';

/** What is read of `tofu show -json PLAN`; all else is let pass. */

const change = z.object({
  actions: z.array(z.string()),
  before: z.unknown().optional(),
  after: z.unknown().optional(),
  after_unknown: z.unknown().optional(),
  before_sensitive: z.unknown().optional(),
  after_sensitive: z.unknown().optional(),
  replace_paths: z.unknown().optional(),
  importing: z.unknown().optional(),
});

const resource = z.object({
  address: z.string(),
  previous_address: z.string().optional(),
  module_address: z.string().optional(),
  mode: z.string(),
  type: z.string(),
  name: z.string(),
  provider_name: z.string().optional(),
  deposed: z.string().optional(),
  change,
});

const planSchema = z.object({
  format_version: z.string(),
  resource_drift: z.array(resource).prefault([]),
  resource_changes: z.array(resource).prefault([]),
  output_changes: z.record(z.string(), change).prefault({}),
  prior_state: z.object({ values: z.unknown().optional() }).optional(),
  configuration: z.object({ root_module: z.unknown().optional() }).optional(),
  errored: z.boolean().optional(),
});

export type ResourceChange = z.output<typeof resource>;
export type PlanJson = z.output<typeof planSchema>;

/**
 * Reads the JSON of a plan.
 * @throws InputError where it is of a format that is not known, or an incomplete plan
 */
export function parsePlan(text: string): PlanJson {
  const parsed = planSchema.safeParse(json(text));
  if (!parsed.success) {
    const where = parsed.error.issues[0]?.path.join('.') ?? '';
    throw new InputError(`the JSON of the plan is not as expected${where === '' ? '' : `, at ${where}`}`);
  }
  const { format_version: version, errored } = parsed.data;
  // A new minor version only adds; a new major one may mean something else by the same name.
  if (!version.startsWith('1.')) throw new InputError(`the JSON of the plan has format ${version}, expected 1.x`);
  if (errored === true) throw new InputError('the plan is not complete: it ended with an error');
  return parsed.data;
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The error itself shows a piece of the text, which may be a secret.
    // biome-ignore lint/style/useErrorCause: for that
    throw new InputError('the plan is not JSON');
  }
}

export type Json = Record<string, unknown>;
export const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
