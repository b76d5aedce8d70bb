/** Owns what storage commitment requests and results carry (PS3.4 §J.3): the instances, and why some are not committed. */

import { type Identifier, type Key, textIn } from './identifier.ts';

/** One referenced instance. */
export interface Reference {
  readonly sopClassUid: string;
  readonly sopInstanceUid: string;
}

/** One that is not committed, with its Failure Reason (0008,1197). */
export interface FailedReference extends Reference {
  readonly reason: number;
}

/** Action Information of a request, Event Information of a result. */
export interface Commitment {
  readonly transactionUid: string;
  readonly references: readonly Reference[];
  readonly failed: readonly FailedReference[];
}

/** Failure reasons with their meaning (PS3.3 §C.14.1.1). */
export const FAILURE_REASONS: Readonly<Record<number, string>> = {
  0x0110: 'A general failure in processing the operation was encountered',
  0x0112: 'One or more of the elements in the Referenced SOP Instance Sequence was not available',
  0x0119:
    'The SOP Class of an element in the Referenced SOP Instance Sequence did not correspond to the SOP class registered for this SOP Instance at the SCP',
  0x0122: 'Storage Commitment has been requested for a SOP Instance with a SOP Class that is not supported by the SCP',
  0x0131: 'The Transaction UID of the Storage Commitment Request is already in use',
  0x0213: 'The SCP does not currently have enough resources to store the requested SOP Instance(s)',
};

export const NO_SUCH_INSTANCE = 0x0112;
export const CLASS_CONFLICT = 0x0119;
export const PROCESSING_FAILURE = 0x0110;

const TRANSACTION = '0008,1195';
const REFERENCES = '0008,1199';
const FAILED = '0008,1198';
const REASON = '0008,1197';
const CLASS = '0008,1150';
const INSTANCE = '0008,1155';

const items = (identifier: Identifier, tag: string): readonly Identifier[] => {
  const value = identifier.find((key) => key.tag === tag)?.value;
  return value === undefined || typeof value === 'string' ? [] : value;
};

const referenceOf = (item: Identifier): Reference => ({
  sopClassUid: textIn(item, CLASS)?.trim() ?? '',
  sopInstanceUid: textIn(item, INSTANCE)?.trim() ?? '',
});

/** What a data set of storage commitment says; undefined without a transaction. */
export function readCommitment(identifier: Identifier): Commitment | undefined {
  const transactionUid = textIn(identifier, TRANSACTION)?.trim() ?? '';
  if (transactionUid === '') return undefined;
  return {
    transactionUid,
    references: items(identifier, REFERENCES).map(referenceOf),
    failed: items(identifier, FAILED).map((item) => ({
      ...referenceOf(item),
      reason: Number(textIn(item, REASON) ?? PROCESSING_FAILURE),
    })),
  };
}

const itemOf = ({ sopClassUid, sopInstanceUid }: Reference): Key[] => [
  { tag: CLASS, vr: 'UI', value: sopClassUid },
  { tag: INSTANCE, vr: 'UI', value: sopInstanceUid },
];

/** The data set of storage commitment; sequences without items are left out. */
export function commitmentIdentifier({ transactionUid, references, failed }: Commitment): Identifier {
  const sequences: Key[] = [];
  if (failed.length > 0) {
    const value = failed.map(
      (each): Identifier => [...itemOf(each), { tag: REASON, vr: 'US', value: String(each.reason) }],
    );
    sequences.push({ tag: FAILED, vr: 'SQ', value });
  }
  if (references.length > 0) sequences.push({ tag: REFERENCES, vr: 'SQ', value: references.map(itemOf) });
  return [{ tag: TRANSACTION, vr: 'UI', value: transactionUid }, ...sequences];
}
