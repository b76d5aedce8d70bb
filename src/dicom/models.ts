/** Owns the SOP classes of queries and retrievals (PS3.4 §C.3, §K, §J) as data. */

/** The two information models, each with its SOP classes (PS3.4 tables C.6.1-1 and C.6.2-1). */
export const MODELS = {
  Patient: {
    find: '1.2.840.10008.5.1.4.1.2.1.1',
    move: '1.2.840.10008.5.1.4.1.2.1.2',
    get: '1.2.840.10008.5.1.4.1.2.1.3',
  },
  Study: {
    find: '1.2.840.10008.5.1.4.1.2.2.1',
    move: '1.2.840.10008.5.1.4.1.2.2.2',
    get: '1.2.840.10008.5.1.4.1.2.2.3',
  },
} as const;

/** Patient Root or Study Root. */
export type Model = keyof typeof MODELS;

/** Modality Worklist Information Model - FIND (PS3.4 §K.7). */
export const WORKLIST_FIND = '1.2.840.10008.5.1.4.31';

/** Verification (PS3.4 §A.4). */
export const VERIFICATION = '1.2.840.10008.1.1';

/** Storage Commitment Push Model, and its well-known SOP Instance (PS3.4 §J.3). */
export const STORAGE_COMMITMENT = '1.2.840.10008.1.20.1';
export const STORAGE_COMMITMENT_INSTANCE = '1.2.840.10008.1.20.1.1';
