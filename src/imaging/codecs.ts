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
}

export interface Capability {
  readonly codec: Codec;
  readonly decode: Limits;
  readonly encode: Limits | undefined;
  /** Encoding loses information; what may be asked of it is `lossy-quality`. */
  readonly lossy: boolean;
}

const NATIVE: Capability = {
  codec: 'native',
  decode: { grey: [1, 64], colour: [8, 32] },
  encode: { grey: [1, 64], colour: [8, 32] },
  lossy: false,
};
const both = (bits: Bits, colour = bits): Limits => ({ grey: bits, colour });
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
  '1.2.840.10008.1.2.4.50': row('jpeg', both([8, 8]), both([8, 8]), true),
  '1.2.840.10008.1.2.4.51': row('jpeg', both([8, 12])),
  '1.2.840.10008.1.2.4.53': row('jpeg', both([8, 12])),
  '1.2.840.10008.1.2.4.55': row('jpeg', both([8, 12])),
  '1.2.840.10008.1.2.4.57': row('jpeg', both([2, 16]), both([2, 16])),
  '1.2.840.10008.1.2.4.70': row('jpeg', both([2, 16]), both([2, 16])),
  '1.2.840.10008.1.2.4.80': row('jpeg-ls', both([2, 16]), both([2, 16])),
  '1.2.840.10008.1.2.4.81': row('jpeg-ls', both([2, 16]), both([2, 16]), true),
  '1.2.840.10008.1.2.4.90': row('jpeg-2000', both([2, 16]), both([2, 16], [2, 8])),
  '1.2.840.10008.1.2.4.91': row('jpeg-2000', both([2, 16]), both([2, 16], [2, 8]), true),
  '1.2.840.10008.1.2.4.201': row('htj2k', both([2, 16]), both([2, 16], [2, 8])),
  '1.2.840.10008.1.2.4.202': row('htj2k', both([2, 16]), both([2, 16], [2, 8])),
  '1.2.840.10008.1.2.4.203': row('htj2k', both([2, 16])),
  '1.2.840.10008.1.2.5': row('rle', both([1, 32]), both([1, 32])),
};

/** Whether the limits hold an image of these bits and samples. */
export function within(limits: Limits | undefined, { samplesPerPixel, highBit }: PixelAttributes): boolean {
  const bits = samplesPerPixel === 1 ? limits?.grey : samplesPerPixel === 3 ? limits?.colour : undefined;
  return bits !== undefined && highBit + 1 >= bits[0] && highBit + 1 <= bits[1];
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
