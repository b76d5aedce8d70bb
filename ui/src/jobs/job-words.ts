/** Owns what a job says in words: what it does, to whom, what it is about, what it made. */

import type { Job } from '../api/jobs.ts';
import { PLACE_OF, type Place, PLACES } from '../api/resources.ts';
import { t } from '../texts.ts';

const words = t.jobs;

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');
const numberOf = (value: unknown): number | undefined => (typeof value === 'number' ? value : undefined);

/** What kind of job it is. */
export function kindOf({ Type, Content }: Pick<Job, 'Type' | 'Content'>): string {
  if (Type === 'ResourceModification' && Content['IsAnonymization'] === true) return words.anonymize;
  return words.types[Type] ?? Type;
}

/** The URL or name of a peer as a job shows it. */
function peerOf(value: unknown): string {
  if (Array.isArray(value)) return textOf(value[0]);
  return typeof value === 'object' && value !== null
    ? textOf((value as Record<string, unknown>)['Url'])
    : textOf(value);
}

/** To whom or from whom; `''` where it stays here. */
export function otherSide({ Type, Content }: Pick<Job, 'Type' | 'Content'>): string {
  const remote = textOf(Content['RemoteAet']);
  switch (Type) {
    case 'DicomMoveScu':
    case 'DicomGetScu':
      return remote === '' ? '' : words.from(remote);
    case 'OrthancPeerStore': {
      const peer = peerOf(Content['Peer']);
      return peer === '' ? '' : words.to(peer);
    }
    default:
      return remote === '' ? '' : words.to(remote);
  }
}

/** How far it is in numbers; `''` where it does not say. */
export function countsOf({ Content, Progress }: Pick<Job, 'Content' | 'Progress'>): string {
  const all = numberOf(Content['InstancesCount']);
  if (all === undefined) return '';
  return words.ofInstances(Math.round((all * Progress) / 100), all);
}

/** How many instances failed. */
export function failedOf({ Content }: Pick<Job, 'Content'>): number {
  return numberOf(Content['FailedInstancesCount']) ?? 0;
}

/** A link to a resource. */
export interface Link {
  readonly place: Place;
  readonly id: string;
}

const ID = /^[0-9a-f]{8}(-[0-9a-f]{8}){4}$/;

/** What it is about: studies and the like, as far as it says of which level they are. */
export function parentsOf({ Content }: Pick<Job, 'Content'>): readonly string[] {
  const parents = Content['ParentResources'];
  return Array.isArray(parents)
    ? parents.filter((each): each is string => typeof each === 'string' && ID.test(each))
    : [];
}

/** What it made. */
export function madeOf({ Content }: Pick<Job, 'Content'>): Link | undefined {
  const target = textOf(Content['TargetStudy']);
  if (ID.test(target)) return { place: 'studies', id: target };
  const [, place, id = ''] = textOf(Content['Path']).split('/');
  const known = PLACES.find((each) => each === place);
  if (known !== undefined && ID.test(id)) return { place: known, id };
  const level = textOf(Content['Type']);
  const made = textOf(Content['ID']);
  const of = PLACE_OF[level as keyof typeof PLACE_OF] as Place | undefined;
  return of !== undefined && ID.test(made) ? { place: of, id: made } : undefined;
}

/** What it keeps for download, by key. */
export function outputOf({ Type, State }: Pick<Job, 'Type' | 'State'>): string | undefined {
  return State === 'Success' && (Type === 'Archive' || Type === 'Media') ? 'archive' : undefined;
}

/** What can be asked of a job in each state. */
export const ACTIONS = {
  Pending: ['pause', 'cancel'],
  Running: ['pause', 'cancel'],
  Retry: ['pause', 'cancel'],
  Paused: ['resume', 'cancel'],
  Failure: ['resubmit'],
  Success: [],
} as const satisfies Readonly<Record<Job['State'], readonly (keyof typeof words)[]>>;

/** How loud a state is. */
export const BADGES: Readonly<Record<Job['State'], string>> = {
  Pending: '',
  Running: 'good',
  Retry: 'warn',
  Paused: 'warn',
  Success: '',
  Failure: 'bad',
};

/** Milliseconds since the epoch of a time as jobs say it (`20240131T134500.000000`, UTC), or undefined. */
export function timeOf(text: string | undefined): number | undefined {
  const parts = /^(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})/.exec(text ?? '');
  if (parts === null) return undefined;
  const [year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0] = parts.slice(1).map(Number);
  return Date.UTC(year, month - 1, day, hour, minute, second);
}
