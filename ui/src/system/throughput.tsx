/** Owns the graphs of what the server does, made of its metrics for as long as the tab is open. */

import { signal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { ApiError, isAborted } from '../api.ts';
import { metricsText } from '../api/server.ts';
import { bytes, duration } from '../format.ts';
import { Failed } from '../parts/page.tsx';
import { t } from '../texts.ts';
import { Chart } from './chart.tsx';
import { type Look, SERIES, type SeriesName, sumsOf, valuesOf } from './metrics.ts';

const words = t.system;
/** Milliseconds between two looks, and looks that are kept: five minutes. */
const PAUSE = 2000;
const MOST = 150;
/** Looks that fill the width at first: a minute. */
const WIDE = 30;

/** Kept while other pages are shown: one that is looked at again goes on where it was. */
const looks = signal<readonly Look[]>([]);
const failure = signal<unknown>(undefined);
/** Whether the server collects any. */
export const hasMetrics = signal(true);

async function look(stop: AbortSignal): Promise<void> {
  try {
    const sums = sumsOf(await metricsText(stop));
    hasMetrics.value = sums.size > 0;
    failure.value = undefined;
    const before = looks.value;
    const last = before.at(-1);
    const at = performance.now();
    const isSame =
      last === undefined ||
      (last.sums.get('process_start_time_seconds') === sums.get('process_start_time_seconds') &&
        at - last.at < 10 * PAUSE);
    if (sums.size > 0) looks.value = [...(isSame ? before : []), { at, sums }].slice(-MOST);
  } catch (thrown) {
    if (!isAborted(thrown) && !(thrown instanceof ApiError && thrown.status === 0)) failure.value = thrown;
  }
}

const perSecond = (n: number): string =>
  words.perSecond(n === 0 || n >= 10 ? Math.round(n).toLocaleString('en') : n.toFixed(1));

/** How the values of each series are written, and how high its scale is at least. */
const SHOWN: Readonly<Record<SeriesName, readonly [least: number, show: (value: number) => string]>> = {
  received: [1, perSecond],
  receivedBytes: [1024, (n) => words.perSecond(bytes(n))],
  sent: [1, perSecond],
  requests: [1, perSecond],
  cpu: [1, words.cores],
  memory: [1024 * 1024 * 128, bytes],
  lag: [0.02, (n) => words.milliseconds(n * 1000)],
  associations: [1, (n) => String(n)],
};

/** The graphs. */
export function Throughput() {
  useEffect(() => {
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const again = async (): Promise<void> => {
      if (!document.hidden) await look(stop.signal);
      if (!stop.signal.aborted) timer = setTimeout(() => void again(), PAUSE);
    };
    void again();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, []);
  const seen = looks.value;
  const seconds = seen.length < 2 ? 0 : ((seen.at(-1)?.at ?? 0) - (seen[0]?.at ?? 0)) / 1000;
  return (
    <section class="panel" aria-label={words.throughput}>
      <header>
        <h2>{words.throughput}</h2>
        <span class="muted small">{seconds === 0 ? '' : words.last(duration(seconds))}</span>
      </header>
      <div class="panel-body">
        {failure.value !== undefined && <Failed error={failure.value} />}
        {!hasMetrics.value ? (
          <p class="muted">{words.metricsOff}</p>
        ) : (
          <>
            {seen.length < 3 && <p class="muted">{words.gathering}</p>}
            <div class="charts">
              {(Object.keys(SHOWN) as SeriesName[]).map((name) => {
                const [least, show] = SHOWN[name];
                return (
                  <Chart
                    key={name}
                    title={words.charts[name]}
                    values={valuesOf(name, seen)}
                    most={Math.max(WIDE, seen.length - (SERIES[name].rate ? 1 : 0))}
                    least={least}
                    show={show}
                  />
                );
              })}
            </div>
          </>
        )}
      </div>
    </section>
  );
}
