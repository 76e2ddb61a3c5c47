import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';

const FIXTURES = join(import.meta.dirname, '..', 'gateway', 'fixtures');
const fixture = (name: string) => readFileSync(join(FIXTURES, name));

/** The parts of an admission.k8s.io/v1 AdmissionRequest at which tests look. */
export interface Write {
  uid: string;
  namespace: string;
  name: string;
  subResource?: string;
  object?: { metadata?: { labels?: Record<string, string> } };
}

/**
 * The API server asks it before it carries out what one user wants to change of pods. It admits all, but a test can act
 * at that very moment: the write has been sent and cannot be called back, and it has not been answered.
 */
export class Gatekeeper {
  asked = 0;
  #armed: { is: (write: Write) => boolean; act: () => void } | undefined;
  readonly #server: Server;

  constructor() {
    this.#server = createServer({ cert: fixture('cert.pem'), key: fixture('key.pem') }, (request, response) => {
      json(request).then(
        (review) => response.setHeader('content-type', 'application/json').end(this.#admit(review as Review)),
        () => response.destroy(),
      );
    });
  }

  async listen(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  async close(): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, 'close');
  }

  /** Acts at the next such write, once. */
  at(is: (write: Write) => boolean, act: () => void): void {
    this.#armed = { is, act };
  }

  /** What tells the API server to ask. */
  configuration(user: string) {
    return {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'ValidatingWebhookConfiguration',
      metadata: { name: 'gatekeeper' },
      webhooks: [
        {
          name: 'gatekeeper.salvor.test',
          clientConfig: {
            url: `https://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`,
            caBundle: fixture('ca.pem').toString('base64'),
          },
          rules: [
            {
              apiGroups: [''],
              apiVersions: ['v1'],
              operations: ['CREATE', 'UPDATE'],
              resources: ['pods', 'pods/status', 'pods/eviction'],
            },
          ],
          matchConditions: [{ name: 'user', expression: `request.userInfo.username == '${user}'` }],
          admissionReviewVersions: ['v1'],
          sideEffects: 'None',
          failurePolicy: 'Fail',
        },
      ],
    };
  }

  #admit({ request }: Review): string {
    this.asked += 1;
    if (this.#armed?.is(request)) {
      const { act } = this.#armed;
      this.#armed = undefined;
      act();
    }
    const response = { uid: request.uid, allowed: true };
    return JSON.stringify({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response });
  }
}

interface Review {
  request: Write;
}
