/**
 * Owns how work leaves the main thread: one Piscina pool around one file of workers/, with typed tasks, a bounded queue
 * whose "full" is an answer, a deadline on every task, and errors that keep their name across the thread.
 */

import { EventEmitter } from 'node:events';
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { Piscina } from 'piscina';
import { type Answer, errorOf } from './answer.ts';
import { asIsenError, IsenError } from './errors.ts';

/** Milliseconds that closing waits at most for threads that still load. */
const LOADING = 10_000;

export interface PoolOptions {
  /** Name of the file in workers/, without its ending. */
  readonly file: string;
  /** Threads; by default one a core. */
  readonly threads?: number;
  /** Tasks that may wait; one more is refused with Busy. */
  readonly queue?: number;
  /** Handed to the worker file as `workerData`. */
  readonly workerData?: unknown;
  /** Milliseconds after which a task's thread is ended and the task fails with Timeout. 0: never. */
  readonly deadline?: number;
}

export interface Pool<Task, Result> {
  /** Throws IsenError: the worker's own, `Busy` when the queue is full, `Timeout` past the deadline. */
  run(task: Task, transfer?: readonly ArrayBuffer[]): Promise<Result>;
  readonly threads: number;
  /** Tasks waiting for a thread. */
  readonly waiting: number;
  /** Finishes what was accepted. */
  close(): Promise<void>;
}

/** Starts a pool. Threads start at once, so that the first request does not pay for them. */
export function createPool<Task, Result>(options: PoolOptions): Pool<Task, Result> {
  const threads = options.threads ?? availableParallelism();
  const piscina = new Piscina<Task, Answer<Result>>({
    filename: new URL(`../workers/${options.file}.js`, import.meta.url).href,
    minThreads: threads,
    maxThreads: threads,
    maxQueue: options.queue ?? 1024,
    concurrentTasksPerWorker: 1,
    // Its histograms cost more than what metrics.ts measures.
    recordTiming: false,
    workerData: options.workerData,
  });
  // A worker that dies rejects its task; the pool starts another by itself.
  piscina.on('error', () => {});
  // Node ends the whole process when a thread is ended in the middle of loading its modules: closing waits for that.
  const loaded = Promise.all(
    piscina.threads.map(
      (thread) =>
        new Promise<void>((resolve) => {
          // Its first message says that it is ready.
          thread.once('message', () => resolve());
          thread.once('exit', () => resolve());
        }),
    ),
  );
  return {
    async run(task, transfer) {
      const { deadline } = options;
      // An emitter and a timer, because AbortSignal.timeout costs several times as much, for every task.
      const signal = deadline ? new EventEmitter() : null;
      let late = false;
      const timer =
        signal &&
        setTimeout(() => {
          late = true;
          signal.emit('abort');
        }, deadline);
      let answer: Answer<Result>;
      try {
        answer = await piscina.run(task, { signal, ...(transfer && { transferList: [...transfer] }) });
      } catch (thrown) {
        if (late) throw new IsenError('Timeout', 'the work took too long and was ended', { cause: thrown });
        if (thrown instanceof Error && /queue.*limit|at limit/i.test(thrown.message)) {
          throw new IsenError('Busy', undefined, { cause: thrown });
        }
        throw asIsenError(thrown);
      } finally {
        if (timer) clearTimeout(timer);
      }
      if ('error' in answer) throw errorOf(answer.error);
      return answer.ok;
    },
    threads,
    get waiting() {
      return piscina.queueSize;
    },
    async close() {
      await Promise.race([loaded, sleep(LOADING, undefined, { ref: false })]);
      await piscina.close();
    },
  };
}
