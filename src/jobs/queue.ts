/**
 * Owns the `queue` port: durable work that no client waits for. An entry is one piece of work in one named queue: a job in the queue
 * `jobs`, one instance to be sent in the queue of its destination (`modality:<name>`, `peer:<name>`). What was added survives any crash;
 * an entry that was under way when its process died is taken again, so whatever processes entries may be repeated.
 */

/** The reason of an entry whose job a person cancelled: nothing tries it again but that job, resubmitted. */
export const CANCELED = 'The job was canceled';

/** Names of the positions up to which the log has been followed. */
export const FOLLOWED = { routing: 'routing', webhooks: 'webhooks' } as const;

/** Name of the position that says whether people have paused a queue. */
export const pausedOf = (queue: string): string => `paused ${queue}`;

/** How far the source of entries has been read. */
export interface Position {
  readonly name: string;
  readonly value: string;
  /** What is believed to be stored: where something else is, or nothing, it stays so. */
  readonly since?: string;
}

/** Where an entry stands. `waiting` and `retrying` ones are taken when due; the others stay until someone acts. */
export type EntryState = 'waiting' | 'active' | 'retrying' | 'paused' | 'failed' | 'done';

export interface NewEntry {
  readonly queue: string;
  /** Unique in its queue: adding one that is there already changes nothing. */
  readonly id: string;
  /** Entries with the same group (a job's id) are listed, counted and cancelled together; '' is none. */
  readonly group: string;
  /** Higher is taken first; of equals, the one added first. */
  readonly priority: number;
  /** Milliseconds since the epoch before which it is not taken; 0 is at once. */
  readonly due: number;
  /** Any JSON. */
  readonly value: unknown;
}

export interface Entry extends NewEntry {
  /** Ascending in order of adding. */
  readonly seq: number;
  readonly state: EntryState;
  /** Times that it was taken; one that goes from `failed` or `done` back to `waiting` begins anew. */
  readonly attempts: number;
  /** Milliseconds since the epoch. */
  readonly added: number;
  /** Why the last attempt failed, for people; '' when none did. */
  readonly reason: string;
}

/** What becomes of an entry that was taken, or is acted upon. Fields left out stay as they are. */
export interface Settlement {
  readonly queue: string;
  readonly id: string;
  /** `removed` forgets the entry. */
  readonly state: EntryState | 'removed';
  readonly due?: number;
  readonly priority?: number;
  readonly reason?: string;
  readonly value?: unknown;
  /** Only when the entry is in one of these states; otherwise nothing happens to it. */
  readonly from?: readonly EntryState[];
}

/** What settling relies on: that an entry still has the value that was read. */
export type Premise = Pick<Entry, 'queue' | 'id' | 'value'>;

export interface ListRequest {
  readonly queue: string;
  readonly id?: string;
  readonly group?: string;
  readonly states?: readonly EntryState[];
  /** Only entries beyond this `seq`, in the order asked for. */
  readonly after?: number;
  /** In ascending `seq`, or descending. */
  readonly descending?: boolean;
  readonly limit: number;
}

/** How many entries of one queue (and group, when asked by group) stand in one state. */
export interface Count {
  readonly queue: string;
  readonly state: EntryState;
  readonly count: number;
  /** `added` of the oldest, milliseconds since the epoch. */
  readonly oldest: number;
}

/** One of a number of leases under a name, held by this process. */
export interface Lease {
  /** Aborts when it is no longer held: the process was cut off, and another may hold it now. */
  readonly lost: AbortSignal;
  release(): Promise<void>;
}

/** The port. Every method throws Database or DatabaseUnavailable when the engine fails; nothing is half done then. */
export interface Queue {
  /**
   * Adds entries durably, all or none, with (in the same step, where given) the position up to which their source has been read, so that
   * a crash neither loses nor doubles. Answers whether the position is stored: not where another than {@link Position.since} was, as in an
   * engine that lost its last moments, entries among them. Throws Busy when the queue's bound is passed.
   */
  add(entries: readonly NewEntry[], position?: Position): Promise<boolean>;
  /** The position stored under a name. */
  position(name: string): Promise<string | undefined>;
  /** Takes up to `limit` due entries of one queue: they are `active`, counted as attempted, and nobody else's until settled. */
  take(queue: string, limit: number): Promise<readonly Entry[]>;
  /**
   * Settles entries durably, all in one step; answers those that applied, as they stand then (a removed one as it was). None does where a
   * premise is not true any more.
   */
  settle(settlements: readonly Settlement[], premises?: readonly Premise[]): Promise<readonly Entry[]>;
  list(request: ListRequest): Promise<readonly Entry[]>;
  count(of?: { readonly queue?: string; readonly group?: string }): Promise<readonly Count[]>;
  /**
   * Resolves when an entry of the queue may be due (added, settled to waiting, or its time came), or when `signal` aborts. May resolve for
   * nothing.
   */
  wait(queue: string, signal: AbortSignal): Promise<void>;
  /**
   * Hears of every entry that was added or settled (a removed one as it was) on any node, after it is durable. Answers how to
   * stop.
   */
  watch(listener: (entry: Entry) => void): () => void;
  /**
   * Takes one of the `most` leases that there are under a name over all nodes, or answers undefined where none is left. It ends when it
   * is released, and soon after its process has died.
   */
  lease(name: string, most: number): Promise<Lease | undefined>;
  /** What was taken and not settled is taken again: by other nodes at once, or after the next opening. */
  close(): Promise<void>;
}
