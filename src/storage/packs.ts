/**
 * Owns the packs of a storage folder: where small blobs go, with one write past the page cache and none of a file's own bookkeeping, and how
 * they are read and removed there. The space of a pack is asked of the file system before, and that of a removed blob is given back to it; a
 * pack in which nothing is left is removed. A pack that may hold provisional blobs has a marker: a restart looks through those alone.
 */

import { randomBytes, randomUUID } from 'node:crypto';
import { closeSync, constants, promises as fs, fstatSync, openSync, writev } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { asError, IsenError } from '../errors.ts';
import { libc, type Native } from '../libc.ts';
import { log } from '../log.ts';
import { codeOf, openFd, readSome, syncFolder, writeError } from './descriptors.ts';
import { Handles } from './handles.ts';
import {
  blobEndingIn,
  isTrailerOf,
  LARGEST_PACKED,
  nameAt,
  PACK,
  type Place,
  placeOf,
  readHead,
  SETTLED,
  settledBytes,
  spanOf,
  TRAILER,
  wholePages,
  writeEnd,
  writeHead,
} from './pack-format.ts';
import type { PackSpace } from './pack-thread.ts';
import { allocatePages, isPageAligned, PAGE } from './pages.ts';
import type { ByteRange } from './storage.ts';

/** Bytes of the file system that a new pack leaves free. */
const LEAST_FREE = 256 << 20;

/** Milliseconds until making a pack is tried again. */
const RETRY = 60_000;

/** Packs that blobs are added to: synchronous writes to one file wait for each other. */
const SIDE_BY_SIDE = 4;

/** What is given out of a pack: its last page showed that the file system takes space back. */
const END = PACK - PAGE;

/** Bytes on the disk from which a pack is not looked through for what is left in it. */
const NEARLY_EMPTY = 64 << 10;

/** Milliseconds by which the clock of the file system may differ from this one's. */
const CLOCKS = 50;

/** Packs of which is remembered when they were changed here. */
const REMEMBERED = 4096;

/** When a pack was settled that others have changed. */
const LONG_AGO = 1;

/** FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE. */
const PUNCH = 3;

const MARKER = /^pack-([0-9a-f]{8})$/;

/** A pack that blobs are added to, or were and have not all been kept. */
interface OpenPack {
  readonly name: string;
  readonly space: PackSpace;
  readonly secret: Buffer;
  /** For bytes in whole pages of memory, and (opened when there are some) for others. */
  readonly fd: number;
  plain: number | undefined;
  /** Bytes given out. */
  at: number;
  /** Blobs that are being written. */
  writing: number;
  full: boolean;
  settled: boolean;
  /** It was cut as well. */
  ended: boolean;
  readonly provisional: Set<string>;
}

/** Space for a batch of blobs, which is written by somebody else. */
export interface PackedBatch {
  readonly space: PackSpace;
  readonly blobs: readonly { readonly uuid: string; readonly at: number }[];
  /** Whoever writes there is done, or has given up. */
  release(): void;
}

/** A blob whose place nobody has written to. */
interface Reserved {
  readonly pack: OpenPack;
  readonly place: Place;
}

export interface PacksOptions {
  /** The folder of blobs. */
  readonly root: string;
  /** The folder of markers; is there. */
  readonly markers: string;
  /** Whether writing waits for the disk. */
  readonly sync: boolean;
}

export class Packs {
  readonly #root: string;
  readonly #markers: string;
  readonly #sync: boolean;
  readonly #fallocate: Native | undefined = libc('int fallocate(int, int, int64_t, int64_t)', 'packs of small files');
  readonly #handles: Handles;
  readonly #open = new Map<string, OpenPack>();
  readonly #reserved = new Map<string, Reserved>();
  /** When packs were changed by this process, or settled by an earlier one (0: nobody knows); the one that was asked about longest ago first. */
  readonly #changed = new Map<string, number>();
  /** How many changes of packs are under way here. */
  readonly #changing = new Map<string, number>();
  /** Packs that somebody else has changed, and when. */
  readonly #suspect = new Map<string, number>();
  /** Packs that were changed here after they were settled. */
  readonly #late = new Set<string>();
  readonly #scratch: SharedArrayBuffer[] = [];
  #current: readonly OpenPack[] = [];
  #next: OpenPack | undefined;
  #making: Promise<void> | undefined;
  #settling: Promise<void> = Promise.resolve();
  #pause = 0;
  #closed = false;

  constructor({ root, markers, sync }: PacksOptions) {
    this.#root = root;
    this.#markers = markers;
    this.#sync = sync;
    this.#handles = new Handles(async (name) => {
      try {
        return await openFd(this.#pathOf(name), constants.O_RDWR);
      } catch (thrown) {
        // What can only be read can still be read.
        if (!['EROFS', 'EACCES', 'EPERM'].includes(codeOf(thrown))) throw thrown;
        return openFd(this.#pathOf(name), constants.O_RDONLY);
      }
    });
  }

  /** Makes the first pack. Without any, blobs are given no space. */
  async open(): Promise<void> {
    this.#make();
    await this.#making;
  }

  /** Space for blobs of these sizes, one behind the other; undefined where there is none now. */
  reserve(sizes: readonly number[]): PackedBatch | undefined {
    if (sizes.some((size) => size < 1 || size > LARGEST_PACKED)) return undefined;
    const pack = this.#room(sizes.reduce((sum, size) => sum + spanOf(size), 0));
    if (pack === undefined) return undefined;
    this.#begin(pack.name, pack.fd, this.#changed.get(pack.name) ?? 0);
    pack.writing += 1;
    const blobs = sizes.map((size) => {
      const { at } = pack;
      pack.at += spanOf(size);
      const uuid = nameAt({ pack: pack.name, at, size }, randomUUID());
      pack.provisional.add(uuid);
      return { uuid, at };
    });
    let released = false;
    const release = (): void => {
      if (!released) this.#written(pack);
      released = true;
    };
    return { space: pack.space, blobs, release };
  }

  /** A name for a blob of this size, for which there is space; to be put at once. */
  name(size: number): string | undefined {
    const [blob] = this.reserve([size])?.blobs ?? [];
    const place = blob && placeOf(blob.uuid);
    const pack = place && this.#open.get(place.pack);
    if (blob === undefined || place === undefined || pack === undefined) return undefined;
    this.#reserved.set(blob.uuid, { pack, place });
    return blob.uuid;
  }

  /** Whether it is a name of {@link name} that nobody has put yet. */
  isReserved(uuid: string): boolean {
    return this.#reserved.has(uuid);
  }

  /** Writes a blob to its place. Throws as Storage.put does; what was written then is to be removed. */
  async put(uuid: string, bytes: Uint8Array): Promise<void> {
    const reserved = this.#reserved.get(uuid);
    if (reserved === undefined || reserved.place.size !== bytes.length)
      throw new IsenError('CannotWriteFile', 'this name was not given for these bytes');
    this.#reserved.delete(uuid);
    const { pack, place } = reserved;
    const scratch = this.#scratch.pop() ?? allocatePages(2 * PAGE);
    try {
      const isDirect = (pack.space.flags & (constants.O_DIRECT ?? 0)) !== 0;
      const whole = wholePages(bytes.length);
      const end = writeEnd(Buffer.from(scratch), pack.secret, uuid, bytes);
      const { path, flags } = pack.space;
      let { fd } = pack;
      if (isDirect && whole > 0 && !isPageAligned(bytes)) {
        pack.plain ??= openSync(path, flags & ~(constants.O_DIRECT ?? 0));
        fd = pack.plain;
      }
      await writeAll(fd, whole > 0 ? [bytes.subarray(0, whole), end] : [end], place.at);
    } finally {
      this.#scratch.push(scratch);
      this.#written(pack);
    }
  }

  /** It is provisional no more. */
  keep(uuid: string): void {
    const pack = this.#open.get(uuid.slice(0, 8));
    if (pack?.provisional.delete(uuid)) this.#forget(pack);
  }

  /**
   * Bytes of a blob, in `memory` where that is given and large enough; undefined where no pack has it. Throws BadRange, and CorruptedFile for
   * more than there are.
   */
  async read(uuid: string, range?: ByteRange, memory?: Uint8Array): Promise<Uint8Array | undefined> {
    const place = placeOf(uuid);
    if (place === undefined) return undefined;
    return this.#with(place, async (fd) => {
      const { start, end } = range ?? { start: 0, end: place.size };
      if (start < 0 || start > end) throw new IsenError('BadRange');
      if (end > place.size && (await this.#isThere(fd, uuid, place)))
        throw new IsenError('CorruptedFile', `the stored file ${uuid} is shorter than indexed`);
      const size = end - start;
      // A whole one is read with its trailer.
      const more = end === place.size ? spanOf(place.size) - end : 0;
      const given = memory !== undefined && memory.length >= size ? memory : new Uint8Array(size + more);
      const all = given.subarray(0, given.length >= size + more ? size + more : size);
      if (!(await readAll(fd, all, place.at + start))) return undefined;
      const isThere =
        all.length > size
          ? isTrailerOf(Buffer.from(all.buffer, all.byteOffset + all.length - TRAILER, TRAILER), uuid)
          : // In this order: what was there after it was read was there while it was.
            await this.#isThere(fd, uuid, place);
      return isThere ? all.subarray(0, size) : undefined;
    });
  }

  /** Whether the pack of a blob ends before it: then it was not removed, but cut off. */
  async isCut(uuid: string): Promise<boolean> {
    const place = placeOf(uuid);
    if (place === undefined) return false;
    const isCut = await this.#with(place, async (fd) => fstatSync(fd).size < place.at + spanOf(place.size));
    return isCut === true;
  }

  /** Size of a blob; undefined where no pack has it. */
  async size(uuid: string): Promise<number | undefined> {
    const place = placeOf(uuid);
    if (place === undefined) return undefined;
    return this.#with(place, async (fd) => ((await this.#isThere(fd, uuid, place)) ? place.size : undefined));
  }

  /** Whether the pack of a blob was changed by this server alone, else when it was not; undefined where no pack has the blob. */
  async state(uuid: string): Promise<{ size: number; changed: number; untouched: boolean } | undefined> {
    const place = placeOf(uuid);
    if (place === undefined) return undefined;
    return this.#with(place, async (fd) => {
      if (!(await this.#isThere(fd, uuid, place))) return undefined;
      this.#suspectIf(place.pack, fd, await this.#changeOf(fd, place.pack));
      const suspect = this.#suspect.get(place.pack);
      return { size: place.size, changed: suspect ?? 0, untouched: suspect === undefined };
    });
  }

  /** Removes a blob, if a pack has it; answers whether one had. */
  async remove(uuid: string): Promise<boolean> {
    const place = placeOf(uuid);
    if (place === undefined) return false;
    const reserved = this.#reserved.get(uuid);
    this.#reserved.delete(uuid);
    if (reserved !== undefined) this.#written(reserved.pack);
    const isOurs = this.#open.get(place.pack)?.provisional.has(uuid) === true;
    const isRemoved = await this.#with(place, async (fd) => {
      if (!isOurs && !(await this.#isThere(fd, uuid, place))) return undefined;
      const span = spanOf(place.size);
      this.#begin(place.pack, fd, await this.#changeOf(fd, place.pack));
      try {
        // First of all it is not there any more, for whoever reads it meanwhile.
        const zeroed = await writeAll(fd, [Buffer.alloc(PAGE)], place.at + span - PAGE).catch(asError);
        const isPunched = await this.#punch(fd, place.at, span);
        // On a full disk that copies what is written over, the hole alone does it.
        if (zeroed !== undefined && !isPunched) throw zeroed;
      } finally {
        this.#end(place.pack);
      }
      if (this.#open.get(place.pack)?.settled !== false) this.#late.add(place.pack);
      return fstatSync(fd).blocks * 512;
    });
    this.keep(uuid);
    if (isRemoved !== undefined && isRemoved <= NEARLY_EMPTY) {
      this.#settling = this.#settling.then(() => this.#dropIfEmpty(place.pack));
      await this.#settling;
    }
    return isRemoved !== undefined;
  }

  /** The blobs that an earlier run left provisional or kept in the packs that it added to. Asked once. */
  async provisional(): Promise<readonly string[]> {
    const found: string[] = [];
    for (const file of await fs.readdir(this.#markers)) {
      const name = MARKER.exec(file)?.[1];
      if (name === undefined) continue;
      const own = this.#open.get(name)?.provisional;
      try {
        found.push(...(own ?? (await this.#reopen(name))));
      } catch (thrown) {
        log.generic.error({ err: thrown }, `the pack ${name} cannot be looked through: it is left as it is`);
      }
    }
    return found;
  }

  /** Nothing is added any more: what was given out and not used goes back to the file system. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#making;
    for (const pack of [...this.#current, this.#next]) if (pack !== undefined) this.#leave(pack);
    await this.#settling;
    for (const name of this.#late) {
      // Without it the next run reads a blob once to see that it is what was stored.
      const file = await fs.open(this.#pathOf(name), 'r+').catch(() => undefined);
      await (file && this.#stampAgain(file, name).catch(() => {}));
      await file?.close();
    }
    this.#handles.close();
  }

  #pathOf(name: string): string {
    return join(this.#root, 'packs', name.slice(0, 2), name);
  }

  #markerOf(name: string): string {
    return join(this.#markers, `pack-${name}`);
  }

  /** A pack that has `size` bytes left, and of these the one that is written to least. */
  #room(size: number): OpenPack | undefined {
    if (this.#closed) return undefined;
    const full = this.#current.filter((pack) => pack.at + size > END);
    if (full.length > 0) this.#current = this.#current.filter((pack) => !full.includes(pack));
    for (const pack of full) this.#leave(pack);
    const least = Math.min(...this.#current.map(({ writing }) => writing));
    const isMoreWanted = least > 0 && this.#current.length < SIDE_BY_SIDE;
    if (isMoreWanted && this.#next !== undefined) {
      this.#current = [...this.#current, this.#next];
      this.#next = undefined;
      return this.#current.at(-1);
    }
    if (this.#next === undefined && (isMoreWanted || this.#current.some(({ at }) => at > PACK / 2))) this.#make();
    return this.#current.find(({ writing }) => writing === least);
  }

  #make(): void {
    if (this.#fallocate === undefined || this.#making !== undefined || performance.now() < this.#pause) return;
    this.#making = this.#made()
      .then(
        (pack) => {
          this.#next = pack;
          if (pack === undefined) this.#pause = performance.now() + RETRY;
        },
        (thrown: unknown) => {
          log.generic.warn({ err: thrown }, 'small files get files of their own: no pack can be made for them');
          this.#pause = performance.now() + RETRY;
        },
      )
      .finally(() => {
        this.#making = undefined;
      });
  }

  /** A new pack; undefined where the file system cannot have any. */
  async #made(): Promise<OpenPack | undefined> {
    const { bavail, bsize } = await fs.statfs(this.#root);
    if (bavail * bsize < LEAST_FREE + PACK) throw new IsenError('FullStorage');
    const name = randomBytes(4).toString('hex');
    const path = this.#pathOf(name);
    const secret = randomBytes(16);
    let file: FileHandle | undefined;
    let opened: { readonly fd: number; readonly flags: number } | undefined;
    try {
      await (await fs.open(this.#markerOf(name), 'w')).close();
      const made = await fs.mkdir(dirname(path), { recursive: true });
      file = await fs.open(path, 'wx', 0o644);
      const isTaken = await this.#space(file.fd, 0, 0, PACK);
      if (!isTaken || !(await this.#space(file.fd, PUNCH, END, PAGE))) {
        log.generic.debug(
          'the file system has no packs of small files: it does not give space before, or take it back',
        );
        await this.#drop(name);
        return undefined;
      }
      const page = Buffer.from(allocatePages(PAGE));
      writeHead(page, secret);
      opened = await this.#begun(path, page);
      if (this.#sync) {
        await file.sync();
        const above = made === undefined ? [] : [dirname(dirname(path)), this.#root];
        for (const folder of [dirname(path), ...above, this.#markers]) await syncFolder(folder);
      }
    } catch (thrown) {
      if (opened !== undefined) closeSync(opened.fd);
      // One of that name that was there before is another's.
      if (codeOf(thrown) === 'EEXIST') await fs.rm(this.#markerOf(name), { force: true });
      else await this.#drop(name);
      throw thrown;
    } finally {
      await file?.close();
    }
    const { fd, flags } = opened;
    const pack: OpenPack = {
      name,
      space: { path, flags, secret: secret.toString('hex') },
      secret,
      fd,
      plain: undefined,
      at: PAGE,
      writing: 0,
      full: false,
      settled: false,
      ended: false,
      provisional: new Set(),
    };
    this.#open.set(name, pack);
    this.#touch(name);
    return pack;
  }

  /** Opens a new pack to be added to, past the page cache where that can be, and writes its first page. */
  async #begun(path: string, page: Uint8Array): Promise<{ readonly fd: number; readonly flags: number }> {
    const plain = constants.O_WRONLY | (this.#sync ? constants.O_DSYNC : 0);
    for (const flags of [plain | (constants.O_DIRECT ?? 0), plain]) {
      let fd: number | undefined;
      try {
        fd = openSync(path, flags);
        await writeAll(fd, [page], 0);
        return { fd, flags };
      } catch (thrown) {
        if (fd !== undefined) closeSync(fd);
        if (codeOf(thrown) !== 'EINVAL' || flags === plain) throw thrown;
      }
    }
    throw new IsenError('CannotWriteFile');
  }

  /** fallocate(2): whether the file system did that. */
  #space(fd: number, mode: number, at: number, size: number): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const { async: call } = this.#fallocate ?? {};
      if (call === undefined) resolve(false);
      else call(fd, mode, at, size, (error, answer) => (error ? reject(asError(error)) : resolve(answer === 0)));
    });
  }

  /** Gives the space of a blob back; whether the file system took it. */
  async #punch(fd: number, at: number, size: number): Promise<boolean> {
    if (await this.#space(fd, PUNCH, at, size)) return true;
    // Its trailer is gone all the same: the space alone is lost, for as long as the pack is there.
    log.generic.warn('the file system took the space of a removed file not back');
    return false;
  }

  /** Somebody has ended writing to a pack. */
  #written(pack: OpenPack): void {
    pack.writing -= 1;
    this.#end(pack.name);
    this.#settle(pack);
  }

  #touch(name: string): void {
    this.#changed.delete(name);
    this.#changed.set(name, Date.now());
    const [oldest] = this.#changed.keys();
    if (this.#changed.size > REMEMBERED && oldest !== undefined) this.#changed.delete(oldest);
  }

  /** A pack that was changed later than by this server is not taken at its word any more. */
  #suspectIf(name: string, fd: number, own: number): void {
    if (this.#changing.has(name)) return;
    const { ctimeMs: changed } = fstatSync(fd);
    if (changed <= own + CLOCKS) return;
    this.#suspect.set(name, changed);
    this.#touch(name);
  }

  /** Begins with a change: from now on the time of the last one says nothing of what others have done before. */
  #begin(name: string, fd: number, own: number): void {
    this.#suspectIf(name, fd, own);
    this.#changing.set(name, (this.#changing.get(name) ?? 0) + 1);
  }

  #end(name: string): void {
    const left = (this.#changing.get(name) ?? 1) - 1;
    if (left === 0) this.#changing.delete(name);
    else this.#changing.set(name, left);
    this.#touch(name);
  }

  /** When this server last changed a pack. */
  async #changeOf(fd: number, name: string): Promise<number> {
    const known = this.#changed.get(name);
    if (known !== undefined) return known;
    const page = Buffer.alloc(PAGE);
    const settled = (await readAll(fd, page, 0)) ? (readHead(page)?.settled ?? 0) : 0;
    this.#changed.set(name, settled);
    return settled;
  }

  /** No blob is given space in it any more. */
  #leave(pack: OpenPack): void {
    pack.full = true;
    this.#settle(pack);
  }

  /** A full pack to which nobody writes any more is cut to what was given out of it. */
  #settle(pack: OpenPack): void {
    if (!pack.full || pack.writing > 0 || pack.settled) return;
    pack.settled = true;
    closeSync(pack.fd);
    if (pack.plain !== undefined) closeSync(pack.plain);
    const settling = async (): Promise<void> => {
      if (pack.at === PAGE) return this.#drop(pack.name);
      await this.#cut(pack.name, pack.at);
      pack.ended = true;
      this.#forget(pack);
      await this.#dropIfEmpty(pack.name);
    };
    this.#settling = this.#settling.then(settling).catch((thrown: unknown) => {
      log.generic.error({ err: thrown }, `the pack ${pack.name} could not be ended; the next start repeats it`);
    });
  }

  async #cut(name: string, size: number): Promise<void> {
    const file = await fs.open(this.#pathOf(name), 'r+');
    this.#begin(name, file.fd, await this.#changeOf(file.fd, name));
    try {
      await file.truncate(size);
      await this.#stamp(file, name);
      if (this.#sync) await file.sync();
    } finally {
      this.#end(name);
      await file.close();
    }
  }

  /** Has a pack say that all changes until now were this server's, if they were. */
  async #stamp(file: FileHandle, name: string): Promise<void> {
    await file.write(settledBytes(this.#suspect.has(name) ? LONG_AGO : Date.now()), 0, SETTLED.size, SETTLED.at);
    this.#late.delete(name);
  }

  /** The same of one that was settled before; another node may still add to one that was not. */
  async #stampAgain(file: FileHandle, name: string): Promise<void> {
    const page = Buffer.alloc(PAGE);
    if (!(await readAll(file.fd, page, 0)) || (readHead(page)?.settled ?? 0) === 0) return;
    this.#suspectIf(name, file.fd, await this.#changeOf(file.fd, name));
    await this.#stamp(file, name);
  }

  /** One that holds nothing provisional any more, and gets nothing new, needs no marker. One that stays costs the next start a look. */
  #forget(pack: OpenPack): void {
    if (!pack.ended || pack.provisional.size > 0) return;
    this.#open.delete(pack.name);
    fs.rm(this.#markerOf(pack.name), { force: true }).catch(() => {});
  }

  async #drop(name: string): Promise<void> {
    this.#handles.forget(name);
    this.#open.delete(name);
    this.#changed.delete(name);
    this.#suspect.delete(name);
    this.#late.delete(name);
    await fs.rm(this.#pathOf(name), { force: true });
    await fs.rm(this.#markerOf(name), { force: true });
  }

  /** Removes a pack in which nothing is left. Never throws: one that stays costs nothing but its name. */
  async #dropIfEmpty(name: string): Promise<void> {
    if (this.#open.get(name)?.settled === false) return;
    try {
      const left = await this.#with({ pack: name }, async (fd) => {
        const head = Buffer.alloc(PAGE);
        const { size, blocks } = fstatSync(fd);
        // Another node may still add to one that is not settled, and so not cut.
        const isSettled = size < PACK && (await readAll(fd, head, 0)) && (readHead(head)?.settled ?? 0) > 0;
        return isSettled && blocks * 512 <= NEARLY_EMPTY ? (await this.#blobsOf(name, true)).length : undefined;
      });
      if (left === 0) await this.#drop(name);
    } catch (thrown) {
      log.generic.warn({ err: thrown }, `the empty pack ${name} stays`);
    }
  }

  /** Takes over a pack of an earlier run; answers the blobs in it. */
  async #reopen(name: string): Promise<readonly string[]> {
    const head = await this.#with({ pack: name }, async (fd) => {
      const page = Buffer.alloc(PAGE);
      await readAll(fd, page, 0);
      return page;
    });
    const blobs = head === undefined ? [] : await this.#blobsOf(name);
    if (blobs.length === 0) {
      const isDamaged = head !== undefined && (await this.#blobsOf(name, true)).length > 0;
      if (isDamaged)
        log.generic.error(
          `the beginning of the pack ${name} is damaged: it is left as it is, and what is in it is read`,
        );
      else await this.#drop(name);
      return [];
    }
    // What was being written when the run ended.
    await this.#with({ pack: name }, async (fd) => {
      // Of one that was not settled nobody knows who touched it last.
      this.#suspectIf(name, fd, await this.#changeOf(fd, name));
      this.#touch(name);
      let at = PAGE;
      for (const { place } of blobs) {
        if (place.at > at) await this.#punch(fd, at, place.at - at);
        at = place.at + spanOf(place.size);
      }
      await this.#cut(name, at);
      return undefined;
    });
    const provisional = new Set(blobs.map(({ uuid }) => uuid));
    const space = { path: this.#pathOf(name), flags: 0, secret: '' };
    const ended = { name, space, secret: Buffer.alloc(0), fd: -1, plain: undefined, at: PACK, writing: 0 };
    this.#open.set(name, { ...ended, full: true, settled: true, ended: true, provisional });
    return [...provisional];
  }

  /** The blobs that are in a pack, in order; with what only looks like one where `anySecret`. */
  async #blobsOf(name: string, anySecret = false): Promise<{ readonly uuid: string; readonly place: Place }[]> {
    const found: { uuid: string; place: Place }[] = [];
    for await (const blob of blobsInPack(this.#pathOf(name), name, anySecret)) found.push(blob);
    return found;
  }

  /** Does something with a pack that is open; undefined where there is none. */
  async #with<Result>(
    { pack }: Pick<Place, 'pack'>,
    work: (fd: number) => Promise<Result | undefined>,
  ): Promise<Result | undefined> {
    try {
      return await this.#handles.with(pack, work);
    } catch (thrown) {
      if (codeOf(thrown) === 'ENOENT') return undefined;
      throw thrown instanceof IsenError ? thrown : writeError(thrown);
    }
  }

  async #isThere(fd: number, uuid: string, { at, size }: Place): Promise<boolean> {
    const trailer = Buffer.allocUnsafe(TRAILER);
    return (await readAll(fd, trailer, at + spanOf(size) - TRAILER)) && isTrailerOf(trailer, uuid);
  }
}

/** Whether the file at `path` is a pack, by its name and its beginning. Throws as reading it does. */
export async function isPack(path: string): Promise<boolean> {
  if (!/^[0-9a-f]{8}$/.test(basename(path))) return false;
  const file = await fs.open(path, 'r');
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(PAGE), 0, PAGE, 0);
    return readHead(buffer.subarray(0, bytesRead)) !== undefined;
  } finally {
    await file.close();
  }
}

/**
 * The blobs in the pack at `path`, whose name is `name`, in order; where `anySecret`, with what looks like one although it has not the
 * secret of the pack: past the page cache where that can be, as most of a pack may
 * be holes.
 */
export async function* blobsInPack(
  path: string,
  name: string,
  anySecret = false,
): AsyncGenerator<{ readonly uuid: string; readonly place: Place }, void> {
  const file = await openDirect(path);
  try {
    const step = Buffer.from(allocatePages(1 << 20));
    let secret: Buffer | undefined;
    for (let at = 0; ; ) {
      const { bytesRead } = await file.read(step, 0, step.length, at);
      if (bytesRead === 0) return;
      if (at === 0) secret = readHead(step.subarray(0, bytesRead))?.secret;
      if (secret === undefined && !anySecret) return;
      for (let page = 0; page + PAGE <= bytesRead; page += PAGE) {
        const bytes = step.subarray(page, page + PAGE);
        const blob = blobEndingIn(bytes, at + page, name, anySecret ? undefined : secret);
        if (blob !== undefined) yield blob;
      }
      at += bytesRead;
    }
  } finally {
    await file.close();
  }
}

async function openDirect(path: string): Promise<FileHandle> {
  try {
    return await fs.open(path, constants.O_RDONLY | (constants.O_DIRECT ?? 0));
  } catch (thrown) {
    if (codeOf(thrown) !== 'EINVAL') throw thrown;
    return fs.open(path, 'r');
  }
}

/** Fills `bytes` from a place in a file; whether it has so many. */
async function readAll(fd: number, bytes: Uint8Array, position: number): Promise<boolean> {
  for (let at = 0; at < bytes.length; ) {
    const count = await readSome(fd, bytes, at, position + at);
    if (count === 0) return false;
    at += count;
  }
  return true;
}

function writeAll(fd: number, pages: readonly Uint8Array[], position: number): Promise<void> {
  const size = pages.reduce((sum, page) => sum + page.length, 0);
  return new Promise((resolve, reject) => {
    writev(fd, pages, position, (error, count) => {
      if (error) reject(error);
      else if (count < size) reject(new IsenError('CannotWriteFile', `the disk took ${count} of ${size} bytes`));
      else resolve();
    });
  });
}
