/** Options of revert-drift (`with:`). */
export interface RevertDriftOptions {
  /** Kinds, such as `NetworkPolicy` or `aws_security_group`, whose drift is reverted at once, whatever `minAge` says. */
  urgent: string[];
  /** Kinds of Kubernetes whose objects are deleted where the source has none of them; of all others they are reported only. */
  prune: string[];
  /**
   * Kinds of Kubernetes whose missing objects are created without an approval. Of all others a person has to tell, for nothing says
   * whether an object was deleted or was never deployed.
   */
  create: string[];
  /** By name, those that the rule's target may be: they travel with the rule, for workflows read no file. */
  stacks: Record<string, Stack>;
}

/** A stack under `stacks:`, durations in milliseconds. It is the target `stack/<name>`. */
export interface Stack extends StackSource {
  /** A name as of {@link import('../target.ts').CONFIGURED_NAME}. */
  name: string;
  /**
   * What is left alone: patterns of addresses, or of `ADDRESS#FIELD`, in which `*` stands for anything. What an address is the
   * provider says, see {@link import('./difference.ts').Difference}.
   */
  ignore: string[];
  /** Drift that is younger waits. */
  minAge: number;
  /** Matchers of Alertmanager: while an alert that meets all of them fires, drift is only reported. */
  holdWhile: string[];
  /** How long a lock of the state that somebody else has is waited for. */
  lockWithin: number;
}

/** Exactly one of them. */
export interface StackSource {
  opentofu?: OpenTofuStack;
  manifests?: ManifestsStack;
  securityGroups?: SecurityGroupsStack;
}

/** Where the source is: a folder (absolute), or a Git repository, of which the worker checks out one commit. Exactly one of the two. */
export interface Source {
  folder?: string;
  git?: string;
  /** Branch, tag or commit; absent: the default branch. Of `git` only. */
  ref?: string;
  /** Folder, or file, within the repository. Of `git` only. */
  path?: string;
  /** File with the credentials of an HTTPS remote, `user:password` or a token. Of `git` only. */
  credentialsFile?: string;
}

/** A root module of OpenTofu or Terraform. */
export interface OpenTofuStack extends Source {
  /** The command: `tofu`, `terraform`, or a path. */
  command: string;
  /** `-backend-config=KEY=VALUE`. */
  backendConfig: Record<string, string>;
  /** `-backend-config=FILE`, absolute: for what is secret. */
  backendConfigFiles: string[];
  workspace?: string;
  /** `-var-file`, absolute, or relative to the module where the source is a repository. */
  varFiles: string[];
  /** File of environment variables, `NAME=value` a line: for what is secret. */
  environmentFile?: string;
}

/** Manifests of Kubernetes: all `*.yaml`, `*.yml` and `*.json` under a folder, or what kustomize makes of it. */
export interface ManifestsStack extends Source {
  /** Name of the cluster, under clusters. */
  cluster: string;
  /** Namespace of what names none; absent: such an object is refused. */
  namespace?: string;
  /** Built by kustomize (its command must be there). */
  kustomize: boolean;
}

/** Rules of security groups, declared in one YAML file (or all of a folder). */
export interface SecurityGroupsStack extends Source {
  /** Name of the account and region, under aws. */
  aws: string;
}
