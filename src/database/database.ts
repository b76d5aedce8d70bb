/**
 * Owns the `database` port: what the index promises, whichever engine holds it. One commit is one transaction and one
 * answer about resources is one statement.
 */

import type { Level } from '../dicom/levels.ts';
import type { Identifiers, Summary, Tags } from '../dicom/summary.ts';
import type { Batch, ParsedFile } from '../storage/parse-and-put.ts';
import type { Attendance, Attending } from './attending.ts';

/** One stored file of a resource. Sizes in bytes, MD5 in lower-case hex ('' when not computed); storage/content reads it. */
export interface Attachment {
  /** Key of the blob in the storage port, a UUID v4. */
  readonly uuid: string;
  /** Orthanc's content type: 1 is the DICOM file, 1024 and up are the user's. */
  readonly contentType: number;
  readonly uncompressedSize: number;
  readonly uncompressedMD5: string;
  /** Size and MD5 of what the storage holds; equal to the uncompressed ones unless `compression` says otherwise. */
  readonly compressedSize: number;
  readonly compressedMD5: string;
  readonly compression: 'none' | 'zlib';
}

/** Content type of the DICOM file itself. */
export const DICOM_ATTACHMENT = 1;

/** The attachment of a DICOM file of `size` bytes that is stored as it came. */
export const asItCame = (uuid: string, size: number, md5: string): Attachment => ({
  uuid,
  contentType: DICOM_ATTACHMENT,
  uncompressedSize: size,
  uncompressedMD5: md5,
  compressedSize: size,
  compressedMD5: md5,
  compression: 'none',
});

/** Change types of the log, spelt as the REST API spells them. */
export const CHANGE_TYPES = [
  'CompletedSeries',
  'NewInstance',
  'NewPatient',
  'NewSeries',
  'NewStudy',
  'AnonymizedStudy',
  'AnonymizedSeries',
  'ModifiedStudy',
  'ModifiedSeries',
  'AnonymizedPatient',
  'ModifiedPatient',
  'StablePatient',
  'StableStudy',
  'StableSeries',
  'UpdatedAttachment',
  'UpdatedMetadata',
  'Deleted',
] as const;

export type ChangeType = (typeof CHANGE_TYPES)[number];

/** One row of the changes log. */
export interface Change {
  readonly seq: number;
  readonly type: ChangeType;
  readonly level: Level;
  readonly id: string;
  /** UTC, `YYYYMMDDTHHMMSS`. */
  readonly date: string;
}

/** How a stored instance that is there already is treated (`OverwriteInstances`). */
export type OverwriteMode = 'Never' | 'Always' | 'IfChanged';

/** One instance to store. Its file is durable already. */
export interface StoreOperation {
  readonly kind: 'store';
  readonly ids: Identifiers;
  /** JSON text of the instance's `Summary` (dicom/summary), with the same ids. */
  readonly summary: string;
  readonly attachment: Attachment;
  /** Metadata of reception for the instance: ReceptionDate, Origin, RemoteAET, RemoteIP, HttpUsername… */
  readonly metadata: Readonly<Record<string, string>>;
  readonly overwrite: OverwriteMode;
}

/**
 * Deletes a resource, everything below it and every ancestor that it leaves empty; logs Deleted for each of them, children
 * before their parents.
 */
export interface DeleteOperation {
  readonly kind: 'delete';
  readonly level: Level;
  readonly id: string;
  /** Where more instances than these are below, only so many go, with what they leave empty; the outcome says that there is a rest. */
  readonly most?: number;
}

/** Protects a patient against recycling, or ends that. */
export interface ProtectOperation {
  readonly kind: 'protect';
  readonly id: string;
  readonly protected: boolean;
}

/**
 * Gives a stored instance and what it belongs to the main tags, and the metadata of the header, that its file says: what else is known of
 * them stays, and nothing is logged. One that is not there is UnknownResource.
 */
export interface ReconstructOperation {
  readonly kind: 'reconstruct';
  readonly summary: Summary;
  /** Only of these. */
  readonly levels: readonly Level[];
}

/**
 * What a metadata or an attachment must be for a change of it to happen, or the operation answers `Revision`: the one of this
 * revision and MD5 (lower-case hex, of the uncompressed content), or `nothing` at all. One that is not there yet takes any.
 */
export type Expected = { readonly revision: number; readonly md5?: string } | 'nothing';

/** Sets (`value` a string) or deletes (`undefined`) one metadata; deleting one that is not there is UnknownResource. */
export interface MetadataOperation {
  readonly kind: 'metadata';
  readonly level: Level;
  readonly id: string;
  readonly name: string;
  readonly value: string | undefined;
  readonly expected?: Expected;
}

/** Adds, replaces or (`attachment` undefined; never the DICOM file) deletes one attachment. */
export interface AttachmentOperation {
  readonly kind: 'attachment';
  readonly level: Level;
  readonly id: string;
  readonly contentType: number;
  readonly attachment: Attachment | undefined;
  readonly expected?: Expected;
}

export interface LabelOperation {
  readonly kind: 'label';
  readonly level: Level;
  readonly id: string;
  readonly label: string;
  readonly present: boolean;
}

/** Marks every resource whose stability deadline has passed as stable, with its StableX change; at most `limit`. */
export interface StabilizeOperation {
  readonly kind: 'stabilize';
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly limit: number;
}

/** Sets a named value of the server (`undefined` deletes it). */
export interface PropertyOperation {
  readonly kind: 'property';
  readonly name: string;
  readonly value: string | undefined;
}

/** Forgets blobs whose removal from storage is done. */
export interface ForgetOperation {
  readonly kind: 'forget';
  readonly uuids: readonly string[];
}

/** Empties the changes log; sequence numbers go on. */
export interface ClearChangesOperation {
  readonly kind: 'clear-changes';
}

/**
 * Where durable work stands; the first two are taken when due. The port of the queue (jobs/queue) says what each means.
 */
export const WORK_STATES = ['waiting', 'retrying', 'active', 'paused', 'failed', 'done'] as const;

export type WorkState = (typeof WORK_STATES)[number];

/** One entry of a named queue, to be added. */
export interface NewWork {
  readonly queue: string;
  /** Unique in its queue. */
  readonly id: string;
  /** '' is none. */
  readonly group: string;
  readonly priority: number;
  /** Milliseconds since the epoch; 0 is at once. */
  readonly due: number;
  /** JSON text. */
  readonly value: string;
}

/** One entry as it stands. */
export interface Work extends NewWork {
  /** Ascending in order of adding, never given twice. */
  readonly seq: number;
  readonly state: WorkState;
  /** Times that it was taken; from `failed` or `done` back to `waiting` it begins anew. */
  readonly attempts: number;
  /** Milliseconds since the epoch. */
  readonly added: number;
  readonly reason: string;
}

/** Adds entries as `waiting`; one whose id is in its queue already stays as it is. */
export interface WorkAddOperation {
  readonly kind: 'work-add';
  readonly entries: readonly NewWork[];
}

/** What becomes of one entry; fields left out stay as they are. */
export interface WorkSettlement {
  readonly queue: string;
  readonly id: string;
  readonly state: WorkState | 'removed';
  readonly due?: number;
  readonly priority?: number;
  readonly reason?: string;
  readonly value?: string;
  /** Only when it is in one of these states. */
  readonly from?: readonly WorkState[];
}

export interface WorkSettleOperation {
  readonly kind: 'work-settle';
  readonly settlements: readonly WorkSettlement[];
}

/** Makes up to `limit` entries of a queue active that are due at `now`: the highest priority first, then the first added. */
export interface WorkTakeOperation {
  readonly kind: 'work-take';
  readonly queue: string;
  readonly limit: number;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** Logs that a resource was sent elsewhere; one that is not there is UnknownResource. */
export interface ExportOperation {
  readonly kind: 'export';
  readonly level: Level;
  readonly id: string;
  /** Symbolic name of who got it. */
  readonly remote: string;
}

/** Empties the log of exports; sequence numbers go on. */
export interface ClearExportsOperation {
  readonly kind: 'clear-exports';
}

export type Operation =
  | StoreOperation
  | ReconstructOperation
  | DeleteOperation
  | ProtectOperation
  | MetadataOperation
  | AttachmentOperation
  | LabelOperation
  | StabilizeOperation
  | PropertyOperation
  | ForgetOperation
  | ClearChangesOperation
  | WorkAddOperation
  | WorkSettleOperation
  | WorkTakeOperation
  | ExportOperation
  | ClearExportsOperation;

/** The nearest ancestor that a deletion left. */
export interface Remaining {
  readonly level: Level;
  readonly id: string;
}

/** What became of one operation; in the order of the batch. */
export type Outcome =
  /** An instance: `AlreadyStored` leaves the old file in place, and the new one is the caller's to revoke. */
  | { readonly kind: 'stored'; readonly status: 'Success' | 'AlreadyStored' }
  | { readonly kind: 'deleted'; readonly remaining: Remaining | undefined; readonly rest?: true }
  /** A metadata, attachment or label was written; its new revision. */
  | { readonly kind: 'written'; readonly revision: number }
  | { readonly kind: 'stabilized'; readonly count: number }
  | { readonly kind: 'done' }
  /** Entries that were added, taken, or settled (as they stand then; a removed one as it was), in the order asked for. */
  | { readonly kind: 'work'; readonly entries: readonly Work[] }
  /** This operation alone was refused and changed nothing; the others of the batch stand. */
  | {
      readonly kind: 'refused';
      readonly error: 'UnknownResource' | 'Revision' | 'FullStorage';
    };

/** What one commit did. */
export interface Committed {
  readonly outcomes: readonly Outcome[];
  /** The rows added to the changes log, in order (the embedded log numbers them here). */
  readonly changes: readonly Change[];
  /** Blobs that nothing refers to any more: durably listed until a `forget` names them. */
  readonly removals: readonly string[];
}

/** What the bytes of a received file do not say of how it is to be stored. */
export type Arrival = Pick<StoreOperation, 'metadata' | 'overwrite'>;

/** A received file that is durable, with what its commit did. */
export interface TakenFile extends ParsedFile {
  readonly blob: string;
  readonly outcome: Outcome;
}

/** What was taken in, at the places of a batch; what is missing there was neither stored nor committed. */
export interface Taken extends Omit<Committed, 'outcomes'> {
  readonly files: readonly (TakenFile | undefined)[];
}

/** The same in the index, and durable as soon as `durable` resolves; it rejects as a commit does whose outcome is unknown. */
export interface Taking extends Taken {
  readonly durable: Promise<void>;
}

/** What a value is compared with. None that is absent matches. */
export type Match =
  | { readonly match: 'equal'; readonly value: string }
  | { readonly match: 'list'; readonly values: readonly string[] }
  /** Inclusive, in the order of characters; an absent bound is open. */
  | { readonly match: 'range'; readonly from?: string; readonly to?: string }
  /** `*` any run, `?` one character (PS3.4 §C.2.2.2.4). */
  | { readonly match: 'wildcard'; readonly value: string };

/**
 * One condition of a search, on a main DICOM tag of the searched level, of an ancestor, or else of the levels below, where some resource
 * must meet it.
 */
export type Constraint = {
  /** `gggg,eeee`. */
  readonly tag: string;
  readonly caseSensitive: boolean;
  /** Where case is left aside: accents count all the same (not in a range), and padding does. */
  readonly accents?: boolean;
} & Match;

/** One condition of a search, on a metadata of the resource itself. */
export type MetadataConstraint = { readonly name: string; readonly caseSensitive: boolean } & Match;

/** One condition of a search, on the labels of the resource itself: it has all of these, any, or none. */
export interface LabelsConstraint {
  readonly labels: readonly string[];
  readonly match: 'all' | 'any' | 'none';
}

/** What resources are ordered by: a main DICOM tag of the level or an ancestor, or a metadata of the resource itself. */
export type Order = ({ readonly tag: string } | { readonly metadata: string }) & {
  /** Numbers are those that the value begins with; one that begins with none counts as absent. Texts leave case and accents aside. */
  readonly as: 'text' | 'integer' | 'float';
  readonly descending: boolean;
};

/** Ids that one question may name. */
export const MOST_IDS = 1000;

/** Which resources, and how much of each. */
export interface FindRequest {
  readonly level: Level;
  /** Only this resource of `level`. */
  readonly id?: string;
  /** Only these of `level`, at most {@link MOST_IDS}; alone, without other conditions. Those that are unknown are left out. */
  readonly ids?: readonly string[];
  /** Only ancestors, descendants or self of this one. */
  readonly of?: { readonly level: Level; readonly id: string };
  readonly where?: readonly Constraint[];
  readonly metadata?: readonly MetadataConstraint[];
  readonly labels?: LabelsConstraint;
  /**
   * Instead of by public id; never with `after`. What is absent comes first, or last where descending; what is equal in everything in
   * the order of arrival (of one commit: always the same), the other way round where the first of these is descending.
   */
  readonly orderBy?: readonly Order[];
  /** Only public ids greater than this one: the next page of a long list costs what the first did. */
  readonly after?: string;
  /** Resources come in ascending order of public id, unless `orderBy` says otherwise; skip this many. */
  readonly since?: number;
  /** At most this many. */
  readonly limit?: number;
  /** `false`: attachments are not asked for, and none are answered. */
  readonly attachments?: boolean;
  /** Public ids of the children. */
  readonly children?: boolean;
  /** Main tags and metadata of every ancestor. */
  readonly ancestors?: boolean;
  /**
   * One instance below (or the resource itself), so that a tag outside the index can be read from its file: of the series that was stored
   * first, in the study that was; of several stored by one commit, always the same.
   */
  readonly instance?: boolean;
  /** What {@link Computed} holds. */
  readonly computed?: boolean;
  /** Ids only: nothing but `level` and `id` is filled (tags, metadata, … are empty). */
  readonly idsOnly?: boolean;
}

/** Which resources to count. */
export type CountRequest = Pick<FindRequest, 'level' | 'of' | 'where' | 'metadata' | 'labels'>;

/** Values over the resources below (PS3.4 §C.3.4). */
export interface Computed {
  readonly studies: number;
  readonly series: number;
  readonly instances: number;
  /** Distinct Modality of the series below, sorted. */
  readonly modalities: readonly string[];
  /** Distinct SopClassUid of the instances below, sorted. */
  readonly sopClasses: readonly string[];
}

/** A metadata value with its revision. */
export interface Metadata {
  readonly value: string;
  readonly revision: number;
}

/** An attachment with its revision. */
export interface RevisedAttachment extends Attachment {
  readonly revision: number;
}

/** One found resource. */
export interface Found {
  readonly level: Level;
  readonly id: string;
  readonly parent: string | undefined;
  readonly tags: Tags;
  readonly metadata: Readonly<Record<string, Metadata>>;
  readonly attachments: readonly RevisedAttachment[];
  readonly labels: readonly string[];
  readonly isStable: boolean;
  /** Patients only, else false. */
  readonly isProtected: boolean;
  /** Present when asked. */
  readonly children?: readonly string[];
  readonly ancestors?: Partial<
    Record<Level, { readonly id: string; readonly tags: Tags; readonly metadata: Readonly<Record<string, Metadata>> }>
  >;
  readonly instance?: {
    readonly id: string;
    readonly attachment: RevisedAttachment;
    readonly metadata: Readonly<Record<string, Metadata>>;
  };
  readonly computed?: Computed;
}

/** Counts and sizes (bytes) below one resource, itself included. */
export interface Statistics {
  readonly patients: number;
  readonly studies: number;
  readonly series: number;
  readonly instances: number;
  /** All attachments: as stored, and uncompressed. */
  readonly diskSize: number;
  readonly uncompressedSize: number;
  /** DICOM attachments only. */
  readonly dicomDiskSize: number;
  readonly dicomUncompressedSize: number;
}

/** Which changes. */
export interface ChangesRequest {
  /** Only Seq greater than this. */
  readonly since?: number;
  /** Only Seq up to and including this. */
  readonly to?: number;
  readonly limit: number;
  readonly types?: readonly ChangeType[];
}

/** Which entries of a queue. */
export interface WorkRequest {
  readonly queue: string;
  readonly id?: string;
  readonly group?: string;
  readonly states?: readonly WorkState[];
  /** Only beyond this `seq`, in the direction asked for. */
  readonly after?: number;
  readonly descending?: boolean;
  readonly limit: number;
}

/** How many entries of a queue stand in one state. */
export interface WorkCount {
  readonly queue: string;
  readonly state: WorkState;
  readonly count: number;
  /** `added` of the first of them. */
  readonly oldest: number;
}

/** One row of the log of exports. */
export interface Export {
  readonly seq: number;
  readonly level: Level;
  readonly id: string;
  /** UTC, `YYYYMMDDTHHMMSS`. */
  readonly date: string;
  readonly remote: string;
  /** Identifiers of the resource and its ancestors; '' below it. */
  readonly patientId: string;
  readonly studyInstanceUid: string;
  readonly seriesInstanceUid: string;
  readonly sopInstanceUid: string;
}

/** Which exports: in ascending Seq those greater than `since`, or (`last`) the last one. */
export interface ExportsRequest {
  readonly since?: number;
  readonly last?: boolean;
  readonly limit: number;
}

/** Limits that the index enforces inside the commit, so that no race passes them. */
export interface DatabaseLimits {
  /** Bytes; 0 is unlimited. */
  readonly maximumStorageSize: number;
  /** 0 is unlimited. */
  readonly maximumPatientCount: number;
  readonly mode: 'Recycle' | 'Reject';
  /** Milliseconds without a new instance after which a patient, study or series is stable. */
  readonly stableAge: number;
}

/**
 * The port. Every method throws IsenError `Database` (or `DatabaseUnavailable`, which may be retried) when the engine
 * fails; nothing is half done then. A commit that failed so may still be found durable, whole, by the next start: a disk
 * can fill between its last write and its answer.
 */
export interface Database {
  /** Applies the operations in order in one durable transaction. Others may find what it did a moment before it is durable. */
  commit(operations: readonly Operation[]): Promise<Committed>;
  /**
   * Parses received files, makes them durable at their places and commits them in one transaction, in the one thread that commits: few at a
   * time would pass three threads in turn and wait longer for these than for the disk. Of a stored one the answer has no summary. What cannot
   * be parsed quickly or not at all, or not stored, is left out: the usual way tells what is wrong with it. Absent where the index is
   * committed to by no thread of this process.
   */
  takeIn?(batch: Batch, arrivals: readonly Arrival[]): Promise<Taking>;
  /**
   * Has the thread that commits serve associations on which instances come (plain C-STORE requests, answered with success once the instance is
   * durable and committed), as long as nothing else is to be committed. What it does not store at once comes back with its association, as if nobody
   * had read it. To be called again and again, while any is lent. Absent as `takeIn` is, and where the system has no such sockets.
   */
  attend?(attending: Attending): Attendance;
  /**
   * In ascending order of public id, or as `orderBy` says. An unknown `id` or `of` gives an empty list. Throws ParameterOutOfRange for a
   * tag that is no main DICOM tag of any level.
   */
  find(request: FindRequest): Promise<readonly Found[]>;
  /** How many {@link find} would answer; neither by `ids` nor `after`. */
  count(request: CountRequest): Promise<number>;
  /** Resources whose PatientID, StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID or AccessionNumber is `value`. */
  lookup(value: string): Promise<readonly Remaining[]>;
  /** Of one resource, or (`undefined`) of the whole server, whose answer costs the same at any size. */
  statistics(of?: { readonly level: Level; readonly id: string }): Promise<Statistics | undefined>;
  /**
   * Rows of the log in ascending Seq; with `to` and no `since`, the last `limit` ones up to `to`. `more` says that the
   * limit cut the list.
   */
  changes(request: ChangesRequest): Promise<{ readonly changes: readonly Change[]; readonly more: boolean }>;
  /** Resolves when whatever could be found by now is durable; what the log, and {@link removals}, answer is. Throws DatabaseUnavailable. */
  settled(): Promise<void>;
  /** The last Seq ever given, 0 at the beginning; survives clear-changes. */
  lastSeq(): Promise<number>;
  property(name: string): Promise<string | undefined>;
  /** Entries in ascending (or descending) `seq`. Costs what it answers, at any length of the queue. */
  work(request: WorkRequest): Promise<readonly Work[]>;
  /** Counts that are not 0, of all queues, one, or one group; costs the same at any length of the queues. */
  workCounts(of?: { readonly queue?: string; readonly group?: string }): Promise<readonly WorkCount[]>;
  /** Milliseconds since the epoch when the next entry of a queue is due (0: at once), or undefined when none waits. */
  nextWork(queue: string): Promise<number | undefined>;
  /** `more` says that the limit cut the list. */
  exports(request: ExportsRequest): Promise<{ readonly exports: readonly Export[]; readonly more: boolean }>;
  /** Whether other processes may write to it. */
  readonly shared: boolean;
  /**
   * A number that is another one once anything was committed: what was read before and after two equal ones is the same.
   * Undefined where knowing it costs as much as reading, and while something is being committed.
   */
  version(): number | undefined;
  /** Every label in use, sorted. */
  labels(): Promise<readonly string[]>;
  /** Blobs awaiting removal from storage, at most `limit`. */
  removals(limit: number): Promise<readonly string[]>;
  /**
   * Those of `uuids` that an attachment refers to, once every commit that had begun has ended: of a process that died one may still be
   * under way.
   */
  attached(uuids: readonly string[]): Promise<ReadonlySet<string>>;
  /** Milliseconds since the epoch of the nearest stability deadline, or undefined. */
  nextStable(): Promise<number | undefined>;
  close(): Promise<void>;
}
