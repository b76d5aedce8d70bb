/** Owns the making of one modified or anonymised file: transcoded where that is asked, changed, and never from an altered one. */

import { createHash } from 'node:crypto';
import { type Body, levelsMapped, parseAnonymization, parseModification, type Request } from '../dicom/modification.ts';
import { LEVEL, type Level } from '../dicom/levels.ts';
import { modifyFile, REFERENCES } from '../dicom/modify.ts';
import { type Parsed, parse } from '../dicom/parsing.ts';
import { type DicomFile, readFile } from '../dicom/read.ts';
import { derivedId, type MappedLevel, UidMap, uidKey } from '../dicom/uid-map.ts';
import { textOf } from '../dicom/value.ts';
import { IsenError } from '../errors.ts';
import { md5Each } from '../md5.ts';
import { transcode } from './transcode.ts';

/** What a request asks, as plain data. */
export interface Asked {
  readonly body: Body;
  /** The level at which instances are modified. */
  readonly level: Level;
  /** The name that patients get ('': that of their new PatientID); undefined where it is no anonymisation. */
  readonly patientName?: string;
}

export interface ModifyTask extends Asked {
  /** The whole file. Shared memory is read in place. */
  readonly bytes: Uint8Array;
  /** Lower-case hex that the bytes must have; '' where it is not known. */
  readonly md5: string;
  /** What new identifiers are made from. */
  readonly seed: string;
  /** The set that is changed; undefined for this one file. */
  readonly levels?: readonly MappedLevel[];
  /**
   * Whether it is one of many that are changed alike, each for itself and with this seed: what it refers to becomes what that becomes
   * when it is changed, too.
   */
  readonly alike?: boolean;
  /** Where the changed file is to be, if there is room for it, parsed like a received one; `hash` as in dicom/parsing. */
  readonly into?: { readonly memory: Uint8Array; readonly hash: boolean };
}

/** A changed file: in memory of its own, or so many bytes of what was given. */
export type Modified = { readonly bytes: Uint8Array<ArrayBuffer> } | { readonly size: number; readonly parsed: Parsed };

/** Reads a request. Throws what dicom/modification throws. */
export function requestOf({ body, level, patientName }: Asked): Request {
  return patientName === undefined ? parseModification(body, level) : parseAnonymization(body, patientName);
}

/**
 * The changed file.
 * @throws {IsenError} CorruptedFile for a file that is not the stored one; what transcoding, the values of the request and parsing
 *   what becomes of it throw.
 */
export function modify(task: ModifyTask): Modified {
  const { into, md5 } = task;
  let bytes: Buffer;
  try {
    bytes = changed(task);
  } catch (thrown) {
    // An altered file may fail in any way.
    checkSource(task);
    throw thrown;
  }
  if (into === undefined || bytes.buffer !== into.memory.buffer) {
    checkSource(task);
    // Small buffers lie in a pool that others share.
    const isAlone = bytes.byteLength === bytes.buffer.byteLength;
    return { bytes: isAlone ? (bytes as Uint8Array<ArrayBuffer>) : new Uint8Array(bytes) };
  }
  const size = bytes.length;
  if (!into.hash || md5 === '') {
    checkSource(task);
    return { size, parsed: parse({ bytes, size, hash: into.hash }) };
  }
  const [before = '', after = ''] = md5Each([task.bytes, bytes]);
  if (before !== md5) throw altered();
  return { size, parsed: parse({ bytes, size, hash: true, md5: after }) };
}

const altered = (): IsenError => new IsenError('CorruptedFile', 'the stored file is not the one that was stored');

function checkSource({ bytes, md5 }: ModifyTask): void {
  if (md5 !== '' && createHash('md5').update(bytes).digest('hex') !== md5) throw altered();
}

function changed(task: ModifyTask): Buffer {
  const { bytes, seed } = task;
  const original = readFile(bytes);
  const patientName = task.patientName === '' ? derivedId(seed, valueOf(original, LEVEL.Patient.key)) : undefined;
  const asked = requestOf({ ...task, ...(patientName !== undefined && { patientName }) });
  const levels = task.levels ?? ownLevels(original, asked, task.level);
  const request = task.alike === true ? { ...asked, renamed: renamedBy(asked, task.level) } : asked;
  const memory = task.into?.memory;
  if (request.transcode === undefined) return modifyFile(original, request, new UidMap(seed, levels), memory);
  const quality = request.quality === undefined ? {} : { quality: request.quality };
  // Codecs take no shared memory; a large file is not in any.
  const own = bytes.buffer instanceof SharedArrayBuffer ? Uint8Array.from(bytes) : bytes;
  const transcoded = transcode(own, request.transcode, quality);
  // A lossy one has a random UID, which becomes what the original's becomes: others of the set refer to that.
  const sop = valueOf(original, LEVEL.Instance.key);
  const uid = new UidMap(seed, levels).of(sop, false) ?? sop;
  const lossy: MappedLevel[] = transcoded.lossy
    ? [{ uids: BigUint64Array.of(uidKey(transcoded.sopInstanceUid)), becomes: { uid } }]
    : [];
  return modifyFile(readFile(transcoded.bytes), request, new UidMap(seed, [...lossy, ...levels]), memory);
}

/** The tags whose UIDs become new ones with those of the levels that they name. */
function renamedBy(request: Request, level: Level): ReadonlySet<string> {
  const renewed = levelsMapped(request, level).filter(({ becomes }) => becomes === 'new');
  return new Set(renewed.flatMap(({ level: each }) => REFERENCES[each]));
}

function ownLevels(file: DicomFile, request: Request, level: Level): MappedLevel[] {
  return levelsMapped(request, level).map(({ level: each, becomes }) => ({
    uids: BigUint64Array.of(uidKey(valueOf(file, LEVEL[each].key))),
    becomes,
  }));
}

function valueOf({ dataSet }: DicomFile, tag: string): string {
  const element = dataSet.elements.get(tag);
  return element === undefined ? '' : textOf(dataSet, element).trim();
}
