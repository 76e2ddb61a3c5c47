/** What the controller remembers from one look to the next: plain JSON. */
export interface ScalingState {
  version: 1;
}
