/** Labels or annotations of an alert: a record, best without a prototype. */
export type Labels = Readonly<Record<string, string>>;

/** The value of a label; a label that is missing is the same as an empty one, as everywhere in Prometheus. */
export const labelValue = (labels: Labels, name: string): string =>
  Object.hasOwn(labels, name) ? (labels[name] ?? '') : '';
