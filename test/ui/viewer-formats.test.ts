/**
 * Owns the proof that the viewer shows the pixels of every kind of image as they are meant: depths, signs, windows, colours, palettes,
 * frames and compressed transfer syntaxes. One study holds a series of each, and a person goes from one to the next.
 */

import assert from 'node:assert/strict';
import type { NewElement } from '../../src/dicom/write.ts';
import { type Made, make } from '../dicom/made.ts';
import { becomes, explorer, type Stored } from './browser.ts';
import { phantomSlice } from './phantom.ts';
import { Viewing } from './viewing.ts';

const ROOT = '2.25.20261130';
const SIZE = 64;

type Colour = readonly [number, number, number];

/** A kind of image: a picture whose left half and right half are each of one colour. */
interface Kind {
  readonly name: string;
  readonly made: Made;
  readonly left: Colour;
  readonly right: Colour;
  readonly tolerance?: number;
}

const grey = (value: number): Colour => [value, value, value];

/** Words of `bits` whose left half has one value and right half another. */
function halves(bits: 8 | 16, left: readonly number[], right: readonly number[], planes = false): Uint8Array {
  const samples = left.length;
  const all = bits === 8 ? new Uint8Array(SIZE * SIZE * samples) : new Uint16Array(SIZE * SIZE * samples);
  for (let at = 0; at < SIZE * SIZE; at += 1) {
    const values = at % SIZE < SIZE / 2 ? left : right;
    for (const [sample, value] of values.entries())
      all[planes ? sample * SIZE * SIZE + at : at * samples + sample] = value;
  }
  return new Uint8Array(all.buffer);
}

const text = (tag: string, vr: string, value: string): NewElement => ({ tag, vr, value });
const short = (tag: string, value: number): NewElement => ({ tag, vr: 'US', value: [value] });
const window = (center: number, width: number): NewElement[] => [
  text('0028,1050', 'DS', String(center)),
  text('0028,1051', 'DS', String(width)),
];

/** Entries of a palette: three colours, from entry 0 on, of 16 bits. */
const PALETTE: readonly Colour[] = [
  [0, 0, 0],
  [255, 128, 0],
  [0, 64, 255],
];
const palette = (channel: number): Uint8Array =>
  new Uint8Array(Uint16Array.from(PALETTE, (colour) => (colour[channel] as number) * 257).buffer);

const KINDS: readonly Kind[] = [
  {
    name: '8 bits',
    made: { bits: 8, pixels: halves(8, [60], [200]), extra: window(128, 256) },
    left: grey(60),
    right: grey(200),
  },
  {
    name: '8 bits, white is least',
    made: {
      bits: 8,
      pixels: halves(8, [60], [200]),
      extra: [...window(128, 256), text('0028,0004', 'CS', 'MONOCHROME1')],
    },
    left: grey(195),
    right: grey(55),
  },
  {
    name: '12 bits without a window',
    made: {
      bits: 16,
      pixels: halves(16, [0], [3000]),
      extra: [short('0028,0101', 12), short('0028,0102', 11)],
    },
    left: grey(0),
    right: grey(255),
  },
  {
    name: '16 bits, signed, rescaled',
    made: {
      bits: 16,
      // -500 and 1500 are 0 and 2000 after × 1 + 500.
      pixels: halves(16, [0x10000 - 500], [1500]),
      extra: [
        short('0028,0103', 1),
        text('0028,1052', 'DS', '500'),
        text('0028,1053', 'DS', '1'),
        ...window(1000, 4000),
      ],
    },
    left: grey(64),
    right: grey(191),
  },
  {
    name: '16 bits, all of them',
    made: { bits: 16, pixels: halves(16, [10_000], [60_000]), extra: window(32_768, 65_536) },
    left: grey(39),
    right: grey(233),
  },
  {
    name: 'colours by pixel',
    made: { bits: 8, samples: 3, pixels: halves(8, [250, 20, 30], [10, 100, 240]) },
    left: [250, 20, 30],
    right: [10, 100, 240],
  },
  {
    name: 'colours by plane',
    made: {
      bits: 8,
      samples: 3,
      pixels: halves(8, [250, 20, 30], [10, 100, 240], true),
      extra: [short('0028,0006', 1)],
    },
    left: [250, 20, 30],
    right: [10, 100, 240],
  },
  {
    name: 'luminance and chrominance',
    made: {
      bits: 8,
      samples: 3,
      // Y 76, Cb 85, Cr 255 is red (PS3.3 §C.7.6.3.1.2).
      pixels: halves(8, [76, 85, 255], [200, 128, 128]),
      extra: [text('0028,0004', 'CS', 'YBR_FULL')],
    },
    left: [254, 0, 0],
    right: grey(200),
  },
  {
    name: 'palette',
    made: {
      bits: 8,
      pixels: halves(8, [1], [2]),
      extra: [
        text('0028,0004', 'CS', 'PALETTE COLOR'),
        ...['0028,1101', '0028,1102', '0028,1103'].map((tag) => ({ tag, vr: 'US', value: [PALETTE.length, 0, 16] })),
        ...['0028,1201', '0028,1202', '0028,1203'].map((tag, channel) => ({ tag, vr: 'OW', value: palette(channel) })),
      ],
    },
    left: [255, 128, 0],
    right: [0, 64, 255],
  },
];

/** Transfer syntaxes that the server makes of the phantom, and of a picture in colours. */
const COMPRESSED = {
  'JPEG baseline': '1.2.840.10008.1.2.4.50',
  'JPEG lossless': '1.2.840.10008.1.2.4.70',
  'JPEG-LS': '1.2.840.10008.1.2.4.80',
  'JPEG 2000': '1.2.840.10008.1.2.4.90',
  RLE: '1.2.840.10008.1.2.5',
  Deflate: '1.2.840.10008.1.2.1.99',
  'Big endian': '1.2.840.10008.1.2.2',
} as const;

const named = (made: Made, number: number, name: string): Buffer =>
  make({
    rows: SIZE,
    columns: SIZE,
    patientName: 'Phantom^Halves',
    ...made,
    studyUid: ROOT,
    seriesUid: `${ROOT}.${number}`,
    sopUid: `${ROOT}.${number}.1`,
    extra: [text('0020,0011', 'IS', String(number)), text('0008,103e', 'LO', name), ...(made.extra ?? [])],
  });

let study: Stored;
let broken: Stored;
let frames: Stored;

const app = explorer({}, async ({ served, upload }) => {
  study = await upload(KINDS.map(({ name, made }, index) => named(made, index + 1, name)));
  // The same in every syntax, made from instances that are not stored themselves.
  const source = await upload([
    named(
      { bits: 8, samples: 3, pixels: halves(8, [250, 20, 30], [10, 100, 240]), studyUid: `${ROOT}.0` },
      99,
      'source',
    ),
  ]);
  for (const [index, [name, Transcode]] of Object.entries(COMPRESSED).entries()) {
    const SeriesNumber = String(50 + index);
    const answer = await fetch(`${served.url}/instances/${source.ID}/modify`, {
      method: 'POST',
      body: JSON.stringify({
        Replace: {
          SeriesInstanceUID: `${ROOT}.5${index}`,
          SOPInstanceUID: `${ROOT}.5${index}.1`,
          SeriesDescription: name,
          SeriesNumber,
        },
        Keep: ['StudyInstanceUID'],
        Force: true,
        Transcode,
      }),
    });
    assert.equal(answer.status, 200, `${name}: ${await answer.clone().text()}`);
    await upload([new Uint8Array(await answer.arrayBuffer())]);
  }
  const ramp = new Uint8Array(10 * SIZE * SIZE).map((_, at) => 20 + 20 * Math.floor(at / (SIZE * SIZE)));
  frames = await upload([
    make({
      rows: SIZE,
      columns: SIZE,
      bits: 8,
      frames: 10,
      pixels: ramp,
      studyUid: `${ROOT}.60`,
      seriesUid: `${ROOT}.60.1`,
      sopUid: `${ROOT}.60.1.1`,
      extra: [text('0018,1063', 'DS', '40'), ...window(128, 256)],
    }),
  ]);
  // A slice whose pixels are cut short between two that are whole; a report without any pixels.
  const cut = { study: 70, pixels: new Uint8Array(100) };
  broken = await upload([phantomSlice(cut, 0), phantomSlice({ study: 70 }, 1), phantomSlice({ study: 70 }, 2)]);
  await upload([
    make({
      patientId: 'PHANTOM70',
      studyUid: '2.25.20261129.70',
      seriesUid: '2.25.20261129.70.9',
      sopUid: '2.25.20261129.70.9.1',
      pixels: false,
      without: ['0028,0010', '0028,0011'],
      extra: [text('0008,0060', 'CS', 'OT'), text('0008,103e', 'LO', 'Without pixels')],
    }),
  ]);
});

app.test('greys, colours and palettes are shown as they are meant', async (page) => {
  await app.open(page, `view/${study.ParentStudy}`);
  const view = new Viewing(page);
  for (const [index, { name, left, right, tolerance }] of KINDS.entries()) {
    await page.getByRole('button', { name: new RegExp(`^${name} `) }).click();
    await view.says(new RegExp(`Series ${index + 1} `));
    await view.see(
      [
        [10, 32, left],
        [54, 32, right],
      ],
      tolerance,
    );
  }
});

app.test('the first image is as it is meant before the renderer is there', async (page) => {
  // It never comes.
  await page.route('**/assets/renderer-*.js', () => undefined);
  const answer = await fetch(`${app.served.url}/studies/${study.ParentStudy}/series`);
  const series = (await answer.json()) as { ID: string; MainDicomTags: { SeriesNumber: string } }[];
  for (const [index, { name, left, right, tolerance }] of KINDS.entries()) {
    const { ID } = series.find(({ MainDicomTags }) => MainDicomTags.SeriesNumber === String(index + 1)) ?? {};
    await app.open(page, `view/${study.ParentStudy}/${ID ?? name}`);
    const view = new Viewing(page);
    await view.says(new RegExp(`Series ${index + 1} `));
    await view.see(
      [
        [10, 32, left],
        [54, 32, right],
      ],
      tolerance,
    );
  }
});

app.test('every transfer syntax looks the same', async (page) => {
  await app.open(page, `view/${study.ParentStudy}`);
  const view = new Viewing(page);
  for (const name of Object.keys(COMPRESSED)) {
    await page.getByRole('button', { name: new RegExp(`^${name} `) }).click();
    await view.says(new RegExp(`· ${name}$`, 'm'));
    const tolerance = name === 'JPEG baseline' ? 6 : 2;
    await view.see(
      [
        [10, 32, [250, 20, 30]],
        [54, 32, [10, 100, 240]],
      ],
      tolerance,
    );
  }
});

app.test('the frames of one instance are images, which run at its own rate', async (page) => {
  await app.open(page, `view/${frames.ParentStudy}`);
  const view = new Viewing(page);
  await view.shows(1, 10);
  await view.greys([[32, 32, 20]]);
  await view.press('End');
  await view.shows(10, 10);
  await view.greys([[32, 32, 200]]);
  await becomes(() => page.getByLabel('Images per second').locator('option:checked').innerText(), '25/s');
});

app.test(
  'an image that cannot be shown says so in words, and the others of its series are shown',
  async (page) => {
    await app.open(page, `view/${broken.ParentStudy}`);
    const view = new Viewing(page);
    const alert = view.cell.getByRole('alert');
    await alert.waitFor();
    await becomes(() => alert.innerText(), /This image is damaged/);
    await view.press('ArrowDown');
    await view.shows(2, 3);
    await view.greys([[20, 32, 122]]);
    await becomes(() => alert.count(), 0);
    await view.press('ArrowUp');
    await alert.waitFor();
    await page.getByRole('button', { name: /^Without pixels/ }).click();
    await alert.getByText('This series has no images.').waitFor();
    await becomes(() => alert.getByRole('link').getAttribute('href'), /\/ui\/app\/instances\//);
    await app.open(page, 'view/00000000-00000000-00000000-00000000-00000000');
    await page.getByText('This is not there (any more).').waitFor();
  },
  { expected: [/\/frames\/0\/numpy/, /\/rendered\?/, /\/studies\/00000000/] },
);
