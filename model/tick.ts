import type { Batch, Request } from './request.ts';

/** What a schedule hands over each time, made when the configuration was read: it is all but the time itself. */
export interface TickInput {
  batch: Omit<Batch, 'delivery' | 'requests'>;
  request: Omit<Request, 'startsAt' | 'status'>;
}

/** What stands in place of an alert's name. */
export const TICK_NAME = 'Schedule';

/** Of whoever asks: the schedule of a rule. */
const BY_SCHEDULE = 'schedule:';
export const bySchedule = (rule: string): string => `${BY_SCHEDULE}${rule}`;
export const isTick = ({ by }: Partial<Pick<Request, 'by'>>): boolean => by?.startsWith(BY_SCHEDULE) ?? false;

/** The times are all alike but for when they come: what one is about, the next one is about too. */
export function batchOf({ batch, request }: TickInput, at: Date, delivery: string): Batch {
  return { ...batch, delivery, requests: [{ ...request, startsAt: at.toISOString(), status: 'firing' }] };
}
