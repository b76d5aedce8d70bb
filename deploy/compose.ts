/** Owns reading docker-compose.yml: the one description of the cluster, with the environment put in as Compose does. */

import { readFileSync } from 'node:fs';
import { parse } from 'yaml';

/** What of a service matters to whoever runs it in another way. */
export interface Service {
  readonly name: string;
  readonly image: string;
  /** What runs instead of the image's own program; empty where it does. */
  readonly entrypoint: readonly string[];
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** Ports that it listens on. */
  readonly ports: readonly number[];
  /** Those of them that the outside reaches. */
  readonly published: readonly number[];
  /** What it finds at which path: `./file` or `./folder` of the checkout, or a volume by its name. */
  readonly mounts: readonly { readonly source: string; readonly target: string }[];
}

interface ComposeService {
  readonly image?: string;
  readonly entrypoint?: readonly string[];
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly expose?: readonly string[];
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
}

/**
 * Replaces `${NAME}`, `${NAME:-default}` and `${NAME:?message}` by `variables`, and `$$` by a dollar. Throws where one is missing
 * or empty that must be there.
 */
export function interpolate(text: string, variables: Readonly<Record<string, string | undefined>>): string {
  const pattern = /\$\$|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::([-?])([^}]*))?\}/g;
  return text.replace(pattern, (match, name?: string, sign?: string, rest = '') => {
    if (match === '$$' || name === undefined) return '$';
    const value = variables[name] ?? '';
    if (value !== '' || sign === undefined) return value;
    if (sign === '?') throw new Error(`the environment has no ${name}: ${rest}`);
    return rest;
  });
}

/** Names of the variables that the file insists on. */
export function requiredVariables(path: string): readonly string[] {
  const found = readFileSync(path, 'utf8').matchAll(/\$\{([A-Za-z_][A-Za-z0-9_]*):\?/g);
  return [...new Set([...found].map((match) => match[1] ?? ''))].sort();
}

/** The services of a file, in its order. Throws where a variable is missing. */
export function readServices(
  path: string,
  variables: Readonly<Record<string, string | undefined>>,
): readonly Service[] {
  const file = parse(readFileSync(path, 'utf8'), { merge: true }) as {
    readonly services: Readonly<Record<string, ComposeService>>;
  };
  const put = (text: string): string => interpolate(String(text), variables);
  return Object.entries(file.services).map(([name, service]) => ({
    name,
    image: service.image ?? '',
    entrypoint: (service.entrypoint ?? []).map(put),
    command: (service.command ?? []).map(put),
    environment: Object.fromEntries(Object.entries(service.environment ?? {}).map(([key, value]) => [key, put(value)])),
    ports: (service.expose ?? []).map(Number),
    published: (service.ports ?? []).map((port) => Number(port.split(':').at(-2))),
    mounts: (service.volumes ?? []).map((volume) => {
      const [source = '', target = ''] = volume.split(':');
      return { source, target };
    }),
  }));
}
