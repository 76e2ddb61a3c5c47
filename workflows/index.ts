export { remediation } from './remediation.ts';
export { responder } from './responder.ts';
