// Takes pictures of the web interface with invented patients, for the README: `node scripts/pictures.mjs [folder] [picture…]` (built before).
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { openBrowser } from '../dist/test/ui/browser.js';
import { serve } from '../dist/test/http/served.js';
import { phantomSlice } from '../dist/test/ui/phantom.js';

const [folder = join(import.meta.dirname, '..', 'docs', 'pictures'), ...wanted] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });

/** Patients, with what was done to them: modality, description, slices of each series. */
const PATIENTS = [
  ['Lindqvist^Maja', '19580312', 'F', 'CT', 'CT thorax with contrast', [60, 24, 3]],
  ['Okafor^Samuel', '19710925', 'M', 'MR', 'MR knee left', [22, 22]],
  ['Brandt^Johanna', '19890117', 'F', 'CR', 'Thorax PA', [1]],
  ['Ferreira^Tiago', '20011230', 'M', 'US', 'US abdomen', [6]],
  ['Novák^Jiří', '19440806', 'M', 'CT', 'CT abdomen', [40]],
  ['Haddad^Leila', '19950521', 'F', 'MR', 'MR brain', [30, 30, 30]],
  ['O’Brien^Connor', '19670214', 'M', 'DX', 'Hand right', [2]],
  ['Yamamoto^Aiko', '19820709', 'F', 'MG', 'Mammography', [4]],
];

const server = await serve({
  DicomModalities: { archive: ['ARCHIVE', '127.0.0.1', 1], workstation: ['READING1', '127.0.0.1', 1] },
  OverwriteInstances: false,
});
let study;
for (const [index, [patientName, birth, sex, modality, studyDescription, series]] of PATIENTS.entries()) {
  for (const [at, slices] of series.entries()) {
    for (let slice = 0; slice < slices; slice += 1) {
      const large = index === 0 && at === 0;
      const size = large ? 256 : 96;
      const body = phantomSlice(
        {
          rows: size,
          columns: size,
          spacing: large ? 1.2 : 2,
          thickness: 2.5,
          pixels: thorax(size, slice, slices),
          study: index + 1,
          series: at + 1,
          modality,
          studyDescription,
          seriesDescription: ['Axial 2.5 mm', 'Lung', 'Overview'][at],
          patientId: String(100234 + index * 7919),
          charset: 'ISO_IR 192',
          patientName: Buffer.from(patientName),
          extra: [
            { tag: '0010,0030', vr: 'DA', value: birth },
            { tag: '0010,0040', vr: 'CS', value: sex },
            { tag: '0028,1050', vr: 'DS', value: '40' },
            { tag: '0028,1051', vr: 'DS', value: at === 1 ? '1500' : '500' },
            { tag: '0008,0020', vr: 'DA', value: `202611${String(29 - index).padStart(2, '0')}` },
            { tag: '0008,0050', vr: 'SH', value: `A${20261100 + index}` },
          ],
        },
        slice,
      );
      const answer = await (await fetch(`${server.url}/instances`, { method: 'POST', body })).json();
      if (index === 0) study ??= answer.ParentStudy;
    }
  }
}

/** Rows of words of a thorax, drawn: body, lungs, heart, spine and ribs, a little other in each slice. */
function thorax(size, slice, slices) {
  const words = new Uint16Array(size * size);
  const along = slice / Math.max(1, slices - 1);
  const inside = (x, y, cx, cy, rx, ry) => ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1;
  const lung = 0.13 + 0.05 * Math.sin(along * Math.PI);
  for (let row = 0; row < size; row += 1) {
    for (let column = 0; column < size; column += 1) {
      const [x, y] = [column / size - 0.5, row / size - 0.5];
      let value = -1000;
      if (inside(x, y, 0, 0, 0.43, 0.31)) value = -90;
      if (inside(x, y, 0, 0, 0.405, 0.285)) value = 45;
      const angle = Math.atan2(y / 0.27, x / 0.385);
      const ring = inside(x, y, 0, 0, 0.385, 0.268) && !inside(x, y, 0, 0, 0.365, 0.25);
      if (ring && Math.sin(angle * 9 + slice * 0.35) > 0.45) value = 480;
      for (const side of [-1, 1])
        if (inside(x, y, side * 0.19, 0, lung, 0.2)) value = -850 + 60 * Math.sin(x * 90) * Math.cos(y * 80 + slice);
      if (inside(x, y, 0.05, -0.05, 0.115 * (1.15 - along * 0.5), 0.1)) value = 150;
      if (inside(x, y, 0.0, 0.2, 0.06, 0.055)) value = 420;
      if (inside(x, y, 0.0, 0.2, 0.042, 0.038)) value = 240;
      if (inside(x, y, 0.0, 0.262, 0.02, 0.016)) value = 20;
      if (inside(x, y, 0.045, 0.13, 0.026, 0.026)) value = 210;
      const noise = Math.sin(row * 12.9898 + column * 78.233 + slice * 37.719) * 43758.5453;
      words[row * size + column] = Math.max(0, value + 1024 + 24 * (noise - Math.floor(noise) - 0.5));
    }
  }
  return new Uint8Array(words.buffer);
}

/** Name of the picture → address, colours, and what is done before. */
const PICTURES = {
  studies: ['', 'light', async (page) => page.getByRole('row').nth(1).waitFor()],
  'studies-dark': ['', 'dark', async (page) => page.getByRole('row').nth(1).waitFor()],
  viewer: [`view/${study}`, 'dark', measure],
  planes: [
    `view/${study}`,
    'dark',
    async (page) => {
      await page.getByText('1 / 60').waitFor();
      await page.keyboard.press('1');
      await page.keyboard.press('m');
      await page.getByText('Coronal').waitFor();
      await page.waitForTimeout(2000);
    },
  ],
};

/** A length and an area on the first image. */
async function measure(page) {
  await page.getByText('1 / 60').waitFor();
  const box = await page.getByRole('application').boundingBox();
  const at = (x, y) => [box.x + box.width / 2 + x, box.y + box.height / 2 + y];
  const drag = async (from, to) => {
    await page.mouse.move(...from);
    await page.mouse.down();
    await page.mouse.move(...to, { steps: 8 });
    await page.mouse.up();
    await page.waitForTimeout(600);
  };
  await page.keyboard.press('l');
  await drag(at(-180, 120), at(40, 140));
  await page.keyboard.press('b');
  await drag(at(-150, -120), at(-60, -50));
  await page.keyboard.press('w');
  await page.mouse.move(...at(0, 300));
  await page.waitForTimeout(1500);
}

const browser = await openBrowser();
for (const [name, [path, colorScheme, act]] of Object.entries(PICTURES)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  const context = await browser.newContext({
    viewport: { width: 1280, height: 800 },
    colorScheme,
    reducedMotion: 'reduce',
  });
  context.setDefaultTimeout(20_000);
  const page = await context.newPage();
  await page.goto(`${server.url}/ui/app/${path}`);
  await page.waitForTimeout(1000);
  for (let tries = 0; tries < 100; tries += 1) {
    await page.waitForTimeout(100);
    if (await page.evaluate('document.images.length > 0 && [...document.images].every((image) => image.complete)'))
      break;
  }
  await act?.(page);
  await page.waitForTimeout(700);
  await sharp(await page.screenshot())
    .png({ palette: true, quality: 90, effort: 10 })
    .toFile(join(folder, `${name}.png`));
  await context.close();
}
await browser.close();
await server.close();
process.exit(0);
