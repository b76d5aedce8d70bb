/**
 * Owns the jobs as they are while they are looked at. All are asked for once; after that only those that have not ended, and those that
 * are new, however many there are.
 */

import { useCallback, useRef } from 'preact/hooks';
import { ApiError } from '../api.ts';
import { type Job, job, jobs, UNFINISHED } from '../api/jobs.ts';
import { usePolled } from '../parts/polled.ts';

/** Milliseconds between two looks, and until all are asked for again: what the server forgot goes then. */
const PAUSE = 1000;
const ALL = 30_000;
/** Jobs that ended between two looks and are asked for one by one; more are asked for all together. */
const MOST_ENDED = 20;

/** The jobs that are known, in the order of submission. */
export type Known = readonly Job[];

const hasEnded = ({ State }: Job): boolean => State === 'Success' || State === 'Failure';

/** Asked for one by one; one that is forgotten is left out. */
async function each(ids: readonly string[], signal: AbortSignal): Promise<Known> {
  const found = await Promise.all(
    ids.map((id) =>
      job(id, signal).catch((thrown: unknown) => {
        if (thrown instanceof ApiError && thrown.status === 404) return undefined;
        throw thrown;
      }),
    ),
  );
  return found.filter((one) => one !== undefined);
}

/** What became of `known`. */
async function next(known: Known, signal: AbortSignal): Promise<Known> {
  const last = known.at(-1);
  if (last === undefined) return jobs({}, signal);
  let unfinished: Known;
  let fresh: Known;
  try {
    [unfinished, fresh] = await Promise.all([jobs({ state: UNFINISHED }, signal), jobs({ since: last.ID }, signal)]);
  } catch (thrown) {
    // The last one is forgotten: what came after it cannot be asked for.
    if (thrown instanceof ApiError && thrown.status === 404) return jobs({}, signal);
    throw thrown;
  }
  const now = new Map([...unfinished, ...fresh].map((one) => [one.ID, one]));
  const gone = known.filter((one) => !hasEnded(one) && !now.has(one.ID)).map(({ ID }) => ID);
  // One that was run again is not under those that have not ended when it was looked at before.
  if (gone.length > MOST_ENDED) return jobs({}, signal);
  for (const one of await each(gone, signal)) now.set(one.ID, one);
  const lost = new Set(gone.filter((id) => !now.has(id)));
  const before = new Set(known.map(({ ID }) => ID));
  return [
    ...known.filter(({ ID }) => !lost.has(ID)).map((one) => now.get(one.ID) ?? one),
    ...fresh.filter(({ ID }) => !before.has(ID)),
  ];
}

/** The jobs, the last submitted last. */
export function useJobs(): {
  readonly jobs: Known | undefined;
  readonly error: unknown;
  readonly reload: () => void;
} {
  const known = useRef<Known>([]);
  const whole = useRef(0);
  const { value, error, reload } = usePolled(
    async (signal) => {
      const isWhole = performance.now() >= whole.current;
      known.current = isWhole ? await jobs({}, signal) : await next(known.current, signal);
      if (isWhole) whole.current = performance.now() + ALL;
      return known.current;
    },
    [],
    PAUSE,
  );
  const reloadAll = useCallback(() => {
    whole.current = 0;
    reload();
  }, [reload]);
  return { jobs: value, error, reload: reloadAll };
}
