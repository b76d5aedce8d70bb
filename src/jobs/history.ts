/** Owns the jobs that have ended: how many are remembered, and the outputs that they made. */

import { IsenError } from '../errors.ts';
import { log } from '../log.ts';
import type { Storage } from '../storage/storage.ts';
import { FINISHED, JOBS, type Output, type StoredJob, storedJob, walkJobs } from './job.ts';
import type { Entry, Queue } from './queue.ts';

/** Jobs forgotten in one go. */
const PAGE = 200;

export class History {
  readonly #queue: Queue;
  readonly #storage: Storage;
  readonly #size: number;
  readonly #outputs: number;
  readonly #forgotten: (id: string) => void;
  #trimming: Promise<void> | undefined;
  #again = false;
  #newOutput = false;

  /** Remembers `size` jobs, and the outputs of `outputs` of them; `forgotten` hears of jobs whose entries may still be there. */
  constructor(queue: Queue, storage: Storage, size: number, outputs: number, forgotten: (id: string) => void) {
    this.#queue = queue;
    this.#storage = storage;
    this.#size = size;
    this.#outputs = outputs;
    this.#forgotten = forgotten;
  }

  /** A job has ended, with an output or without. */
  trim(output: boolean): void {
    this.#again = true;
    this.#newOutput ||= output;
    this.#trimming ??= this.#trim()
      .catch((thrown: unknown) => log.jobs.error({ err: thrown }, 'the history of jobs is longer than it should be'))
      .finally(() => {
        this.#trimming = undefined;
      });
  }

  /** Forgets an ended job: first its files, so that a crash in between leaves none. */
  async forget(entry: Entry): Promise<void> {
    for (const { uuid } of Object.values(storedJob(entry).outputs)) await this.#storage.remove(uuid);
    await this.#queue.settle([{ queue: JOBS, id: entry.id, state: 'removed' }]);
    if (storedJob(entry).following?.ending === 'failed') this.#forgotten(entry.id);
  }

  /** Throws InexistentItem where the job is unknown, has not succeeded or has no such output. */
  async withOutput(id: string, key: string): Promise<{ readonly entry: Entry; readonly output: Output }> {
    const [entry] = await this.#queue.list({ queue: JOBS, id, states: ['done'], limit: 1 });
    const outputs = entry === undefined ? {} : storedJob(entry).outputs;
    const output = Object.hasOwn(outputs, key) ? outputs[key] : undefined;
    if (entry === undefined || output === undefined)
      throw new IsenError('InexistentItem', `Job has no such output: ${key}`);
    return { entry, output };
  }

  async removeOutput(id: string, key: string): Promise<void> {
    const { entry } = await this.withOutput(id, key);
    await this.#drop(entry, [key]);
  }

  async close(): Promise<void> {
    await this.#trimming;
  }

  async #trim(): Promise<void> {
    while (this.#again) {
      this.#again = false;
      const counts = await this.#queue.count({ queue: JOBS });
      const ended = counts.reduce((sum, { state, count }) => sum + (FINISHED.includes(state) ? count : 0), 0);
      const limit = Math.min(PAGE, ended - this.#size);
      if (limit > 0) {
        this.#again = true;
        for (const entry of await this.#queue.list({ queue: JOBS, states: FINISHED, limit })) await this.forget(entry);
      } else if (this.#newOutput) {
        this.#newOutput = false;
        await this.#dropOutputs();
      }
    }
  }

  async #dropOutputs(): Promise<void> {
    let kept = 0;
    for await (const entry of walkJobs(this.#queue, ['done'], undefined, true)) {
      const keys = Object.keys(storedJob(entry).outputs);
      if (keys.length > 0 && ++kept > this.#outputs) await this.#drop(entry, keys);
    }
  }

  async #drop(entry: Entry, keys: readonly string[]): Promise<void> {
    const job = storedJob(entry);
    for (const key of keys) {
      const output = job.outputs[key];
      if (output !== undefined) await this.#storage.remove(output.uuid);
    }
    const left = Object.entries(job.outputs).filter(([key]) => !keys.includes(key));
    const value: StoredJob = { ...job, outputs: Object.fromEntries(left) };
    await this.#queue.settle([{ queue: JOBS, id: entry.id, state: 'done', value, from: ['done'] }]);
  }
}
