/** Owns the values that SQLite alone is given: what is bound for an attachment, and the JSON that is read back of it. */

import { IsenError } from '../../errors.ts';
import type { Attachment } from '../database.ts';

/** The 16 bytes of a UUID; throws `ParameterOutOfRange` for text that is none. */
export function uuidBytes(uuid: string): Buffer {
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(uuid))
    throw new IsenError('ParameterOutOfRange', 'Not a UUID');
  return Buffer.from(uuid.replaceAll('-', ''), 'hex');
}

/** The bound values of an attachment's columns: uuid, size, md5, compressed_size, compressed_md5, compression. */
export type AttachmentValues = readonly [Buffer, number, Buffer | null, number | null, Buffer | null, number];

const md5Bytes = (md5: string): Buffer | null => (md5 === '' ? null : Buffer.from(md5, 'hex'));

/** Column values of `attachment`; what equals the uncompressed is NULL. */
export function attachmentValues(attachment: Attachment): AttachmentValues {
  const { uuid, uncompressedSize, uncompressedMD5, compressedSize, compressedMD5, compression } = attachment;
  return [
    uuidBytes(uuid),
    uncompressedSize,
    md5Bytes(uncompressedMD5),
    compressedSize === uncompressedSize ? null : compressedSize,
    compressedMD5 === uncompressedMD5 ? null : md5Bytes(compressedMD5),
    compression === 'none' ? 0 : 1,
  ];
}

/** The columns of an attachment as one JSON array, an `AttachmentRow`; `of` is the table's alias. */
export function attachmentJson(of: string, contentType: string): string {
  return `json_array(${contentType}, hex(${of}.uuid), ${of}.size, hex(${of}.md5), ifnull(${of}.compressed_size, ${of}.size),
    hex(ifnull(${of}.compressed_md5, ${of}.md5)), ${of}.compression, ${of}.revision)`;
}
