import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CATALOGUE, type ComponentName } from './catalogue.ts';
import { findComponent } from './components.ts';
import type { OnProgress } from './progress.ts';

/** The providers that there are, by their names: `source` is what `required_providers` has of each. */
const SOURCES = {
  kubectl: 'gavinbunney/kubectl',
  local: 'hashicorp/local',
} as const;
export type TofuProvider = keyof typeof SOURCES;

/** Where a source without a host is looked for. */
const HOST = 'registry.opentofu.org';

export interface OpenTofuOptions {
  /** Folder for the mirror and the configuration; made where it is not there. */
  folder: string;
  /** Default: all of them. */
  providers?: readonly TofuProvider[];
  onProgress?: OnProgress;
}

/** OpenTofu with providers from this machine alone: `tofu init` needs no network. No process runs. */
export interface OpenTofu {
  readonly executable: string;
  /** The command-line configuration, for `TF_CLI_CONFIG_FILE`. */
  readonly configFile: string;
  /** What whoever runs it sets beside the environment that there is. */
  readonly env: Readonly<Record<string, string>>;
}

/** @throws MissingComponentError */
export async function prepareOpenTofu(options: OpenTofuOptions): Promise<OpenTofu> {
  const { folder, providers = Object.keys(SOURCES) as TofuProvider[], onProgress } = options;
  const executable = await findComponent('opentofu', { onProgress });
  const mirror = join(folder, 'providers');
  await rm(mirror, { recursive: true, force: true });
  await mkdir(mirror, { recursive: true });
  for (const provider of providers) await mirrored(provider, mirror, onProgress);
  const configFile = join(folder, 'tofu.rc');
  await writeFile(configFile, configuration(mirror));
  return {
    executable,
    configFile,
    env: { TF_CLI_CONFIG_FILE: configFile, TF_IN_AUTOMATION: '1', TF_INPUT: '0' },
  };
}

/** Text of the block `terraform` that asks for these providers, in the versions that there are. */
export function requiredProviders(...providers: readonly TofuProvider[]): string {
  const each = providers.map(
    (name) => `    ${name} = { source = "${SOURCES[name]}", version = "${CATALOGUE[componentOf(name)].version}" }\n`,
  );
  return `terraform {\n  required_providers {\n${each.join('')}  }\n}\n`;
}

const componentOf = (provider: TofuProvider): ComponentName => `terraform-provider-${provider}`;

/** Puts a provider where OpenTofu's unpacked layout has it. */
async function mirrored(provider: TofuProvider, mirror: string, onProgress: OnProgress | undefined): Promise<void> {
  const component = componentOf(provider);
  const { version } = CATALOGUE[component];
  const platform = `${process.platform}_${process.arch === 'x64' ? 'amd64' : process.arch}`;
  const place = join(mirror, HOST, SOURCES[provider], version, platform);
  await mkdir(place, { recursive: true });
  await symlink(await findComponent(component, { onProgress }), join(place, `${component}_v${version}`));
}

/** Without a `direct` block nothing is asked of a registry. */
const configuration = (mirror: string): string => `disable_checkpoint = true
provider_installation {
  filesystem_mirror {
    path = ${JSON.stringify(mirror)}
  }
}
`;
