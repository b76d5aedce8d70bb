/**
 * Owns the packs of a storage folder: where small blobs go, with one write past the page cache and none of a file's own bookkeeping, and how
 * they are read and removed there. The space of a pack is asked of the file system before, and that of a removed blob is given back to it; a
 * pack in which nothing is left is removed. A pack that may hold provisional blobs has a marker: a restart looks through those alone.
 */

import { randomBytes, randomUUID } from 'node:crypto';
import { closeSync, constants, promises as fs, fstatSync, openSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { asError, IsenError } from '../errors.ts';
import { log } from '../log.ts';
import { codeOf, openFd, readAll, writeAll, writeError } from './descriptors.ts';
import { giveSpaceBack, hasFileSpace } from './file-space.ts';
import { Handles } from './handles.ts';
import {
  isTrailerOf,
  LARGEST_PACKED,
  nameAt,
  PACK,
  PACKABLE,
  type Place,
  placeOf,
  readHead,
  SETTLED,
  settledBytes,
  spanOf,
  TRAILER,
  wholePages,
  writeEnd,
} from './pack-format.ts';
import { makePack } from './pack-making.ts';
import { blobsInPack } from './pack-scan.ts';
import type { PackSpace } from './pack-thread.ts';
import { PackTouches } from './pack-touches.ts';
import { allocatePages, isPageAligned, PAGE } from './pages.ts';
import type { ByteRange, LentRoom, PackedBatch } from './storage.ts';

/** Milliseconds until making a pack is tried again. */
const RETRY = 60_000;

/** Packs that blobs are added to: synchronous writes to one file wait for each other. */
const SIDE_BY_SIDE = 4;

/** Bytes on the disk from which a pack is not looked through for what is left in it. */
const NEARLY_EMPTY = 64 << 10;

/** When a pack was settled that others have changed. */
const LONG_AGO = 1;

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
  readonly #handles: Handles;
  readonly #open = new Map<string, OpenPack>();
  readonly #reserved = new Map<string, Reserved>();
  readonly #touches = new PackTouches();
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

  /** Whether there is a pack to add to. */
  get isReady(): boolean {
    return this.#current.length > 0 || this.#next !== undefined;
  }

  /** Space for blobs of these sizes, one behind the other; undefined where there is none now. */
  reserve(sizes: readonly number[]): PackedBatch | undefined {
    if (sizes.some((size) => size < 1 || size > LARGEST_PACKED)) return undefined;
    const pack = this.#room(sizes.reduce((sum, size) => sum + spanOf(size), 0));
    if (pack === undefined) return undefined;
    this.#touches.begin(pack.name, pack.fd);
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

  /** Space for one blob or more, that somebody else names; undefined where there is none now. */
  lend(most: number): LentRoom | undefined {
    const pack = this.#room(spanOf(LARGEST_PACKED));
    if (pack === undefined) return undefined;
    this.#touches.begin(pack.name, pack.fd);
    pack.writing += 1;
    const { at } = pack;
    const end = Math.min(at + most, PACKABLE);
    pack.at = end;
    const release = (blobs: readonly string[]): void => {
      for (const uuid of blobs) pack.provisional.add(uuid);
      const last = placeOf(blobs.at(-1) ?? '');
      const next = last === undefined ? at : last.at + spanOf(last.size);
      // Behind it something else may lie by now.
      const isLast = pack.at === end;
      if (isLast) pack.at = next;
      if (isLast || next === end) this.#written(pack);
      else {
        this.#settling = this.#settling
          .then(async () => this.#punch(pack.fd, next, end - next))
          .catch((thrown: unknown) => log.generic.warn({ err: thrown }, 'room that was not used stays taken'))
          .then(() => this.#written(pack));
      }
    };
    const abandon = (): void => {
      // Its marker stays.
      pack.provisional.add('');
      this.#written(pack);
    };
    return { space: pack.space, pack: pack.name, at, end, release, abandon };
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
      await this.#touches.look(place.pack, fd);
      const changed = this.#touches.byOthers(place.pack);
      return { size: place.size, changed: changed ?? 0, untouched: changed === undefined };
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
      await this.#touches.look(place.pack, fd);
      this.#touches.begin(place.pack, fd);
      try {
        // First of all it is not there any more, for whoever reads it meanwhile.
        const zeroed = await writeAll(fd, [Buffer.alloc(PAGE)], place.at + span - PAGE).catch(asError);
        const isPunched = await this.#punch(fd, place.at, span);
        // On a full disk that copies what is written over, the hole alone does it.
        if (zeroed !== undefined && !isPunched) throw zeroed;
      } finally {
        this.#touches.end(place.pack);
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
    // What settles may have more to be settled.
    for (let settling; settling !== this.#settling; ) {
      settling = this.#settling;
      await settling;
    }
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
    const full = this.#current.filter((pack) => pack.at + size > PACKABLE);
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
    if (!hasFileSpace() || this.#making !== undefined || performance.now() < this.#pause) return;
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
    const name = randomBytes(4).toString('hex');
    const path = this.#pathOf(name);
    const paths = { root: this.#root, markers: this.#markers, pack: path, marker: this.#markerOf(name) };
    const made = await makePack(paths, this.#sync);
    if (made === undefined) return undefined;
    const { secret, fd, flags } = made;
    const space = { path, flags, secret: secret.toString('hex') };
    const state = { at: PAGE, writing: 0, full: false, settled: false, ended: false };
    const pack = { name, space, secret, fd, plain: undefined, ...state, provisional: new Set<string>() };
    this.#open.set(name, pack);
    this.#touches.note(name);
    return pack;
  }

  /** Gives the space of a blob back; whether the file system took it. */
  async #punch(fd: number, at: number, size: number): Promise<boolean> {
    if (await giveSpaceBack(fd, at, size)) return true;
    // Its trailer is gone all the same: the space alone is lost, for as long as the pack is there.
    log.generic.warn('the file system took the space of a removed file not back');
    return false;
  }

  /** Somebody has ended writing to a pack. */
  #written(pack: OpenPack): void {
    pack.writing -= 1;
    this.#touches.end(pack.name);
    this.#settle(pack);
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
    await this.#touches.look(name, file.fd);
    this.#touches.begin(name, file.fd);
    try {
      await file.truncate(size);
      await this.#stamp(file, name);
      if (this.#sync) await file.sync();
    } finally {
      this.#touches.end(name);
      await file.close();
    }
  }

  /** Has a pack say that all changes until now were this server's, if they were. */
  async #stamp(file: FileHandle, name: string): Promise<void> {
    await file.write(
      settledBytes(this.#touches.byOthers(name) === undefined ? Date.now() : LONG_AGO),
      0,
      SETTLED.size,
      SETTLED.at,
    );
    this.#late.delete(name);
  }

  /** The same of one that was settled before; another node may still add to one that was not. */
  async #stampAgain(file: FileHandle, name: string): Promise<void> {
    const page = Buffer.alloc(PAGE);
    if (!(await readAll(file.fd, page, 0)) || (readHead(page)?.settled ?? 0) === 0) return;
    await this.#touches.look(name, file.fd);
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
    this.#touches.forget(name);
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
      await this.#touches.look(name, fd);
      this.#touches.note(name);
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
