/**
 * Owns what is known of a remote modality: its address, what it may do, and how it is sent to.
 */

/** One remote modality, as `DicomModalities` and `/modalities/{name}` describe it. Durations in seconds, as the options count. */
export interface Modality {
  /** Its symbolic name, the key of the REST API. */
  readonly name: string;
  readonly aet: string;
  readonly host: string;
  readonly port: number;
  readonly manufacturer: string;
  readonly allowEcho: boolean;
  readonly allowFind: boolean;
  readonly allowFindWorklist: boolean;
  readonly allowGet: boolean;
  readonly allowMove: boolean;
  readonly allowStore: boolean;
  readonly allowNAction: boolean;
  readonly allowNEventReport: boolean;
  readonly allowTranscoding: boolean;
  readonly useDicomTls: boolean;
  /** The AE title we take towards it; undefined takes `DicomAet`. */
  readonly localAet: string | undefined;
  /** Patience; 0 takes `DicomScuTimeout`. */
  readonly timeout: number;
  readonly retrieveMethod: 'C-MOVE' | 'C-GET' | 'SystemDefault';
  /** How its queue is drained: ours. */
  readonly sending: Sending;
}

/** The options of one destination's queue (ours). */
export interface Sending {
  /** Associations (or connections, to a server that is no modality) open to it at the same time. */
  readonly maximumAssociations: number;
  readonly maximumRetries: number;
  /** Before the first retry; each further one is multiplied, up to the maximum. */
  readonly retryDelay: number;
  readonly retryDelayMultiplier: number;
  readonly maximumRetryDelay: number;
  /** Whether a DIMSE warning (Bxxx) is tried again. */
  readonly retryOnWarning: boolean;
  /** Instances a second; 0 is unlimited. */
  readonly rateLimit: number;
  /** Hours of the day when it may be sent to, local time, as `22:00-06:00`; empty is always. */
  readonly schedule: readonly string[];
}

/** The known modalities, of the configuration or (`DicomModalitiesInDatabase`) of the index. */
export interface Modalities {
  get(name: string): Promise<Modality | undefined>;
  /** Sorted by name. */
  list(): Promise<readonly Modality[]>;
  /** Adds or replaces one. Throws BadFileFormat and the like for a description that is none. */
  put(name: string, description: unknown): Promise<void>;
  /** Whether it was there. */
  remove(name: string): Promise<boolean>;
}
