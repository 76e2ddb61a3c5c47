export interface Limits {
  min: number;
  max: number;
}
export interface Policy {
  type: 'Pods' | 'Percent';
  value: number;
  period: number;
}
export interface Direction {
  stabilization: number;
  select: 'Max' | 'Min' | 'Disabled';
  policies: Policy[];
  tolerance?: number;
}
export interface Behavior {
  scaleUp: Direction;
  scaleDown: Direction;
}
export const DEFAULT_BEHAVIOR: Behavior = {
  scaleUp: { stabilization: 0, select: 'Max', policies: [] },
  scaleDown: { stabilization: 300_000, select: 'Max', policies: [] },
};
