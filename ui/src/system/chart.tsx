/** Owns a small graph of one number over time. Drawn here: it is one path, in the colours of the page. */

import { t } from '../texts.ts';

interface ChartProps {
  readonly title: string;
  readonly values: readonly number[];
  /** Values that fill the width. */
  readonly most: number;
  /** The scale ends here, or higher. */
  readonly least: number;
  readonly show: (value: number) => string;
}

const WIDTH = 240;
const HEIGHT = 56;

/** The graph, with its last and its largest value in words. */
export function Chart({ title, values, most, least, show }: ChartProps) {
  const highest = Math.max(...values, 0);
  const top = Math.max(highest, least) * 1.1;
  const step = WIDTH / (most - 1);
  const first = most - values.length;
  const points = values.map((value, index) => {
    const x = (first + index) * step;
    return `${x.toFixed(1)},${(HEIGHT - (value / top) * HEIGHT).toFixed(1)}`;
  });
  const now = show(values.at(-1) ?? 0);
  return (
    <figure class="chart">
      <figcaption>
        <span class="muted">{title}</span>
        <strong>{now}</strong>
      </figcaption>
      <svg
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={t.system.chartLabel(title, now, show(highest))}
      >
        {points.length > 1 && (
          <>
            <path
              class="chart-area"
              d={`M${(first * step).toFixed(1)},${HEIGHT} L${points.join(' L')} L${WIDTH},${HEIGHT} Z`}
            />
            <polyline class="chart-line" points={points.join(' ')} />
          </>
        )}
      </svg>
      <small class="muted">{t.system.most(show(highest))}</small>
    </figure>
  );
}
