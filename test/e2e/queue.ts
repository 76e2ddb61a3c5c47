import { AppsV1Api, KubeConfig } from '@kubernetes/client-node';

/** Milliseconds between two steps of the queue, and between two looks at who works on it. */
const STEP = 100;
const LOOK = 500;

export interface QueueOptions {
  namespace: string;
  /** The Deployment whose ready pods work on it; it has its name. */
  name: string;
  /** Items a second that one pod serves. */
  perPod: number;
  kubeconfig: string;
}

/**
 * A queue that is worked on by the pods of a Deployment: as many items a second as of them are ready. It tells of itself by
 * metrics, as its exporter would.
 */
export class Queue {
  /** Items a second that come. */
  arrivalRate = 0;
  waiting = 0;
  /** The most that have ever waited. */
  worst = 0;
  ready = 0;
  /** Set while its workers do nothing, however many there are. */
  stuck = false;
  readonly #options: QueueOptions;
  readonly #apps: AppsV1Api;
  readonly #timers: NodeJS.Timeout[];
  #arrived = 0;
  #served = 0;
  #last = Date.now();

  constructor(options: QueueOptions) {
    this.#options = options;
    const kubeconfig = new KubeConfig();
    kubeconfig.loadFromFile(options.kubeconfig);
    this.#apps = kubeconfig.makeApiClient(AppsV1Api);
    this.#timers = [setInterval(() => this.#step(), STEP), setInterval(() => void this.#look(), LOOK)];
  }

  stop(): void {
    for (const timer of this.#timers) clearInterval(timer);
  }

  /** As Prometheus scrapes it. */
  metrics(): string[] {
    const { namespace, name } = this.#options;
    const labels = `{namespace="${namespace}",queue="${name}"}`;
    return [
      `queue_length${labels} ${this.waiting}`,
      `queue_arrivals_total${labels} ${this.#arrived}`,
      `queue_served_total${labels} ${this.#served}`,
    ];
  }

  #step(): void {
    const now = Date.now();
    const seconds = (now - this.#last) / 1_000;
    this.#last = now;
    const arrived = this.arrivalRate * seconds;
    this.#arrived += arrived;
    this.waiting += arrived;
    const served = this.stuck ? 0 : Math.min(this.waiting, this.ready * this.#options.perPod * seconds);
    this.waiting -= served;
    this.#served += served;
    this.worst = Math.max(this.worst, this.waiting);
  }

  async #look(): Promise<void> {
    const { namespace, name } = this.#options;
    try {
      const { status } = await this.#apps.readNamespacedDeployment({ namespace, name });
      this.ready = status?.readyReplicas ?? 0;
    } catch {
      // The API server is busy: as many work on it as before.
    }
  }
}
