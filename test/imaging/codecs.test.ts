/** Owns the proof of the capability table: every row is walked, encoded and decoded at every depth, within its limits and past them. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { TRANSFER_SYNTAXES, transferSyntax } from '../../src/dicom/transfer-syntaxes.ts';
import { CAPABILITIES, capability, within } from '../../src/imaging/codecs.ts';
import { decodeFrame, decodeStored } from '../../src/imaging/decode.ts';
import { encodedAttributes, encodeFrame } from '../../src/imaging/encode-frame.ts';
import { ROOT } from '../peer.ts';
import { everyImage, type MadeImage, madeImage } from './made-image.ts';

/** The largest difference between two frames' samples. */
function difference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  assert.equal(a.length, b.length);
  let largest = 0;
  for (let at = 0; at < a.length; at += 1) largest = Math.max(largest, Math.abs((a[at] ?? 0) - (b[at] ?? 0)));
  return largest;
}

const nameOf = ({ attributes: { samplesPerPixel, bitsStored, bitsAllocated, signed } }: MadeImage): string =>
  `${samplesPerPixel} × ${bitsStored} in ${bitsAllocated}${signed ? ' signed' : ''}`;

/** Encodes and decodes; answers what came back and how many bytes it took. */
function roundTrip({ attributes, frame }: MadeImage, uid: string, quality?: number) {
  const encoded = encodedAttributes(attributes, frame.photometricInterpretation, uid);
  const bytes = encodeFrame(frame, attributes, encoded, quality);
  return { frame: decodeFrame(bytes, { ...attributes, ...encoded }), size: bytes.length, encoded };
}

const images = everyImage();
for (const [uid, { encode, lossy, codec }] of Object.entries(CAPABILITIES)) {
  test(`${uid} ${codec}: ${encode === undefined ? 'is not encoded' : 'every depth goes there and back'}`, () => {
    let done = 0;
    for (const image of images) {
      const { attributes, frame } = image;
      // Single bits, and words without a codec, are the native syntaxes' only.
      const isEncoded = within(encode, attributes) && (codec === 'native' || attributes.bitsAllocated > 1);
      if (!isEncoded) {
        const code = encode === undefined ? 'NotImplemented' : 'IncompatibleImageFormat';
        assert.throws(() => roundTrip(image, uid), { code }, nameOf(image));
        continue;
      }
      const back = roundTrip(image, uid, 100);
      assert.equal(back.frame.photometricInterpretation, frame.photometricInterpretation);
      if (lossy) continue;
      assert.equal(difference(back.frame.samples, frame.samples), 0, nameOf(image));
      done += 1;
    }
    assert.ok(done > 20 || lossy || encode === undefined, `${done} images`);
  });
}

test('what is lossy stays near, the nearer the better its quality', () => {
  const grey = madeImage({ bits: 8, allocated: 8, rows: 64, columns: 64 });
  const colour = madeImage({ bits: 8, allocated: 8, samples: 3, rows: 64, columns: 64 });
  for (const uid of Object.keys(CAPABILITIES).filter((key) => capability(key).lossy)) {
    for (const image of [grey, colour]) {
      const good = roundTrip(image, uid, 95);
      const poor = roundTrip(image, uid, 10);
      assert.ok(difference(good.frame.samples, image.frame.samples) <= 12, `${uid} ${nameOf(image)}`);
      assert.ok(poor.size < good.size, `${uid}: ${poor.size} < ${good.size}`);
      assert.equal(poor.frame.photometricInterpretation, image.frame.photometricInterpretation);
    }
  }
});

test('JPEG-LS never passes its error, nor the ends of the range', () => {
  for (const image of images.filter(({ attributes }) =>
    within(CAPABILITIES['1.2.840.10008.1.2.4.81']?.encode, attributes),
  )) {
    if (image.attributes.bitsAllocated === 1) continue;
    const { frame } = roundTrip(image, '1.2.840.10008.1.2.4.81', 90);
    // Near an end of the range twice: once to keep away from it.
    assert.ok(difference(frame.samples, image.frame.samples) <= 4, nameOf(image));
  }
});

test('lossless codecs keep YBR_FULL as it is, to the bit', () => {
  const image = madeImage({ bits: 8, allocated: 8, samples: 3, photometric: 'YBR_FULL', noise: true });
  for (const uid of ['.4.57', '.4.70', '.4.80', '.4.90', '.5'].map((end) => `1.2.840.10008.1.2${end}`)) {
    const encoded = encodedAttributes(image.attributes, 'YBR_FULL', uid);
    assert.equal(encoded.photometricInterpretation, 'YBR_FULL', uid);
    const bytes = encodeFrame(image.frame, image.attributes, encoded);
    const back = decodeStored(bytes, { ...image.attributes, ...encoded });
    assert.equal(difference(back.samples, image.frame.samples), 0, uid);
    assert.equal(back.photometricInterpretation, 'YBR_FULL');
  }
  assert.throws(() => encodedAttributes(image.attributes, 'YBR_FULL', '1.2.840.10008.1.2.4.201'), {
    code: 'IncompatibleImageFormat',
  });
});

test('palettes are not encoded with loss, and what the table lacks not at all', () => {
  const palette = madeImage({ bits: 8, allocated: 8, photometric: 'PALETTE COLOR' });
  for (const uid of Object.keys(CAPABILITIES).filter((key) => capability(key).lossy && capability(key).encode))
    assert.throws(() => roundTrip(palette, uid), { code: 'IncompatibleImageFormat' });
  for (const { uid } of TRANSFER_SYNTAXES.filter((syntax) => CAPABILITIES[syntax.uid] === undefined)) {
    assert.throws(() => roundTrip(palette, uid), { code: 'NotImplemented' });
    assert.throws(() => decodeFrame(new Uint8Array(4000), { ...palette.attributes, transferSyntax: uid }), {
      code: 'NotImplemented',
    });
  }
});

test('the table agrees with that of the transfer syntaxes', () => {
  for (const [uid, { codec, lossy, encode }] of Object.entries(CAPABILITIES)) {
    const syntax = transferSyntax(uid);
    assert.ok(syntax, uid);
    if (encode !== undefined) assert.equal(lossy, syntax.lossy, uid);
    assert.ok(codec === 'native' || syntax.encapsulated, uid);
  }
});

test('docs/transfer-syntaxes.md and the table in README.md are those of the table', () => {
  const run = spawnSync(process.execPath, [join(ROOT, 'scripts/generate-transfer-syntaxes.mjs'), '--check'], {
    encoding: 'utf8',
  });
  assert.equal(run.status, 0, run.stderr);
});
