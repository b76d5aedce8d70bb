/**
 * Owns what can be decoded and encoded, as data: one row a transfer syntax, with the bits of a sample that its codec takes. Decoding,
 * encoding, transcoding and docs/transfer-syntaxes.md all follow this table, which a suite walks whole.
 */

import { IsenError } from '../errors.ts';
import type { PixelAttributes } from './image.ts';

/** Who does the work: see native.ts, rle.ts and native-codecs.ts. */
export type Codec = 'native' | 'rle' | 'jpeg' | 'jpeg-ls' | 'jpeg-2000' | 'htj2k';

/** Smallest and largest number of bits of a sample (what has to be stored: High Bit + 1). */
export type Bits = readonly [minimum: number, maximum: number];

/** What a codec takes: the bits of one sample a pixel, and of three; undefined: not at all. */
export interface Limits {
  readonly grey: Bits | undefined;
  readonly colour: Bits | undefined;
  /** Of samples with a sign, where those are fewer; undefined: none with a sign. */
  readonly signed: Bits | undefined;
}

export interface Capability {
  readonly codec: Codec;
  readonly decode: Limits;
  readonly encode: Limits | undefined;
  /** Encoding loses information; what may be asked of it is `lossy-quality`. */
  readonly lossy: boolean;
}

const limits = (grey: Bits, colour = grey, signed: Bits | undefined = grey): Limits => ({ grey, colour, signed });
const NATIVE: Capability = {
  codec: 'native',
  decode: limits([1, 64], [1, 32]),
  encode: limits([1, 64], [1, 32]),
  lossy: false,
};
// The pinned codecs encode colour of more than 8 bits, and signs of fewer than 9, so that nobody can decode them.
const JPEG_2000_ENCODE = limits([2, 16], [2, 8], [9, 16]);
const HTJ2K_ENCODE = limits([2, 16], [2, 8]);
const row = (codec: Codec, decode: Limits, encode?: Limits, lossy = false): Capability => ({
  codec,
  decode,
  encode,
  lossy,
});

/** By UID. What is not here can be stored and sent, not looked into. */
export const CAPABILITIES: Readonly<Record<string, Capability>> = {
  '1.2.840.10008.1.2': NATIVE,
  '1.2.840.10008.1.2.1': NATIVE,
  '1.2.840.10008.1.2.1.98': NATIVE,
  '1.2.840.10008.1.2.1.99': NATIVE,
  '1.2.840.10008.1.2.2': NATIVE,
  '1.2.840.10008.1.2.4.50': row('jpeg', limits([8, 8]), { grey: [8, 8], colour: [8, 8], signed: undefined }, true),
  '1.2.840.10008.1.2.4.51': row('jpeg', limits([8, 12])),
  '1.2.840.10008.1.2.4.53': row('jpeg', limits([8, 12])),
  '1.2.840.10008.1.2.4.55': row('jpeg', limits([8, 12])),
  '1.2.840.10008.1.2.4.57': row('jpeg', limits([2, 16]), limits([2, 16])),
  '1.2.840.10008.1.2.4.70': row('jpeg', limits([2, 16]), limits([2, 16])),
  '1.2.840.10008.1.2.4.80': row('jpeg-ls', limits([2, 16]), limits([2, 16])),
  '1.2.840.10008.1.2.4.81': row('jpeg-ls', limits([2, 16]), limits([2, 16]), true),
  '1.2.840.10008.1.2.4.90': row('jpeg-2000', limits([2, 16]), JPEG_2000_ENCODE),
  '1.2.840.10008.1.2.4.91': row('jpeg-2000', limits([2, 16]), JPEG_2000_ENCODE, true),
  '1.2.840.10008.1.2.4.201': row('htj2k', limits([2, 16]), HTJ2K_ENCODE),
  '1.2.840.10008.1.2.4.202': row('htj2k', limits([2, 16]), HTJ2K_ENCODE),
  '1.2.840.10008.1.2.4.203': row('htj2k', limits([2, 16])),
  '1.2.840.10008.1.2.5': row('rle', limits([1, 32]), limits([1, 32])),
};

/** Whether the limits hold an image of these bits and samples. */
export function within(
  limits: Limits | undefined,
  { samplesPerPixel, highBit, signed }: Pick<PixelAttributes, 'samplesPerPixel' | 'highBit' | 'signed'>,
): boolean {
  const holds = (bits: Bits | undefined): boolean =>
    bits !== undefined && highBit + 1 >= bits[0] && highBit + 1 <= bits[1];
  if (limits === undefined || (samplesPerPixel !== 1 && samplesPerPixel !== 3)) return false;
  return holds(samplesPerPixel === 1 ? limits.grey : limits.colour) && (!signed || holds(limits.signed));
}

/**
 * The row of a transfer syntax. A private one, of which nothing is known, has none either.
 * @throws {IsenError} NotImplemented.
 */
export function capability(transferSyntax: string): Capability {
  const found = Object.hasOwn(CAPABILITIES, transferSyntax) ? CAPABILITIES[transferSyntax] : undefined;
  if (found === undefined)
    throw new IsenError('NotImplemented', `Cannot decode images of transfer syntax ${transferSyntax}`);
  return found;
}
