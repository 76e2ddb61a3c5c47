/**
 * The time of day in milliseconds with fractions, to be compared with the microseconds of the API server's audit log.
 * `performance.timeOrigin` is set once and drifts from the system's clock, so it is read off anew: it is what the clock
 * says at the moment at which it moves on to the next millisecond.
 */
let origin = calibrated();

export const now = (): number => origin + performance.now();

/** To be called before each block of measurements; takes a millisecond. */
export function calibrate(): void {
  origin = calibrated();
}

function calibrated(): number {
  const before = Date.now();
  for (;;) {
    const moment = Date.now();
    if (moment !== before) return moment - performance.now();
  }
}

/** Time of an audit event in milliseconds with fractions: `Date` cuts off the microseconds. */
export const timeOf = (iso: string): number => {
  const [, fraction = '0'] = /\.(\d+)Z$/.exec(iso) ?? [];
  return Math.floor(Date.parse(iso) / 1000) * 1000 + Number(`0.${fraction}`) * 1000;
};
