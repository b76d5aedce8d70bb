/** Owns one run of a job: what its kind is given, and the durable state that it leaves when it is broken off. */

import { asIsenError, IsenError } from '../errors.ts';
import type { BlobWriter, Storage } from '../storage/storage.ts';
import { JOBS, type Output, preciseNow, type StoredJob, storedJob } from './job.ts';
import type { Content, JobRun, WorkingKind } from './kinds.ts';
import type { Entry, Queue } from './queue.ts';

/** Milliseconds between two savings of the progress. */
const SAVE = 2000;

/** Milliseconds that a kind may take to end once its signal has aborted. */
const PATIENCE = 5000;

export class Run implements JobRun {
  readonly id: string;
  readonly #queue: Queue;
  readonly #storage: Storage;
  readonly #kind: WorkingKind;
  readonly #aborter = new AbortController();
  readonly #began = preciseNow();
  #job: StoredJob;
  #saved = preciseNow();
  #saving: Promise<void> = Promise.resolve();
  /** Nothing of it is durable any more. */
  #given = false;
  #broken = false;

  constructor(queue: Queue, storage: Storage, kind: WorkingKind, entry: Entry) {
    this.id = entry.id;
    this.#queue = queue;
    this.#storage = storage;
    this.#kind = kind;
    this.#job = storedJob(entry);
  }

  get content(): Content {
    return this.#job.content;
  }

  get state(): unknown {
    return this.#job.state;
  }

  /** The job as it is now. */
  get job(): StoredJob {
    return { ...this.#job, runtime: this.#job.runtime + preciseNow() - this.#began };
  }

  progress(fraction: number): void {
    this.#job = { ...this.#job, progress: Math.min(1, Math.max(0, fraction)) };
    if (preciseNow() - this.#saved < SAVE) return;
    // Whoever misses it sees the next one.
    this.#save().catch(() => {});
  }

  async checkpoint(state: unknown, content: Content = this.#job.content): Promise<void> {
    this.#job = { ...this.#job, state, content };
    await this.#save();
  }

  async output(key: string, of: { readonly type: string; readonly filename: string }): Promise<BlobWriter> {
    await this.#removeOutputs([key]);
    const uuid = this.#storage.name();
    // Known before it is written: a run that follows a crash removes what this one leaves.
    this.#job = { ...this.#job, outputs: { ...this.#job.outputs, [key]: { uuid, ...of } satisfies Output } };
    await this.#save();
    const writer = await this.#storage.create(uuid);
    return {
      write: (bytes) => writer.write(bytes),
      abort: () => writer.abort(),
      finish: async () => {
        await writer.finish();
        await this.#storage.keep(uuid);
      },
    };
  }

  /** It is somebody else's to settle: cancelled, paused or gone. */
  giveUp(): void {
    this.#given = true;
    this.#aborter.abort(new IsenError('CanceledJob'));
  }

  /** The server stops: the job waits for its next start. */
  breakOff(): void {
    this.#broken = true;
    this.#aborter.abort(new IsenError('Busy', 'the server is stopping'));
  }

  /** Runs to the end and settles the job. Throws where the queue or the storage fails: the next start does it again. */
  async run(): Promise<void> {
    const { signal } = this.#aborter;
    const late = (): void => this.#aborter.abort(new IsenError('Timeout', 'the job took too long'));
    const deadline = setTimeout(late, this.#kind.deadline);
    try {
      await this.#removeOutputs(Object.keys(this.#job.outputs));
      const content = await this.#untilAborted(this.#kind.run(this, signal));
      const { error: _, ...job } = this.#job;
      await this.#settle('done', { ...job, content, progress: 1, completed: preciseNow() });
    } catch (thrown) {
      const { code, details } = asIsenError(signal.aborted ? signal.reason : thrown);
      await this.#removeOutputs(Object.keys(this.#job.outputs));
      if (this.#broken) await this.#settle('waiting', this.#job);
      else await this.#settle('failed', { ...this.#job, completed: preciseNow(), error: { code, details } });
    } finally {
      clearTimeout(deadline);
    }
  }

  /** What the kind answers, or the reason of the abortion once it has ended; one that does not hear of it holds nobody up. */
  async #untilAborted(work: Promise<Content>): Promise<Content> {
    const { signal } = this.#aborter;
    let patience: NodeJS.Timeout | undefined;
    let abort = (): void => {};
    const aborted = new Promise<never>((_, reject) => {
      abort = () => {
        patience = setTimeout(() => reject(asIsenError(signal.reason)), PATIENCE);
      };
    });
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    try {
      const content = await Promise.race([work, aborted]);
      signal.throwIfAborted();
      return content;
    } finally {
      clearTimeout(patience);
      signal.removeEventListener('abort', abort);
      work.catch(() => {});
    }
  }

  async #settle(state: 'waiting' | 'failed' | 'done', job: StoredJob): Promise<void> {
    await this.#saving.catch(() => {});
    if (this.#given) {
      await this.#removeOutputs(Object.keys(this.#job.outputs));
      return;
    }
    const value = { ...job, runtime: this.job.runtime };
    const applied = await this.#queue.settle([{ queue: JOBS, id: this.id, state, value, from: ['active'] }]);
    this.#given = true;
    if (applied.length === 0) await this.#removeOutputs(Object.keys(this.#job.outputs));
  }

  async #removeOutputs(keys: readonly string[]): Promise<void> {
    const outputs = { ...this.#job.outputs };
    for (const key of keys) {
      const output = outputs[key];
      if (output !== undefined) await this.#storage.remove(output.uuid);
      delete outputs[key];
    }
    this.#job = { ...this.#job, outputs };
  }

  /** One after the other, each with what is known then. */
  #save(): Promise<void> {
    this.#saved = preciseNow();
    this.#saving = this.#saving
      .catch(() => {})
      .then(async () => {
        if (this.#given) throw new IsenError('CanceledJob');
        const applied = await this.#queue.settle([
          { queue: JOBS, id: this.id, state: 'active', value: this.job, from: ['active'] },
        ]);
        if (applied.length > 0) return;
        this.giveUp();
        throw new IsenError('CanceledJob');
      });
    return this.#saving;
  }
}
