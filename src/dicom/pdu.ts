/**
 * Owns the protocol data units of the DICOM upper layer as bytes (PS3.8 §9.3): reading them from a stream in whatever pieces it comes,
 * writing those that are not negotiation, and checking the structure of those that are. Lengths are checked before anything is kept.
 */

/** PDU types (PS3.8 §9.3.1). */
export const PDU = {
  'A-ASSOCIATE-RQ': 1,
  'A-ASSOCIATE-AC': 2,
  'A-ASSOCIATE-RJ': 3,
  'P-DATA-TF': 4,
  'A-RELEASE-RQ': 5,
  'A-RELEASE-RP': 6,
  'A-ABORT': 7,
} as const;
export type PduName = keyof typeof PDU;

const NAMES = new Map(Object.entries(PDU).map(([name, type]) => [type as number, name as PduName]));

/** Bytes of a PDU before its variable field. */
export const PDU_HEADER = 6;
/** Bytes of a presentation data value before its fragment (PS3.8 §9.3.5.1, annex E.2). */
export const PDV_HEADER = 6;
/** Variable field of the PDUs that have a fixed one. */
const FIXED = 4;
/** Variable field of A-ASSOCIATE-RQ and -AC before their items. */
const ASSOCIATE_FIELDS = 68;
/** Largest variable field of A-ASSOCIATE-RQ and -AC that is taken: 128 contexts with every transfer syntax there is need 180 KB. */
export const MAXIMUM_ASSOCIATE = 256 << 10;

/** Transfer syntaxes of one context that are taken; the Standard has some 60. */
const MOST_TRANSFER_SYNTAXES = 128;

/** Message control header (PS3.8 annex E.2). */
const IS_COMMAND = 1;
const IS_LAST = 2;

/** Reasons of an A-ABORT by the provider (PS3.8 table 9-26). */
export const ABORT_REASON = {
  'not specified': 0,
  'unrecognized PDU': 1,
  'unexpected PDU': 2,
  'unrecognized parameter': 4,
  'unexpected parameter': 5,
  'invalid parameter value': 6,
} as const;
export type AbortReason = keyof typeof ABORT_REASON;

/** A PDU that breaks the rules; the association must be aborted for this reason. */
export class PduFault extends Error {
  readonly reason: AbortReason;

  constructor(reason: AbortReason, message: string) {
    super(message);
    this.reason = reason;
  }
}

/** What a {@link PduReader} tells. */
export interface PduReceiver {
  /** True stops the reader after the call that made it so; it goes on where it stopped when it is asked again. */
  readonly paused: boolean;
  /** A whole PDU, its header included, other than P-DATA-TF. */
  pdu(name: Exclude<PduName, 'P-DATA-TF'>, bytes: Buffer): void;
  /** A P-DATA-TF PDU begins. */
  data(): void;
  /** A part of a fragment, as it came; `last`: the message's command or data set ends with this fragment; `ended`: the fragment does with this part. */
  fragment(contextId: number, isCommand: boolean, last: boolean, part: Buffer, ended: boolean): void;
}

/** Reads PDUs from a stream. Holds what is no larger than one negotiation PDU; fragments are handed on in the bytes that came. */
export class PduReader {
  readonly #maximum: number;
  readonly #receiver: PduReceiver;
  /** The header that is being read: of a PDU, or of a presentation data value. */
  readonly #header = Buffer.alloc(PDU_HEADER);
  #headerRead = 0;
  /** A PDU that is read whole. */
  #whole: Buffer | undefined;
  #wholeRead = 0;
  #name: Exclude<PduName, 'P-DATA-TF'> = 'A-ABORT';
  /** Bytes left of the P-DATA-TF PDU, and of the fragment in it. */
  #pduLeft = 0;
  #fragmentLeft = 0;
  #inFragment = false;
  #contextId = 0;
  #control = 0;

  /** `maximum`: bytes of the variable field of P-DATA-TF, as announced to the peer. */
  constructor(maximum: number, receiver: PduReceiver) {
    this.#maximum = maximum;
    this.#receiver = receiver;
  }

  /** Nothing of a PDU has come. */
  get idle(): boolean {
    return this.#headerRead === 0 && this.#whole === undefined && this.#pduLeft === 0 && !this.#inFragment;
  }

  /** Reads from `at` on until the bytes end or the receiver pauses; answers where to go on. Throws PduFault; nothing may be read after that. */
  read(bytes: Buffer, at: number): number {
    let position = at;
    while (position < bytes.length && !this.#receiver.paused) {
      if (this.#inFragment) position = this.#readFragment(bytes, position);
      else if (this.#whole !== undefined) position = this.#readWhole(bytes, position, this.#whole);
      else position = this.#readHeader(bytes, position);
    }
    return position;
  }

  #readHeader(bytes: Buffer, at: number): number {
    const size = Math.min(PDU_HEADER - this.#headerRead, bytes.length - at);
    bytes.copy(this.#header, this.#headerRead, at, at + size);
    this.#headerRead += size;
    if (this.#headerRead < PDU_HEADER) {
      // The type alone tells a stranger from a peer: nothing more of him is awaited.
      if (this.#pduLeft === 0) nameOf(this.#header[0] ?? 0);
      return at + size;
    }
    this.#headerRead = 0;
    if (this.#pduLeft > 0) this.#beginFragment();
    else this.#beginPdu();
    return at + size;
  }

  #beginPdu(): void {
    const name = nameOf(this.#header[0] ?? 0);
    const length = this.#header.readUInt32BE(2);
    if (name === 'P-DATA-TF') {
      if (length < PDV_HEADER || length > this.#maximum) {
        throw new PduFault('invalid parameter value', `P-DATA-TF of ${length} bytes`);
      }
      this.#pduLeft = length;
      this.#receiver.data();
      return;
    }
    const associate = name === 'A-ASSOCIATE-RQ' || name === 'A-ASSOCIATE-AC';
    const least = associate ? ASSOCIATE_FIELDS : FIXED;
    const most = associate ? MAXIMUM_ASSOCIATE : FIXED;
    if (length < least || length > most) throw new PduFault('invalid parameter value', `${name} of ${length} bytes`);
    this.#name = name;
    this.#whole = Buffer.allocUnsafe(PDU_HEADER + length);
    this.#header.copy(this.#whole);
    this.#wholeRead = PDU_HEADER;
  }

  #readWhole(bytes: Buffer, at: number, whole: Buffer): number {
    const size = Math.min(whole.length - this.#wholeRead, bytes.length - at);
    bytes.copy(whole, this.#wholeRead, at, at + size);
    this.#wholeRead += size;
    if (this.#wholeRead === whole.length) {
      this.#whole = undefined;
      this.#receiver.pdu(this.#name, whole);
    }
    return at + size;
  }

  #beginFragment(): void {
    const length = this.#header.readUInt32BE(0);
    if (length < 2 || length + 4 > this.#pduLeft) {
      throw new PduFault('invalid parameter value', `a presentation data value of ${length} bytes`);
    }
    this.#pduLeft -= PDV_HEADER;
    // What is left of the PDU must hold another value, or nothing.
    const rest = this.#pduLeft - (length - 2);
    if (rest > 0 && rest < PDV_HEADER) throw new PduFault('invalid parameter value', 'P-DATA-TF with bytes left over');
    this.#fragmentLeft = length - 2;
    this.#contextId = this.#header[4] ?? 0;
    this.#control = this.#header[5] ?? 0;
    this.#inFragment = this.#fragmentLeft > 0;
    if (!this.#inFragment) this.#tell(NOTHING, true);
  }

  #readFragment(bytes: Buffer, at: number): number {
    const end = Math.min(bytes.length, at + this.#fragmentLeft);
    const size = end - at;
    this.#fragmentLeft -= size;
    this.#pduLeft -= size;
    const ended = this.#fragmentLeft === 0;
    this.#inFragment = !ended;
    this.#tell(bytes.subarray(at, end), ended);
    return end;
  }

  #tell(part: Buffer, ended: boolean): void {
    const control = this.#control;
    this.#receiver.fragment(this.#contextId, (control & IS_COMMAND) !== 0, (control & IS_LAST) !== 0, part, ended);
  }
}

const NOTHING = Buffer.alloc(0);

function nameOf(type: number): PduName {
  const name = NAMES.get(type);
  if (name === undefined) throw new PduFault('unrecognized PDU', `a PDU of type ${type}`);
  return name;
}

/** The bytes of a P-DATA-TF PDU with one presentation data value, up to its fragment of `length` bytes. */
export function dataHeader(contextId: number, isCommand: boolean, last: boolean, length: number): Buffer {
  const header = Buffer.allocUnsafe(PDU_HEADER + PDV_HEADER);
  header.writeUInt16BE(PDU['P-DATA-TF'] << 8, 0);
  header.writeUInt32BE(length + PDV_HEADER, 2);
  header.writeUInt32BE(length + 2, 6);
  header[10] = contextId;
  header[11] = (isCommand ? IS_COMMAND : 0) | (last ? IS_LAST : 0);
  return header;
}

const fixedPdu = (name: PduName, second = 0, third = 0, fourth = 0): Buffer =>
  Buffer.from([PDU[name], 0, 0, 0, 0, FIXED, 0, second, third, fourth]);

/** A-RELEASE-RQ and A-RELEASE-RP (PS3.8 §9.3.6, §9.3.7). */
export const RELEASE_REQUEST: Uint8Array = fixedPdu('A-RELEASE-RQ');
export const RELEASE_RESPONSE: Uint8Array = fixedPdu('A-RELEASE-RP');

/** A-ABORT (PS3.8 §9.3.8): by the user (us, deliberately), or by the provider for a reason. */
export function abortPdu(by: 'user' | 'provider', reason: AbortReason): Buffer {
  return fixedPdu('A-ABORT', 0, by === 'user' ? 0 : 2, by === 'user' ? 0 : ABORT_REASON[reason]);
}

/** Why an association is refused (PS3.8 §9.3.4, table 9-21): result, source, reason. */
export const REJECTION = {
  'application context not supported': [1, 1, 2],
  'calling AE title not recognized': [1, 1, 3],
  'called AE title not recognized': [1, 1, 7],
  'protocol version not supported': [1, 2, 2],
  'local limit exceeded': [2, 3, 2],
} as const;
export type Rejection = keyof typeof REJECTION;

/** A-ASSOCIATE-RJ. */
export function rejectPdu(rejection: Rejection): Buffer {
  return fixedPdu('A-ASSOCIATE-RJ', ...REJECTION[rejection]);
}

/** What an A-ASSOCIATE-RJ says, in words. */
export function describeRejection(pdu: Buffer): string {
  const [result, source, reason] = pdu.subarray(7, 10);
  for (const [words, row] of Object.entries(REJECTION)) {
    if (row[0] === result && row[1] === source && row[2] === reason) return words;
  }
  return `result ${result}, source ${source}, reason ${reason}`;
}

/** Item types (PS3.8 §9.3.2, PS3.7 §D.3.3). */
const ITEM = {
  application: 0x10,
  proposed: 0x20,
  accepted: 0x21,
  abstract: 0x30,
  transfer: 0x40,
  user: 0x50,
  maximumLength: 0x51,
  asynchronous: 0x53,
  role: 0x54,
  identity: 0x58,
  identityAnswer: 0x59,
} as const;

/** The DICOM application context (PS3.7 §A.2.1). */
const APPLICATION_CONTEXT = '1.2.840.10008.3.1.1.1';

/** A-ASSOCIATE-RQ or -AC with its structure checked. */
export interface CheckedAssociate {
  /** The same PDU with the items that are known only, presentation contexts in ascending order of their ids. */
  readonly pdu: Buffer;
  /** Why it must be refused, structure apart. */
  readonly refused: Rejection | undefined;
}

interface Item {
  readonly type: number;
  /** Of the item's type. */
  readonly start: number;
  readonly value: number;
  readonly end: number;
}

/** The items between `at` and `end`, which they must fill. */
function items(bytes: Buffer, at: number, end: number): Item[] {
  const found: Item[] = [];
  for (let start = at; start < end; ) {
    if (start + 4 > end) throw new PduFault('invalid parameter value', 'an item is cut');
    const value = start + 4;
    const next = value + bytes.readUInt16BE(start + 2);
    if (next > end) throw new PduFault('invalid parameter value', 'an item passes its end');
    found.push({ type: bytes[start] ?? 0, start, value, end: next });
    start = next;
  }
  return found;
}

/**
 * Checks the structure of an A-ASSOCIATE-RQ or -AC: every length within what encloses it, ids of presentation contexts odd and each once
 * (PS3.8 §9.3.2.2: so at most 128). Throws PduFault.
 */
export function checkAssociate(pdu: Buffer): CheckedAssociate {
  const isRequest = pdu[0] === PDU['A-ASSOCIATE-RQ'];
  const begin = PDU_HEADER + ASSOCIATE_FIELDS;
  let application: Item | undefined;
  let user: Item | undefined;
  const contexts = new Map<number, Item>();
  for (const item of items(pdu, begin, pdu.length)) {
    if (item.type === ITEM.application) application = once(application, item);
    else if (item.type === ITEM.user) user = once(user, item);
    else if (item.type === (isRequest ? ITEM.proposed : ITEM.accepted)) {
      const id = pdu[item.value] ?? 0;
      if (item.end - item.value < 4 || id % 2 === 0 || contexts.has(id)) {
        throw new PduFault('invalid parameter value', 'a presentation context with an id that is even or there twice');
      }
      checkContext(pdu, item, isRequest);
      contexts.set(id, item);
    }
  }
  if (user !== undefined) checkUser(pdu, user);
  const refused =
    (pdu.readUInt16BE(PDU_HEADER) & 1) === 0
      ? 'protocol version not supported'
      : application === undefined || text(pdu, application) !== APPLICATION_CONTEXT
        ? 'application context not supported'
        : undefined;
  const ordered = [...contexts].toSorted(([a], [b]) => a - b).map(([, item]) => item);
  const kept = [application, ...ordered, user].filter((item) => item !== undefined);
  const checked = Buffer.concat([pdu.subarray(0, begin), ...kept.map(({ start, end }) => pdu.subarray(start, end))]);
  checked.writeUInt32BE(checked.length - PDU_HEADER, 2);
  return { pdu: checked, refused };
}

function once(earlier: Item | undefined, item: Item): Item {
  if (earlier !== undefined) throw new PduFault('unexpected parameter', 'an item is there twice');
  return item;
}

function checkContext(pdu: Buffer, context: Item, isRequest: boolean): void {
  // What stands in a context that was not accepted means nothing (PS3.8 §9.3.3.2).
  if (!isRequest && pdu[context.value + 2] !== 0) return;
  const [first, ...others] = items(pdu, context.value + 4, context.end);
  const well = isRequest
    ? first?.type === ITEM.abstract &&
      others.every(({ type }) => type === ITEM.transfer) &&
      others.length <= MOST_TRANSFER_SYNTAXES
    : first?.type === ITEM.transfer && others.length === 0;
  if (!well) throw new PduFault('invalid parameter value', 'a presentation context without its syntaxes');
}

/** User items whose inner lengths matter (PS3.7 §D.3.3). */
function checkUser(pdu: Buffer, user: Item): void {
  for (const { type, value, end } of items(pdu, user.value, user.end)) {
    const length = end - value;
    const inner = (at: number): number => (at + 2 <= end ? 2 + pdu.readUInt16BE(at) : Number.POSITIVE_INFINITY);
    const wanted =
      type === ITEM.maximumLength || type === ITEM.asynchronous
        ? 4
        : type === ITEM.role
          ? inner(value) + 2
          : type === ITEM.identityAnswer
            ? inner(value)
            : type === ITEM.identity
              ? 2 + inner(value + 2) + inner(value + 2 + inner(value + 2))
              : length;
    if (length !== wanted) throw new PduFault('invalid parameter value', 'a user item of another length');
  }
}

function text(pdu: Buffer, { value, end }: Item): string {
  let last = end;
  while (last > value && (pdu[last - 1] === 0 || pdu[last - 1] === 0x20)) last -= 1;
  return pdu.toString('latin1', value, last);
}
