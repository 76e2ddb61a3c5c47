/** An alert of Salvor's own. It is posted with an explicit end, and again while it is open. */
export interface OwnAlert {
  /** Names it: raising it again replaces it. The label `salvor_id`. */
  id: string;
  alertname: 'SalvorEscalation' | 'SalvorApproval';
  /** Without `alertname` and `salvor_id`: those of the original alert, whose name becomes `alert`. */
  labels: Record<string, string>;
  annotations: Record<string, string>;
  /** Whose page in Temporal's UI it links to, where the address of the UI is configured. */
  run: { workflowId: string; runId: string };
  /** ISO time. */
  startsAt: string;
  /** Of an escalation about a target: it is over when the target is healthy, or gone. */
  target?: string;
  /** ISO time at which it ends by itself. */
  until?: string;
}

/** One that is over, of which not every Alertmanager may have heard; of its annotations only the summary. */
export interface EndedAlert extends OwnAlert {
  /** ISO time. */
  endedAt: string;
}

/** Signal `herald` of the workflow `salvor/herald`: first ends what is to be cleared, then raises. */
export interface HeraldOrder {
  raise?: OwnAlert[];
  /** IDs. */
  clear?: string[];
}

/** Input of `salvor/herald`, carried over continue-as-new. */
export interface HeraldInput {
  open?: OwnAlert[];
  ended?: EndedAlert[];
}

export interface HeraldActivities {
  /** Signals `salvor/herald`, starting it where it does not run. Short; used as a local activity too. */
  herald(order: HeraldOrder): Promise<void>;
  /**
   * On the watch queue, heartbeating: posts every alert to every Alertmanager at once, and the open ones again each minute;
   * looks at their targets. Resolves when something is over, when nothing is open and all ends are posted, or, about a
   * second after it was asked to, when it is cancelled: then it is begun anew with another list.
   */
  proclaim(request: { open: OwnAlert[]; ended: EndedAlert[] }): Promise<Proclaimed>;
}

export interface Proclaimed {
  /** IDs of open alerts that are over. */
  over: string[];
  /** Positions in `ended` of those whose end needs no more posting. */
  posted: number[];
}

/** Silences the original alert while Salvor works on it. */
export interface HushRequest {
  /**
   * Of the original alert, as on record. The silence matches each label of the alert exactly, and `salvor_id=""`: where they
   * are missing, redacted or cut, the alert is looked for in Alertmanager, which has them as they are.
   */
  labels?: Record<string, string>;
  alertname: string;
  /** Alertmanager's, of the original alert: by it is told whether `labels` are all of it. */
  fingerprint: string;
  /** For people, in the silence's comment. */
  target: string;
  rule: string;
  remediation: string;
  /** Told when the alert is resolved meanwhile, which Alertmanager does not say of a silenced one: a resolved request. */
  tell?: { responder: string; batch: import('./request.ts').Batch };
}

export interface HushActivities {
  /**
   * On the watch queue, heartbeating, beside the runbook: keeps a silence whose end is never more than a minute away; when
   * it is cancelled the silence is ended. Resolves only where it leaves the alert alone, with why, for people: Alertmanager
   * is not configured, the labels of the alert cannot be found out, it refuses the silence, or a person has ended it.
   */
  hush(request: HushRequest): Promise<string>;
}
