/**
 * Owns blobs as objects of an S3 engine: `<prefix>ab/cd/<uuid>`, one object a blob, durable when the engine has answered.
 *
 * Nodes share the bucket, so what is provisional belongs to a node: names are given out by the thousand, those of one lot share
 * their first twelve digits, and a lot that may hold provisional blobs has a marker `<prefix>open/<node>/<digits>`. A restart looks
 * at its own markers, and at those of nodes that have been silent for {@link SILENT}.
 */

import { randomBytes, randomUUID } from 'node:crypto';
import { PassThrough, type Readable } from 'node:stream';
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  S3ServiceException,
} from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { asError, IsenError } from '../errors.ts';
import type { BlobState, BlobWriter, ByteRange, Storage } from './storage.ts';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** The digits that the names of one lot share: the first two groups of a UUID. */
const LOT = /^[0-9a-f]{8}-[0-9a-f]{4}$/;

/** Names given out in one lot before the next is begun. */
const LOT_NAMES = 1024;
/** Milliseconds after which the markers of another node are taken for those of a dead one: no upload lasts as long. */
const SILENT = 3_600_000;
/** Bytes of one part of a large blob; the engine takes 10,000 parts. */
const PART = 16 << 20;
/** Requests under way at most; more wait for their turn. */
const SOCKETS = 128;
/** Times that a request is tried. */
const ATTEMPTS = 4;

export interface S3Options {
  readonly bucket: string;
  /** URL of the engine; undefined is Amazon's of the region. */
  readonly endpoint: string | undefined;
  readonly region: string;
  /** Undefined takes what the environment gives (variables, instance role). */
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string } | undefined;
  /** Whether the bucket is part of the host name instead of the path. */
  readonly virtualAddressing: boolean;
  /** Before every key: empty, or ending in a slash. */
  readonly prefix: string;
  /** This node's own name among those that share the bucket; the same after a restart. */
  readonly node: string;
  /** Milliseconds to connect, and of silence in the middle of a request. */
  readonly connectionTimeout: number;
  readonly requestTimeout: number;
}

/** Names that share their first digits. */
interface Lot {
  readonly digits: string;
  /** Its marker is durable (or there is to be none); undefined when that failed and is to be tried again. */
  ready: Promise<void> | undefined;
  readonly marked: boolean;
  /** Names given out and not yet kept or removed; true once something is being put there. */
  readonly provisional: Map<string, boolean>;
  /** Names that it may still give out. */
  names: number;
}

/** Opens a bucket. Throws CannotWriteFile (with what to look at) when the engine does not answer or refuses us. */
export async function openS3(options: S3Options): Promise<Storage> {
  const { bucket: Bucket, prefix } = options;
  const client = new S3Client({
    region: options.region,
    forcePathStyle: !options.virtualAddressing,
    maxAttempts: ATTEMPTS,
    // Engines other than Amazon's know no trailing checksums; the signature covers every byte all the same.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: {
      connectionTimeout: options.connectionTimeout,
      socketTimeout: options.requestTimeout,
      httpAgent: { maxSockets: SOCKETS, keepAlive: true, noDelay: true },
      httpsAgent: { maxSockets: SOCKETS, keepAlive: true, noDelay: true },
    },
    ...(options.endpoint === undefined ? {} : { endpoint: options.endpoint }),
    ...(options.credentials === undefined ? {} : { credentials: options.credentials }),
  });
  try {
    await client.send(new HeadBucketCommand({ Bucket }));
  } catch (thrown) {
    client.destroy();
    const where = options.endpoint ?? `Amazon S3, ${options.region}`;
    const details = `the bucket ${Bucket} at ${where} cannot be used (${asError(thrown).name}): check Endpoint, Bucket, Region and the keys of S3`;
    throw new IsenError('CannotWriteFile', details, { cause: thrown });
  }

  const keyOf = (uuid: string): string => {
    if (!UUID.test(uuid)) throw new IsenError('InexistentFile');
    return `${prefix}${uuid.slice(0, 2)}/${uuid.slice(2, 4)}/${uuid}`;
  };
  const markers = `${prefix}open/`;
  const own = `${markers}${options.node}/`;

  const lots = new Map<string, Lot>();
  const lotOf = (uuid: string): Lot | undefined => lots.get(uuid.slice(0, 13));
  const begin = (): Lot => {
    const random = randomBytes(6).toString('hex');
    const digits = `${random.slice(0, 8)}-${random.slice(8)}`;
    const lot: Lot = { digits, ready: undefined, marked: true, provisional: new Map(), names: LOT_NAMES };
    lots.set(digits, lot);
    // Whoever puts a blob there meets the failure.
    prepared(lot).catch(() => {});
    return lot;
  };
  const prepared = (lot: Lot): Promise<void> => {
    lot.ready ??= client.send(new PutObjectCommand({ Bucket, Key: own + lot.digits, Body: '', ContentLength: 0 })).then(
      () => {},
      (thrown: unknown) => {
        lot.ready = undefined;
        throw thrown;
      },
    );
    return lot.ready;
  };
  let current = begin();
  let next = begin();

  /** Claims a name for the one blob that it was given for, its marker durable. */
  const claim = async (uuid: string): Promise<void> => {
    const lot = lotOf(uuid);
    if (lot?.provisional.get(uuid) !== false) {
      throw new IsenError('CannotWriteFile', 'this name was not given for a new file');
    }
    lot.provisional.set(uuid, true);
    await prepared(lot);
  };
  /** A blob is provisional no more: when it was the last of a lot with no names left, so is the lot. */
  const settle = (uuid: string): void => {
    const lot = lotOf(uuid);
    if (!lot?.provisional.delete(uuid) || lot.provisional.size > 0 || lot.names > 0) return;
    lots.delete(lot.digits);
    if (!lot.marked) return;
    // A marker that stays costs the next start a look at one lot more.
    client.send(new DeleteObjectCommand({ Bucket, Key: own + lot.digits })).catch(() => {});
  };
  const removeObject = async (uuid: string): Promise<void> => {
    const Key = keyOf(uuid);
    await client.send(new DeleteObjectCommand({ Bucket, Key })).catch((thrown: unknown) => {
      if (!isMissing(thrown)) throw unavailable(thrown);
    });
    settle(uuid);
  };

  /** The object, or a range of it. */
  const get = async (uuid: string, range: ByteRange | undefined): Promise<Readable> => {
    const Key = keyOf(uuid);
    if (range !== undefined && (range.start < 0 || range.start > range.end)) throw new IsenError('BadRange');
    try {
      const Range = range === undefined ? {} : { Range: `bytes=${range.start}-${range.end - 1}` };
      const { Body, ContentLength } = await client.send(new GetObjectCommand({ Bucket, Key, ...Range }));
      const body = Body as Readable;
      if (range !== undefined && ContentLength !== range.end - range.start) {
        body.destroy();
        throw shorter(uuid);
      }
      return body;
    } catch (thrown) {
      throw readError(uuid, thrown);
    }
  };
  const stateOf = async (uuid: string): Promise<BlobState> => {
    try {
      const head = await client.send(new HeadObjectCommand({ Bucket, Key: keyOf(uuid) }));
      // Of what was put in one piece the entity tag is the MD5, unless the engine encrypts it.
      const [, md5] = /^"?([0-9a-f]{32})"?$/.exec(head.ETag ?? '') ?? [];
      const changed = head.LastModified?.getTime() ?? 0;
      return { size: head.ContentLength ?? 0, changed, ...(md5 !== undefined && { md5 }) };
    } catch (thrown) {
      throw readError(uuid, thrown);
    }
  };
  const sizeOf = async (uuid: string): Promise<number> => (await stateOf(uuid)).size;
  /** Engines refuse an empty range: only the object's being there is asked. Throws CorruptedFile past its end. */
  const checkEmpty = async (uuid: string, range: ByteRange): Promise<void> => {
    if (range.end > (await sizeOf(uuid))) throw shorter(uuid);
  };
  /** The range, when it is an empty one. */
  const emptyOf = (range: ByteRange | undefined): ByteRange | undefined =>
    range !== undefined && range.start === range.end && range.start >= 0 ? range : undefined;

  async function* list(Prefix: string): AsyncGenerator<{ readonly key: string; readonly modified: number }> {
    let ContinuationToken: string | undefined;
    do {
      const page = await client
        .send(new ListObjectsV2Command({ Bucket, Prefix, ...(ContinuationToken ? { ContinuationToken } : {}) }))
        .catch((thrown: unknown) => {
          throw unavailable(thrown);
        });
      for (const { Key, LastModified } of page.Contents ?? []) {
        if (Key !== undefined) yield { key: Key, modified: LastModified?.getTime() ?? 0 };
      }
      ContinuationToken = page.NextContinuationToken;
    } while (ContinuationToken !== undefined);
  }

  return {
    name() {
      if (current.names === 0) {
        current = next;
        next = begin();
      }
      current.names -= 1;
      const uuid = current.digits + randomUUID().slice(13);
      current.provisional.set(uuid, false);
      return uuid;
    },
    async adopt(uuid) {
      await removeObject(uuid);
      const digits = uuid.slice(0, 13);
      const lot = lots.get(digits) ?? {
        digits,
        ready: Promise.resolve(),
        marked: false,
        provisional: new Map<string, boolean>(),
        names: 0,
      };
      lot.provisional.set(uuid, false);
      lots.set(digits, lot);
    },
    async put(uuid, bytes) {
      const Key = keyOf(uuid);
      try {
        await claim(uuid);
        await client.send(
          new PutObjectCommand({ Bucket, Key, Body: viewOf(bytes), ContentLength: bytes.length, ContentType: TYPE }),
        );
      } catch (thrown) {
        if (thrown instanceof IsenError) throw thrown;
        // It may have arrived all the same. What cannot be removed now is provisional still, and found by the next start.
        await removeObject(uuid).catch(() => {});
        throw unavailable(thrown);
      }
    },
    async create(uuid): Promise<BlobWriter> {
      const Key = keyOf(uuid);
      try {
        await claim(uuid);
      } catch (thrown) {
        throw thrown instanceof IsenError ? thrown : unavailable(thrown);
      }
      const body = new PassThrough({ highWaterMark: PART });
      const upload = new Upload({
        client,
        params: { Bucket, Key, Body: body, ContentType: TYPE },
        partSize: PART,
        queueSize: 2,
      });
      let failure: unknown;
      const done = upload.done().then(
        () => {},
        (thrown: unknown) => {
          failure = thrown;
          body.destroy();
        },
      );
      const abort = async (): Promise<void> => {
        await upload.abort().catch(() => {});
        body.destroy();
        await done;
        await removeObject(uuid);
      };
      const failed = async (): Promise<IsenError> => {
        await abort().catch(() => {});
        return unavailable(failure);
      };
      return {
        abort,
        async write(bytes) {
          if (failure !== undefined) throw await failed();
          // The stream keeps what it is given, and the caller may use its bytes again.
          if (bytes.length === 0 || body.write(Buffer.from(bytes))) return;
          await Promise.race([new Promise((resolve) => body.once('drain', resolve)), done]);
          if (failure !== undefined) throw await failed();
        },
        async finish() {
          body.end();
          await done;
          if (failure !== undefined) throw await failed();
        },
      };
    },
    async keep(uuid) {
      settle(uuid);
    },
    async read(uuid, range) {
      const empty = emptyOf(range);
      if (empty !== undefined) {
        await checkEmpty(uuid, empty);
        return new Uint8Array();
      }
      const body = await get(uuid, range);
      const parts: Uint8Array[] = [];
      try {
        for await (const part of body) parts.push(part as Uint8Array);
      } catch (thrown) {
        throw unavailable(thrown);
      }
      const bytes = Buffer.concat(parts);
      if (range !== undefined && bytes.length !== range.end - range.start) throw shorter(uuid);
      return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
    },
    async stream(uuid, range) {
      const empty = emptyOf(range);
      if (empty !== undefined) {
        await checkEmpty(uuid, empty);
        return new ReadableStream({ start: (controller) => controller.close() });
      }
      const body = await get(uuid, range);
      const parts = body[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
      return new ReadableStream<Uint8Array>(
        {
          async pull(controller) {
            const part = await parts.next();
            if (part.done === true) controller.close();
            else controller.enqueue(part.value);
          },
          cancel() {
            body.destroy();
          },
        },
        { highWaterMark: 0 },
      );
    },
    remove: (uuid) => removeObject(uuid),
    async provisional() {
      const found: string[] = [];
      for await (const { key, modified } of list(markers)) {
        const digits = key.slice(key.lastIndexOf('/') + 1);
        if (!LOT.test(digits) || lots.has(digits)) {
          const lot = lots.get(digits);
          if (lot !== undefined) found.push(...lot.provisional.keys());
          continue;
        }
        if (!key.startsWith(own) && Date.now() - modified < SILENT) continue;
        // No new names in it; its marker is ours from now on.
        const lot: Lot = { digits, ready: Promise.resolve(), marked: true, provisional: new Map(), names: 0 };
        for await (const blob of list(`${prefix}${digits.slice(0, 2)}/${digits.slice(2, 4)}/${digits}`)) {
          const uuid = blob.key.slice(blob.key.lastIndexOf('/') + 1);
          if (UUID.test(uuid)) lot.provisional.set(uuid, true);
        }
        if (lot.provisional.size > 0) {
          lots.set(digits, lot);
          found.push(...lot.provisional.keys());
          if (key.startsWith(own)) continue;
          await client.send(new PutObjectCommand({ Bucket, Key: own + digits, Body: '', ContentLength: 0 }));
        }
        await client.send(new DeleteObjectCommand({ Bucket, Key: key }));
      }
      return found;
    },
    size: (uuid) => sizeOf(uuid),
    state: (uuid) => stateOf(uuid),
    async free() {
      return Number.MAX_SAFE_INTEGER;
    },
    async close() {
      client.destroy();
    },
  };
}

const TYPE = 'application/octet-stream';

/** The same bytes in the form that the client sends without a copy. */
function viewOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function isMissing(thrown: unknown): boolean {
  return thrown instanceof S3ServiceException && thrown.$metadata.httpStatusCode === 404;
}

function readError(uuid: string, thrown: unknown): IsenError {
  if (thrown instanceof IsenError) return thrown;
  if (isMissing(thrown)) {
    return new IsenError('InexistentFile', `the storage holds no file ${uuid}`, { cause: thrown });
  }
  const status = thrown instanceof S3ServiceException ? thrown.$metadata.httpStatusCode : undefined;
  return status === 416 ? shorter(uuid) : unavailable(thrown);
}

const shorter = (uuid: string): IsenError =>
  new IsenError('CorruptedFile', `the stored file ${uuid} is shorter than indexed`);

/** The engine does not answer, or answers with a failure of its own: worth another try. */
function unavailable(thrown: unknown): IsenError {
  if (thrown instanceof IsenError) return thrown;
  return new IsenError('Busy', 'the object storage does not answer', { cause: thrown });
}
