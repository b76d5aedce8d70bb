/**
 * Owns the protocol machine of the DICOM upper layer as data (PS3.8 §9.2, tables 9-6 to 9-10): what happens in which state at which
 * event. What an effect does on a socket is the connection's.
 */

/** Sta1 to Sta13 (PS3.8 tables 9-1 to 9-5). */
export type State =
  /** Idle. */
  | 1
  /** Transport connection open, awaiting A-ASSOCIATE-RQ. */
  | 2
  /** Awaiting the local answer to an association that the peer asked for. */
  | 3
  /** Awaiting the opening of the transport connection. */
  | 4
  /** Awaiting A-ASSOCIATE-AC or -RJ. */
  | 5
  /** The association is established. */
  | 6
  /** Awaiting A-RELEASE-RP. */
  | 7
  /** Awaiting the local answer to a release that the peer asked for. */
  | 8
  /** Release collision, requestor: awaiting the local answer. */
  | 9
  /** Release collision, acceptor: awaiting A-RELEASE-RP. */
  | 10
  /** Release collision, requestor: awaiting A-RELEASE-RP. */
  | 11
  /** Release collision, acceptor: awaiting the local answer. */
  | 12
  /** Awaiting the closing of the transport connection. */
  | 13;

export const STATES: readonly State[] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13];

/** Events (PS3.8 table 9-10), in the order Evt1 to Evt19. */
export const EVENTS = [
  'A-ASSOCIATE request',
  'transport confirm',
  'A-ASSOCIATE-AC',
  'A-ASSOCIATE-RJ',
  'transport indication',
  'A-ASSOCIATE-RQ',
  'A-ASSOCIATE response accept',
  'A-ASSOCIATE response reject',
  'P-DATA request',
  'P-DATA-TF',
  'A-RELEASE request',
  'A-RELEASE-RQ',
  'A-RELEASE-RP',
  'A-RELEASE response',
  'A-ABORT request',
  'A-ABORT',
  'transport closed',
  'ARTIM expired',
  'invalid PDU',
] as const;
export type Event = (typeof EVENTS)[number];

/** What an action does, in order. */
export type Effect =
  | 'connect'
  | 'send A-ASSOCIATE-RQ'
  | 'send A-ASSOCIATE-AC'
  | 'send A-ASSOCIATE-RJ'
  | 'send P-DATA-TF'
  | 'send A-RELEASE-RQ'
  | 'send A-RELEASE-RP'
  /** Source 0: asked for by the user, or (AA-1 for a PDU) by us before any association. */
  | 'send A-ABORT'
  /** Source 2: the peer broke the protocol. */
  | 'send A-ABORT of the provider'
  | 'indicate associate'
  | 'confirm accepted'
  | 'confirm rejected'
  | 'indicate data'
  | 'indicate release'
  | 'confirm release'
  | 'indicate abort'
  | 'indicate provider abort'
  | 'start ARTIM'
  | 'stop ARTIM'
  | 'close transport';

/** An action (PS3.8 tables 9-6 to 9-9). */
export interface Action {
  readonly effects: readonly Effect[];
  /** The next state, which for a release collision depends on who asked for the association. */
  readonly next: State | { readonly requestor: State; readonly acceptor: State };
}

const action = (next: Action['next'], ...effects: readonly Effect[]): Action => ({ effects, next });

/** Actions by name. The refusal within AE-6 (version, application context) is given as a local reject in Sta3, AE-8: the same PDUs. */
export const ACTIONS = {
  'AE-1': action(4, 'connect'),
  'AE-2': action(5, 'send A-ASSOCIATE-RQ'),
  'AE-3': action(6, 'confirm accepted'),
  'AE-4': action(1, 'confirm rejected', 'close transport'),
  'AE-5': action(2, 'start ARTIM'),
  'AE-6': action(3, 'stop ARTIM', 'indicate associate'),
  'AE-7': action(6, 'send A-ASSOCIATE-AC'),
  'AE-8': action(13, 'send A-ASSOCIATE-RJ', 'start ARTIM'),
  'DT-1': action(6, 'send P-DATA-TF'),
  'DT-2': action(6, 'indicate data'),
  'AR-1': action(7, 'send A-RELEASE-RQ'),
  'AR-2': action(8, 'indicate release'),
  'AR-3': action(1, 'confirm release', 'close transport'),
  'AR-4': action(13, 'send A-RELEASE-RP', 'start ARTIM'),
  'AR-5': action(1, 'stop ARTIM'),
  'AR-6': action(7, 'indicate data'),
  'AR-7': action(8, 'send P-DATA-TF'),
  'AR-8': action({ requestor: 9, acceptor: 10 }, 'indicate release'),
  'AR-9': action(11, 'send A-RELEASE-RP'),
  'AR-10': action(12, 'confirm release'),
  'AA-1': action(13, 'send A-ABORT', 'start ARTIM'),
  'AA-2': action(1, 'stop ARTIM', 'close transport'),
  'AA-3': action(1, 'indicate abort', 'close transport'),
  'AA-4': action(1, 'indicate provider abort'),
  'AA-5': action(1, 'stop ARTIM'),
  'AA-6': action(13),
  'AA-7': action(13, 'send A-ABORT'),
  'AA-8': action(13, 'send A-ABORT of the provider', 'indicate provider abort', 'start ARTIM'),
} as const satisfies Record<string, Action>;
export type ActionName = keyof typeof ACTIONS;

type Row = Readonly<Partial<Record<State, ActionName>>>;
/** What any PDU that has no place does. */
const UNEXPECTED: Row = {
  2: 'AA-1',
  3: 'AA-8',
  5: 'AA-8',
  6: 'AA-8',
  7: 'AA-8',
  8: 'AA-8',
  9: 'AA-8',
  10: 'AA-8',
  11: 'AA-8',
  12: 'AA-8',
  13: 'AA-6',
};

/** PS3.8 table 9-10. What is not here cannot happen, or is our own mistake. */
export const TRANSITIONS: Readonly<Record<Event, Row>> = {
  'A-ASSOCIATE request': { 1: 'AE-1' },
  'transport confirm': { 4: 'AE-2' },
  'A-ASSOCIATE-AC': { ...UNEXPECTED, 5: 'AE-3' },
  'A-ASSOCIATE-RJ': { ...UNEXPECTED, 5: 'AE-4' },
  'transport indication': { 1: 'AE-5' },
  'A-ASSOCIATE-RQ': { ...UNEXPECTED, 2: 'AE-6', 13: 'AA-7' },
  'A-ASSOCIATE response accept': { 3: 'AE-7' },
  'A-ASSOCIATE response reject': { 3: 'AE-8' },
  'P-DATA request': { 6: 'DT-1', 8: 'AR-7' },
  'P-DATA-TF': { ...UNEXPECTED, 6: 'DT-2', 7: 'AR-6' },
  'A-RELEASE request': { 6: 'AR-1' },
  'A-RELEASE-RQ': { ...UNEXPECTED, 6: 'AR-2', 7: 'AR-8' },
  'A-RELEASE-RP': { ...UNEXPECTED, 7: 'AR-3', 10: 'AR-10', 11: 'AR-3' },
  'A-RELEASE response': { 8: 'AR-4', 9: 'AR-9', 12: 'AR-4' },
  'A-ABORT request': {
    3: 'AA-1',
    4: 'AA-2',
    5: 'AA-1',
    6: 'AA-1',
    7: 'AA-1',
    8: 'AA-1',
    9: 'AA-1',
    10: 'AA-1',
    11: 'AA-1',
    12: 'AA-1',
  },
  'A-ABORT': {
    2: 'AA-2',
    3: 'AA-3',
    5: 'AA-3',
    6: 'AA-3',
    7: 'AA-3',
    8: 'AA-3',
    9: 'AA-3',
    10: 'AA-3',
    11: 'AA-3',
    12: 'AA-3',
    13: 'AA-2',
  },
  'transport closed': {
    2: 'AA-5',
    3: 'AA-4',
    4: 'AA-4',
    5: 'AA-4',
    6: 'AA-4',
    7: 'AA-4',
    8: 'AA-4',
    9: 'AA-4',
    10: 'AA-4',
    11: 'AA-4',
    12: 'AA-4',
    13: 'AR-5',
  },
  'ARTIM expired': { 2: 'AA-2', 13: 'AA-2' },
  'invalid PDU': { ...UNEXPECTED, 13: 'AA-7' },
};

/** What `event` does in `state`, or undefined where the table has nothing. */
export function transition(
  state: State,
  event: Event,
  requestor: boolean,
): { readonly action: ActionName; readonly effects: readonly Effect[]; readonly next: State } | undefined {
  const name = TRANSITIONS[event][state];
  if (name === undefined) return undefined;
  const { effects, next }: Action = ACTIONS[name];
  const following = typeof next === 'number' ? next : requestor ? next.requestor : next.acceptor;
  return { action: name, effects, next: following };
}
