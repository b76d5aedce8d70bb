/**
 * Owns the command sets of DIMSE messages (PS3.7 §6.3, §9.3, §10.3, annex E): implicit VR little endian, group 0000 only.
 */

import { IsenError } from '../errors.ts';

/** Command Field (0000,0100) of every message (PS3.7 §E.1); a response has bit 15 set, C-CANCEL-RQ is its own. */
export const COMMAND = {
  'C-STORE-RQ': 0x0001,
  'C-STORE-RSP': 0x8001,
  'C-GET-RQ': 0x0010,
  'C-GET-RSP': 0x8010,
  'C-FIND-RQ': 0x0020,
  'C-FIND-RSP': 0x8020,
  'C-MOVE-RQ': 0x0021,
  'C-MOVE-RSP': 0x8021,
  'C-ECHO-RQ': 0x0030,
  'C-ECHO-RSP': 0x8030,
  'N-EVENT-REPORT-RQ': 0x0100,
  'N-EVENT-REPORT-RSP': 0x8100,
  'N-GET-RQ': 0x0110,
  'N-GET-RSP': 0x8110,
  'N-SET-RQ': 0x0120,
  'N-SET-RSP': 0x8120,
  'N-ACTION-RQ': 0x0130,
  'N-ACTION-RSP': 0x8130,
  'N-CREATE-RQ': 0x0140,
  'N-CREATE-RSP': 0x8140,
  'N-DELETE-RQ': 0x0150,
  'N-DELETE-RSP': 0x8150,
  'C-CANCEL-RQ': 0x0fff,
} as const;

/** Values of one command set by keyword. Numbers of US and UL, text without padding of AE, LO and UI; `CommandGroupLength` is the codec's. */
export interface Command {
  readonly CommandField: number;
  readonly AffectedSOPClassUID?: string;
  readonly RequestedSOPClassUID?: string;
  readonly MessageID?: number;
  readonly MessageIDBeingRespondedTo?: number;
  readonly MoveDestination?: string;
  readonly Priority?: number;
  readonly Status?: number;
  readonly ErrorComment?: string;
  readonly ErrorID?: number;
  readonly AffectedSOPInstanceUID?: string;
  readonly RequestedSOPInstanceUID?: string;
  readonly EventTypeID?: number;
  readonly ActionTypeID?: number;
  readonly NumberOfRemainingSuboperations?: number;
  readonly NumberOfCompletedSuboperations?: number;
  readonly NumberOfFailedSuboperations?: number;
  readonly NumberOfWarningSuboperations?: number;
  readonly MoveOriginatorApplicationEntityTitle?: string;
  readonly MoveOriginatorMessageID?: number;
}

/** Bytes of the largest command set that is taken; real ones have some 200. */
export const MAXIMUM_COMMAND = 64 << 10;

/** Command Data Set Type (0000,0800) of a message without data set (PS3.7 §E.1); every other value means that one follows. */
const NO_DATA_SET = 0x0101;
const DATA_SET_FOLLOWS = 0x0001;
const GROUP_LENGTH = 0x0000;
const DATA_SET_TYPE = 0x0800;

type Keyword = keyof Command;

/** Every element of a command that has a meaning here (PS3.7 §E.1), in ascending order: its number in group 0000 and its VR. */
export const COMMAND_ELEMENTS: Readonly<Record<Keyword, readonly [element: number, vr: 'US' | 'UI' | 'AE' | 'LO']>> = {
  AffectedSOPClassUID: [0x0002, 'UI'],
  RequestedSOPClassUID: [0x0003, 'UI'],
  CommandField: [0x0100, 'US'],
  MessageID: [0x0110, 'US'],
  MessageIDBeingRespondedTo: [0x0120, 'US'],
  MoveDestination: [0x0600, 'AE'],
  Priority: [0x0700, 'US'],
  Status: [0x0900, 'US'],
  ErrorComment: [0x0902, 'LO'],
  ErrorID: [0x0903, 'US'],
  AffectedSOPInstanceUID: [0x1000, 'UI'],
  RequestedSOPInstanceUID: [0x1001, 'UI'],
  EventTypeID: [0x1002, 'US'],
  ActionTypeID: [0x1008, 'US'],
  NumberOfRemainingSuboperations: [0x1020, 'US'],
  NumberOfCompletedSuboperations: [0x1021, 'US'],
  NumberOfFailedSuboperations: [0x1022, 'US'],
  NumberOfWarningSuboperations: [0x1023, 'US'],
  MoveOriginatorApplicationEntityTitle: [0x1030, 'AE'],
  MoveOriginatorMessageID: [0x1031, 'US'],
};
const ROWS = Object.entries(COMMAND_ELEMENTS) as [Keyword, (typeof COMMAND_ELEMENTS)[Keyword]][];
const BY_ELEMENT = new Map(ROWS.map(([keyword, [element, vr]]) => [element, { keyword, vr }]));
/** Command Data Set Type stands between Priority and Status. */
const BEFORE_DATA_SET_TYPE = ROWS.filter(([, [element]]) => element < DATA_SET_TYPE);
const AFTER_DATA_SET_TYPE = ROWS.filter(([, [element]]) => element > DATA_SET_TYPE);

/** The most characters of an Error Comment (0000,0902): it is an LO. */
const LONGEST_COMMENT = 64;

/** A command as it came, and whether a data set follows it. */
export interface DecodedCommand {
  readonly command: Command;
  readonly hasDataSet: boolean;
}

/** Whether a command is a response (PS3.7 §E.1: bit 15 of its field). */
export function isResponse(command: Command): boolean {
  return command.CommandField >= 0x8000;
}

/** The bytes of a command set, with Command Group Length and Command Data Set Type. An Error Comment is cut to what its VR holds. */
export function encodeCommand(command: Command, hasDataSet: boolean): Buffer {
  // Every element has at most 64 characters, and there are 20.
  const bytes = Buffer.allocUnsafe(2048);
  let at = 12;
  const put = ([keyword, [element, vr]]: (typeof ROWS)[number]): void => {
    const value = command[keyword];
    if (value === undefined) return;
    at = vr === 'US' ? putNumber(bytes, at, element, Number(value)) : putText(bytes, at, element, vr, String(value));
  };
  BEFORE_DATA_SET_TYPE.forEach(put);
  at = putNumber(bytes, at, DATA_SET_TYPE, hasDataSet ? DATA_SET_FOLLOWS : NO_DATA_SET);
  AFTER_DATA_SET_TYPE.forEach(put);
  bytes.writeUInt32LE(GROUP_LENGTH, 0);
  bytes.writeUInt32LE(4, 4);
  bytes.writeUInt32LE(at - 12, 8);
  return bytes.subarray(0, at);
}

function putNumber(bytes: Buffer, at: number, element: number, value: number): number {
  putHead(bytes, at, element, 2);
  bytes.writeUInt16LE(value, at + 8);
  return at + 10;
}

function putText(bytes: Buffer, at: number, element: number, vr: 'UI' | 'AE' | 'LO', value: string): number {
  const cut = value.slice(0, LONGEST_COMMENT);
  const written = bytes.write(cut, at + 8, 'latin1');
  const odd = written % 2;
  if (odd === 1) bytes[at + 8 + written] = vr === 'UI' ? 0 : 0x20;
  putHead(bytes, at, element, written + odd);
  return at + 8 + written + odd;
}

function putHead(bytes: Buffer, at: number, element: number, length: number): void {
  bytes.writeUInt16LE(0, at);
  bytes.writeUInt16LE(element, at + 2);
  bytes.writeUInt32LE(length, at + 4);
}

/**
 * Reads a command set. Elements without a meaning here, those of other groups among them, are passed over; Command Group Length is not
 * believed. Throws NetworkProtocol for what is none: no Command Field, no Command Data Set Type, a length past the end.
 */
export function decodeCommand(bytes: Buffer): DecodedCommand {
  const command: Partial<Record<Keyword, string | number>> = {};
  let hasDataSet: boolean | undefined;
  let at = 0;
  while (at < bytes.length) {
    if (at + 8 > bytes.length) return malformed('a cut element');
    const group = bytes.readUInt16LE(at);
    const element = bytes.readUInt16LE(at + 2);
    const length = bytes.readUInt32LE(at + 4);
    const value = at + 8;
    if (length > bytes.length - value) return malformed('a length that passes its end');
    at = value + length;
    // DCMTK's programs, and the reference, append what details a failed status.
    if (group !== 0) continue;
    if (element === DATA_SET_TYPE) {
      if (length !== 2) return malformed('a Command Data Set Type of another length');
      hasDataSet = bytes.readUInt16LE(value) !== NO_DATA_SET;
      continue;
    }
    const row = BY_ELEMENT.get(element);
    if (row === undefined || length === 0) continue;
    if (row.vr === 'US') {
      if (length < 2) return malformed('a number of another length');
      command[row.keyword] = bytes.readUInt16LE(value);
    } else command[row.keyword] = text(bytes, value, Math.min(at, value + LONGEST_COMMENT));
  }
  if (command.CommandField === undefined) return malformed('no Command Field');
  if (hasDataSet === undefined) return malformed('no Command Data Set Type');
  return { command: command as unknown as Command, hasDataSet };
}

/** Text without the padding at its edges: spaces, and zeros behind. */
function text(bytes: Buffer, start: number, end: number): string {
  let first = start;
  let last = end;
  while (first < last && bytes[first] === 0x20) first += 1;
  while (last > first && (bytes[last - 1] === 0x20 || bytes[last - 1] === 0)) last -= 1;
  return bytes.toString('latin1', first, last);
}

function malformed(why: string): never {
  throw new IsenError('NetworkProtocol', `a command set with ${why}`);
}
