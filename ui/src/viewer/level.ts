/** Owns VOI windows (PS3.3 §C.11.2.1.2, §C.11.2.1.3.2): as people say them, and as the range of values from black to white. */

/** A window as people say it. */
export interface Level {
  readonly center: number;
  readonly width: number;
}

/** The value that is black, and the one that is white. */
export interface Range {
  readonly lower: number;
  readonly upper: number;
}

/** VOI LUT Function (PS3.3 §C.11.2.1.3), in its own words. */
export type Voi = 'LINEAR' | 'LINEAR_EXACT' | 'SIGMOID';

/** The range of a window. */
export function rangeOf({ center, width }: Level, voi: Voi): Range {
  if (voi === 'LINEAR_EXACT') return { lower: center - width / 2, upper: center + width / 2 };
  return { lower: center - 0.5 - (width - 1) / 2, upper: center - 0.5 + (width - 1) / 2 };
}

/** The window of a range. */
export function levelOf({ lower, upper }: Range, voi: Voi): Level {
  const more = voi === 'LINEAR_EXACT' ? 0 : 1;
  return { center: (lower + upper + more) / 2, width: upper - lower + more };
}
