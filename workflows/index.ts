export { budget } from './budget.ts';
export { control } from './control.ts';
export { herald } from './herald.ts';
export { limits } from './limits.ts';
export { remediation } from './remediation.ts';
export { responder } from './responder.ts';
export { tick } from './tick.ts';
