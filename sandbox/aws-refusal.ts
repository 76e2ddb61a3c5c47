/** That the proxy before moto (aws-proxy.ts) refuses a request, as AWS does. */
export class Refusal extends Error {
  readonly code: string;
  readonly status: number;
  readonly date: Date | undefined;

  constructor(
    message: string,
    code = 'ValidationError',
    { status = 400, date }: { status?: number | undefined; date?: Date | undefined } = {},
  ) {
    super(message);
    this.code = code;
    this.status = status;
    this.date = date;
  }
}
