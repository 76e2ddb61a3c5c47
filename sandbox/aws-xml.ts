/** What the proxy before moto (aws-proxy.ts) must read and write of the query protocol's XML. */

export interface SeenInstance {
  id: string;
  /** `InService`, `Standby`, … */
  state: string;
}

/** The text of the first element of this name; undefined where there is none. */
export const elementOf = (xml: string, name: string): string | undefined =>
  new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml)?.[1];

/** Members that hold no other members: instances are such, in whatever list they are. */
const INNERMOST = /<member>(?:(?!<member>)[\s\S])*?<\/member>/g;

export function instancesIn(xml: string): SeenInstance[] {
  return [...xml.matchAll(INNERMOST)].flatMap(([member]) => {
    const [id, state] = [elementOf(member, 'InstanceId'), elementOf(member, 'LifecycleState')];
    return id === undefined || state === undefined ? [] : [{ id, state }];
  });
}

/** @param stateOf an instance by its id; undefined where it is as it is told */
export function withStates(xml: string, stateOf: (id: string) => string | undefined): string {
  return xml.replace(INNERMOST, (member) => {
    const state = stateOf(elementOf(member, 'InstanceId') ?? '');
    if (state === undefined) return member;
    return member.replace(/<LifecycleState>[^<]*</, `<LifecycleState>${state}<`);
  });
}

const NAMESPACE = 'xmlns="http://autoscaling.amazonaws.com/doc/2011-01-01/"';

export const xmlResult = (action: string, result: string): string =>
  `<${action}Response ${NAMESPACE}><${action}Result>${result}</${action}Result><ResponseMetadata><RequestId>${crypto.randomUUID()}</RequestId></ResponseMetadata></${action}Response>`;

export const xmlError = ({ code, message }: { code: string; message: string }): string =>
  `<ErrorResponse ${NAMESPACE}><Error><Type>Sender</Type><Code>${code}</Code><Message>${escaped(message)}</Message></Error><RequestId>${crypto.randomUUID()}</RequestId></ErrorResponse>`;

/** EC2 has it in another form than the others. */
export const ec2Error = ({ code, message }: { code: string; message: string }): string =>
  `<Response><Errors><Error><Code>${code}</Code><Message>${escaped(message)}</Message></Error></Errors><RequestID>${crypto.randomUUID()}</RequestID></Response>`;

const escaped = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
