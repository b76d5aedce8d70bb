/** Owns content negotiation: which of the media types that a route has suits an `Accept` header best (RFC 9110 §12.5.1). */

/** Ranges that are looked at. */
const MOST = 64;

interface MediaRange {
  readonly type: string;
  readonly quality: number;
}

function rangesOf(header: string): MediaRange[] {
  return header
    .split(',', MOST)
    .map((text) => {
      const [type = '', ...parameters] = text.split(';').map((part) => part.trim().toLowerCase());
      const weight = parameters.find((parameter) => /^q\s*=/.test(parameter))?.replace(/^q\s*=\s*/, '');
      const quality = weight === undefined ? 1 : Number(weight);
      return { type, quality: quality >= 0 && quality <= 1 ? quality : 0 };
    })
    .filter(({ type }) => type !== '');
}

/** 2 for the type itself, 1 for its family, 0 for everything, -1 for another. */
function closeness(range: string, type: string): number {
  if (range === type) return 2;
  if (range === '*/*' || range === '*') return 0;
  return range.endsWith('/*') && type.startsWith(range.slice(0, -1)) ? 1 : -1;
}

/**
 * The best of `types`, which come in order of preference: that of the highest quality, of several the first. The quality of a type is
 * that of the range which names it most closely. The first of all without a header, undefined where none is acceptable.
 */
export function negotiate<Type extends string>(header: string | undefined, types: readonly Type[]): Type | undefined {
  if (header === undefined || header.trim() === '') return types[0];
  const ranges = rangesOf(header);
  let best: { type: Type; quality: number } | undefined;
  for (const type of types) {
    let closest = -1;
    let quality = 0;
    for (const range of ranges) {
      const close = closeness(range.type, type);
      if (close > closest) {
        closest = close;
        quality = range.quality;
      }
    }
    if (closest >= 0 && quality > 0 && quality > (best?.quality ?? 0)) best = { type, quality };
  }
  return best?.type;
}
