/** Owns who a peer is and what it may ask for: `DicomAlwaysAllow…`, the modalities and their `Allow…`, and the checks of title and address. */

import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { Config } from '../config.ts';
import type { Modalities, Modality } from '../scu/modality.ts';
import type { Peer, Permission } from './service.ts';

export type PeerOptions = Pick<
  Config,
  | 'DicomAlwaysAllowEcho'
  | 'DicomAlwaysAllowStore'
  | 'DicomAlwaysAllowFind'
  | 'DicomAlwaysAllowFindWorklist'
  | 'DicomAlwaysAllowGet'
  | 'DicomAlwaysAllowMove'
  | 'DicomCheckModalityHost'
  | 'StrictAetComparison'
>;

/** Each permission: whether anybody has it, and whether a modality has. */
const PERMISSIONS: Readonly<
  Record<Permission, { always(options: PeerOptions): boolean; of(modality: Modality): boolean }>
> = {
  echo: { always: (options) => options.DicomAlwaysAllowEcho, of: (modality) => modality.allowEcho },
  store: { always: (options) => options.DicomAlwaysAllowStore, of: (modality) => modality.allowStore },
  find: { always: (options) => options.DicomAlwaysAllowFind, of: (modality) => modality.allowFind },
  'find-worklist': {
    always: (options) => options.DicomAlwaysAllowFindWorklist,
    of: (modality) => modality.allowFindWorklist,
  },
  get: { always: (options) => options.DicomAlwaysAllowGet, of: (modality) => modality.allowGet },
  move: { always: (options) => options.DicomAlwaysAllowMove, of: (modality) => modality.allowMove },
  'n-action': { always: () => false, of: (modality) => modality.allowNAction },
  'n-event-report': { always: () => false, of: (modality) => modality.allowNEventReport },
};

/** Whether two AE titles are the same; their case matters by `StrictAetComparison` only. */
export function isSameAet(a: string, b: string, options: Pick<Config, 'StrictAetComparison'>): boolean {
  return options.StrictAetComparison ? a === b : a.toUpperCase() === b.toUpperCase();
}

/** The peer that calls from an address, or undefined for one that may do nothing at all. */
export async function recognize(
  who: Pick<Peer, 'callingAet' | 'calledAet' | 'remoteIp'>,
  known: Pick<Modalities, 'list'>,
  options: PeerOptions,
): Promise<Peer | undefined> {
  const modalities: Modality[] = [];
  for (const modality of await known.list()) {
    if (!isSameAet(modality.aet, who.callingAet, options)) continue;
    if (options.DicomCheckModalityHost && !(await isAt(modality.host, who.remoteIp))) continue;
    modalities.push(modality);
  }
  const allows = (permission: Permission): boolean => {
    const { always, of } = PERMISSIONS[permission];
    return always(options) || modalities.some(of);
  };
  const any = (Object.keys(PERMISSIONS) as Permission[]).some(allows);
  return any ? { ...who, modalities, allows } : undefined;
}

async function isAt(host: string, ip: string): Promise<boolean> {
  if (isIP(host) !== 0) return host === ip;
  try {
    return (await lookup(host, { all: true })).some(({ address }) => address === ip);
  } catch {
    // A name that means nothing here is no address.
    return false;
  }
}
