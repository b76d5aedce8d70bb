/**
 * Owns what one line is fed with: entries taken from a queue a little ahead of their sending, with what the index knows of their
 * instances, one question for all of them.
 */

import type { Database, Found } from '../database/database.ts';
import { DICOM_ATTACHMENT } from '../database/database.ts';
import type { Body } from '../dicom/modification.ts';
import { receivedAt } from '../ingest/header.ts';
import type { Transcoder } from '../ingest/transcoder.ts';
import type { Outgoing } from '../scu/send.ts';
import { readContent } from '../storage/content.ts';
import { checkIntact, proven } from '../storage/intact.ts';
import type { Storage } from '../storage/storage.ts';
import type { Modifier } from './modifier.ts';
import { type Order, orderOf } from './order.ts';
import type { Entry, Queue } from './queue.ts';

/** An entry with what is to be sent (nothing but the order where it tells of a change), or why it cannot be. */
export interface Ready {
  readonly entry: Entry;
  readonly order: Order;
  readonly outgoing: Outgoing | undefined;
  /** Empty where there is something to be sent. */
  readonly problem: string;
}

export interface FeedSource {
  readonly queue: Queue;
  readonly database: Pick<Database, 'find'>;
  readonly storage: Pick<Storage, 'read' | 'stream' | 'state'>;
  readonly transcoder: Pick<Transcoder, 'transcode'>;
  readonly modifier: Pick<Modifier, 'changed'>;
}

/** Entries of one queue for one line. */
export class Feed {
  readonly #source: FeedSource;
  readonly #queue: string;
  /** Entries to take at once, as things are. */
  readonly #limit: () => number;
  readonly #giveBack: (entries: readonly Entry[]) => Promise<void>;
  readonly #ready: Ready[] = [];
  #taking: Promise<void> | undefined;
  /** Ids that were withdrawn while entries were being taken, perhaps they. */
  readonly #withdrawn = new Set<string>();
  #ended = false;

  /** `giveBack` lets those wait again that were taken in vain; it does so until that is durable. */
  constructor(
    source: FeedSource,
    queue: string,
    limit: () => number,
    giveBack: (entries: readonly Entry[]) => Promise<void>,
  ) {
    this.#source = source;
    this.#queue = queue;
    this.#limit = limit;
    this.#giveBack = giveBack;
  }

  /** The next entry, or undefined when none is due. Throws as the queue and the index do. */
  async next(): Promise<Ready | undefined> {
    if (this.#ready.length === 0) await this.#take();
    const next = this.#ready.shift();
    // Its failure is met by who needs what it takes.
    if (next !== undefined && this.#ready.length <= this.#limit() / 2) this.#take().catch(() => {});
    return next;
  }

  /** Those that come after, as far as they are here. */
  get ahead(): readonly Ready[] {
    return this.#ready;
  }

  /** An entry is not to be sent any more, as far as it was not handed out. */
  async withdraw(id: string): Promise<void> {
    if (this.#taking !== undefined) this.#withdrawn.add(id);
    const at = this.#ready.findIndex(({ entry }) => entry.id === id);
    if (at < 0) return;
    const [withdrawn] = this.#ready.splice(at, 1);
    // Where the queue forgets that it was called off, or was another one of the same name, nobody else may take it until it is given back.
    if (withdrawn !== undefined) await this.#giveBack([withdrawn.entry]);
  }

  /** Takes no more; answers what was taken and not handed out. */
  async end(): Promise<readonly Ready[]> {
    this.#ended = true;
    await this.#taking?.catch(() => {});
    return this.#ready.splice(0);
  }

  #take(): Promise<void> {
    if (this.#ended) return Promise.resolve();
    this.#taking ??= this.#taken().finally(() => {
      this.#taking = undefined;
      this.#withdrawn.clear();
    });
    return this.#taking;
  }

  async #taken(): Promise<void> {
    const entries = await this.#source.queue.take(this.#queue, this.#limit());
    if (entries.length === 0) return;
    const orders = entries.map(({ value }) => orderOf(value));
    let found: ReadonlyMap<string, Found>;
    try {
      const named = orders.flatMap((order) =>
        order === undefined || order.change !== undefined ? [] : order.instance,
      );
      const ids = [...new Set(named)];
      const instances = ids.length === 0 ? [] : await this.#source.database.find({ level: 'Instance', ids });
      found = new Map(instances.map((each) => [each.id, each]));
    } catch (thrown) {
      // They were taken all the same, and must not stay so.
      await this.#giveBack(entries);
      throw thrown;
    }
    const withdrawn = new Set(this.#withdrawn);
    for (const [index, entry] of entries.entries()) {
      if (withdrawn.has(entry.id)) continue;
      const order = orders[index];
      if (order === undefined) {
        this.#ready.push({ entry, order: { instance: '' }, outgoing: undefined, problem: 'the entry cannot be read' });
        continue;
      }
      if (order.change !== undefined) {
        this.#ready.push({ entry, order, outgoing: undefined, problem: '' });
        continue;
      }
      const instance = found.get(order.instance);
      const outgoing = instance && this.#outgoing(instance, order);
      const lost = instance === undefined ? 'the instance is not stored any more' : 'its SOP class is not known';
      const problem = outgoing === undefined ? lost : '';
      this.#ready.push({ entry, order, outgoing, problem });
    }
    await this.#giveBack(entries.filter(({ id }) => withdrawn.has(id)));
  }

  #outgoing(instance: Found, { transcode, modification }: Order): Outgoing | undefined {
    const outgoing = outgoingOf(this.#source, instance, transcode);
    if (outgoing === undefined || modification === undefined) return outgoing;
    const { body, patientName, ...others } = modification;
    const changed = (more: Body): Promise<Uint8Array> => {
      const change = { ...others, body: { ...body, ...more }, ...(patientName !== undefined && { patientName }) };
      return this.#source.modifier.changed(instance.id, { ...change, alike: true }, async (bytes) => bytes);
    };
    // Transcoded first, so that what is lost of the pixels is lost once.
    return { ...outgoing, changed: () => changed({}), transcode: (Transcode) => changed({ Transcode }) };
  }
}

/** A stored instance as it can be sent; undefined for one without a file, or that does not say what it is. */
export function outgoingOf(
  { storage, transcoder }: Pick<FeedSource, 'storage' | 'transcoder'>,
  { attachments, metadata, tags }: Found,
  wanted?: string,
): Outgoing | undefined {
  const attachment = attachments.find(({ contentType }) => contentType === DICOM_ATTACHMENT);
  const sopClassUid = metadata['SopClassUid']?.value;
  if (attachment === undefined || sopClassUid === undefined) return undefined;
  let checked: Promise<void> | undefined;
  return {
    sopClassUid,
    sopInstanceUid: (tags['0008,0018'] ?? '').trim(),
    transferSyntax: metadata['TransferSyntax']?.value ?? '',
    size: attachment.uncompressedSize,
    async read(start, end, memory) {
      // Beside the first read, and once.
      checked ??= checkIntact(storage, attachment, receivedAt(metadata)).catch((thrown: unknown) => {
        checked = undefined;
        throw thrown;
      });
      return proven(readContent(storage, attachment, { start, end }, memory), checked);
    },
    transcode: (syntax) => transcoder.transcode({ attachment, metadata }, syntax),
    wanted,
  };
}
