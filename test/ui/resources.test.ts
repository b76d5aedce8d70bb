/** Owns the proof of ui/src/resource: the pages of patients, studies, series and instances, and what each kind of instance shows. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import type { Page } from 'playwright-core';
import type { NewElement } from '../../src/dicom/write.ts';
import { make } from '../dicom/made.ts';
import { shared } from '../peer.ts';
import { becomes, checkAccessibility, eventually, explorer, type Stored } from './browser.ts';
import { phantomSeries } from './phantom.ts';

const app = explorer({ UserMetadata: { 'research-id': 1024 }, UserContentType: { notes: [1025, 'text/plain'] } });

const text = (tag: string, vr: string, value: string): NewElement => ({ tag, vr, value });
const sequence = (tag: string, ...items: readonly NewElement[][]): NewElement => ({ tag, vr: 'SQ', value: { items } });
const code = (tag: string, meaning: string): NewElement =>
  sequence(tag, [text('0008,0100', 'SH', 'X'), text('0008,0102', 'SH', '99X'), text('0008,0104', 'LO', meaning)]);

const MARKUP = '<img src=x onerror="document.title=1"><b>bold</b>';

/** A report about one image. */
function report(sopInstanceUid: string): Buffer {
  const item = (type: string, concept: string, ...rest: readonly NewElement[]): NewElement[] => [
    text('0040,a010', 'CS', 'CONTAINS'),
    text('0040,a040', 'CS', type),
    code('0040,a043', concept),
    ...rest,
  ];
  return make({
    patientId: 'REPORTED',
    studyUid: '2.25.4711.1',
    seriesUid: '2.25.4711.1.1',
    sopUid: '2.25.4711.1.1.1',
    pixels: false,
    extra: [
      text('0008,0016', 'UI', '1.2.840.10008.5.1.4.1.1.88.22'),
      text('0008,0060', 'CS', 'SR'),
      text('0040,a040', 'CS', 'CONTAINER'),
      code('0040,a043', 'Radiology Report'),
      sequence(
        '0040,a730',
        item('TEXT', 'Finding', text('0040,a160', 'UT', `A cylinder ${MARKUP}`)),
        item(
          'NUM',
          'Diameter',
          sequence('0040,a300', [text('0040,a30a', 'DS', '48'), code('0040,08ea', 'millimeter')]),
        ),
        item(
          'CONTAINER',
          'Evidence',
          sequence('0040,a730', [
            text('0040,a010', 'CS', 'CONTAINS'),
            text('0040,a040', 'CS', 'IMAGE'),
            sequence('0008,1199', [
              text('0008,1150', 'UI', '1.2.840.10008.5.1.4.1.1.2'),
              text('0008,1155', 'UI', sopInstanceUid),
            ]),
          ]),
        ),
      ),
    ],
  });
}

const panel = (page: Page, name: string) =>
  page.locator('section.panel').filter({ has: page.getByRole('heading', { name, exact: true }) });

let stored: Promise<Stored> | undefined;
const phantom = (): Promise<Stored> => (stored ??= app.upload(phantomSeries({ slices: 5, series: 1 })));

app.test('from the patient down to an instance and up again', async (page) => {
  const { ParentPatient } = await phantom();
  await app.upload(phantomSeries({ slices: 2, series: 2, seriesDescription: 'Scout' }));
  await app.open(page, `patients/${ParentPatient}`);
  await page.getByRole('heading', { name: 'Phantom, Cylinder', exact: true }).waitFor();
  await page.getByRole('link', { name: 'Cylinder of water', exact: true }).click();
  await page.getByRole('heading', { name: 'Phantom, Cylinder · Cylinder of water' }).waitFor();
  await panel(page, 'Size').getByText('7', { exact: true }).waitFor();
  await becomes(() => page.locator('.card-title').allTextContents(), ['1 · Axial 1', '2 · Scout']);
  await checkAccessibility(page);
  await page.getByRole('link', { name: '1 · Axial 1', exact: true }).click();
  await page.getByRole('heading', { name: 'CT Axial 1' }).waitFor();
  await becomes(() => page.locator('.pictures a .ellipsis').allTextContents(), ['1', '2', '3', '4', '5']);
  await page.getByRole('link', { name: 'Instance 3' }).click();
  await page.getByRole('img', { name: 'The picture' }).waitFor();
  await eventually(async () =>
    assert.ok((await page.evaluate<number>("document.querySelector('.picture img')?.naturalWidth ?? 0")) >= 64),
  );
  await panel(page, 'Instance').getByText('CT Image Storage').waitFor();
  await checkAccessibility(page);
  const way = page.getByRole('navigation', { name: 'Where this is' });
  await becomes(() => way.textContent(), 'StudiesPhantom, CylinderCylinder of water · 2026-11-23CT Axial 1Instance 3');
  await way.getByRole('link', { name: 'CT Axial 1' }).click();
  await page.getByRole('heading', { name: 'CT Axial 1' }).waitFor();
});

app.test('tags: searched, unfolded, copied, their bytes, and the way a UID leads', async (page) => {
  const target = await phantom();
  const referring = await app.upload([report('2.25.20261129.1.1.2')]);
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  await app.open(page, `instances/${target.ID}?part=tags`);
  const search = page.getByPlaceholder('Search tags, names and values');
  await search.fill('nothing like it');
  await page.getByText('0 elements').waitFor();
  await search.fill('Patient name');
  await page.getByText('1 element', { exact: true }).waitFor();
  const row = page.getByRole('row').filter({ hasText: '0010,0010' });
  await row.getByRole('button', { name: 'Copy PatientName' }).click();
  await row.getByRole('button', { name: 'Copied' }).waitFor();
  await becomes(() => page.evaluate('navigator.clipboard.readText()'), 'Phantom^Cylinder');
  await row.getByRole('button', { name: 'Bytes of PatientName' }).click();
  await page.getByText(/^00000000 {2}50 68 61 6e 74 6f 6d 5e {2}43 79/).waitFor();
  await checkAccessibility(page);

  await app.open(page, `instances/${referring.ID}?part=tags`);
  await page.getByRole('button', { name: 'Unfold all' }).click();
  await page
    .getByRole('row')
    .filter({ hasText: '0008,1155' })
    .getByRole('button', { name: /^2\.25/ })
    .click();
  await page.getByRole('heading', { name: 'CT Axial 1 · Instance 2' }).waitFor();
  await page.getByRole('tab', { name: 'File bytes' }).click();
  await page.getByText(/44 49 43 4d/).waitFor();
  await page.getByRole('button', { name: 'On' }).click();
  await page.getByText(/^00000200 /).waitFor();
});

app.test('metadata and files: set, attached, verified, compressed, taken away', async (page) => {
  const { ParentStudy } = await phantom();
  await app.open(page, `studies/${ParentStudy}?part=details`);
  const metadata = panel(page, 'Metadata');
  await metadata.getByRole('button', { name: 'Add' }).click();
  await page.getByLabel('Name or number').fill('research-id');
  await page.getByLabel('Value').fill(MARKUP);
  await page.getByRole('button', { name: 'Save' }).click();
  await metadata.getByText(MARKUP).waitFor();
  await metadata.getByRole('button', { name: 'Edit research-id' }).click();
  await page.getByLabel('Value').fill('R 7');
  await page.getByRole('button', { name: 'Save' }).click();
  await metadata.getByText('R 7').waitFor();
  await metadata.getByRole('button', { name: 'Delete research-id' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete', exact: true }).click();
  await metadata.getByText('R 7').waitFor({ state: 'detached' });

  const files = panel(page, 'Files');
  await files.getByRole('button', { name: 'Add' }).click();
  await page.getByLabel('Name or number').fill('notes');
  const buffer = Buffer.from('seen '.repeat(1000));
  await page.getByLabel('File', { exact: true }).setInputFiles({ name: 'notes.txt', mimeType: 'text/plain', buffer });
  await page.getByRole('dialog').getByRole('button', { name: 'Add' }).click();
  const row = files.getByRole('row').filter({ hasText: 'notes' });
  await row.getByRole('button', { name: 'Verify' }).click();
  await page.getByText('The file notes is on the disk as it was stored').waitFor();
  await row.getByRole('button', { name: 'Compress', exact: true }).click();
  await row.getByText('compressed', { exact: true }).waitFor();
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    row.getByRole('link', { name: 'Download' }).click(),
  ]);
  assert.equal(readFileSync(await download.path()).compare(buffer), 0);
  await row.getByRole('button', { name: 'Delete the file notes' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete', exact: true }).click();
  await row.waitFor({ state: 'detached' });
  await page.getByRole('tab', { name: 'History' }).click();
  await page.getByText('Files changed').first().waitFor();
  await page.getByText('Study appeared').waitFor();
});

app.test('a report as text, whose image is a click away', async (page) => {
  await phantom();
  const { ID } = await app.upload([report('2.25.20261129.1.1.2')]);
  await app.open(page, `instances/${ID}`);
  const article = page.getByRole('article');
  await article.getByRole('heading', { name: 'Radiology Report' }).waitFor();
  await article.getByText(`Finding: A cylinder ${MARKUP}`).waitFor();
  await article.getByText('Diameter: 48 millimeter').waitFor();
  await checkAccessibility(page);
  await article.getByRole('button', { name: '2.25.20261129.1.1.2' }).click();
  await page.getByRole('heading', { name: 'CT Axial 1 · Instance 2' }).waitFor();
});

app.test('a PDF document', async (page) => {
  const document = Buffer.from('%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n');
  const file = make({
    patientId: 'PDF',
    studyUid: '2.25.4712.1',
    seriesUid: '2.25.4712.1.1',
    sopUid: '2.25.4712.1.1.1',
    pixels: false,
    extra: [
      text('0008,0016', 'UI', '1.2.840.10008.5.1.4.1.1.104.1'),
      text('0042,0010', 'ST', 'Discharge letter'),
      text('0042,0012', 'LO', 'application/pdf'),
      { tag: '0042,0011', vr: 'OB', value: document },
    ],
  });
  const { ID } = await app.upload([file]);
  await app.open(page, `instances/${ID}`);
  const frame = page.locator('iframe[title="Discharge letter"]');
  await becomes(() => frame.getAttribute('src'), `${app.served.url}/instances/${ID}/pdf`);
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('link', { name: 'Download the document' }).click(),
  ]);
  assert.deepEqual(readFileSync(await download.path()).subarray(0, 8), document.subarray(0, 8));
});

/**
 * A film that the browser itself records, for as long as its encoder needs to begin with it and half a second more: base64 of an MPEG-4
 * file.
 */
const RECORDING = `(async () => {
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = 64;
  const context = canvas.getContext('2d');
  const recorder = new MediaRecorder(canvas.captureStream(20), { mimeType: 'video/mp4' });
  const chunks = [];
  recorder.addEventListener('dataavailable', ({ data }) => data.size > 0 && chunks.push(data));
  const ended = new Promise((resolve) => recorder.addEventListener('stop', resolve));
  recorder.start(100);
  const end = performance.now() + 20_000;
  // The first bytes come with the first frame that was encoded.
  for (let frame = 0, left = 12; left > 0 && performance.now() < end; frame += 1) {
    context.fillStyle = frame % 2 === 0 ? 'white' : 'black';
    context.fillRect(0, 0, 64, 64);
    await new Promise((resolve) => setTimeout(resolve, 40));
    if (chunks.length > 0) left -= 1;
  }
  recorder.stop();
  await ended;
  const bytes = new Uint8Array(await new Blob(chunks).arrayBuffer());
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
})()`;
const PLAYED = `(async (video) => {
  await video.play();
  return video.videoWidth;
})(document.querySelector('video'))`;

app.test('a film in MPEG-4, in two fragments', async (page) => {
  await app.open(page, 'jobs');
  const film = Buffer.from(await page.evaluate<string>(RECORDING), 'base64');
  assert.ok(film.length > 1000, `${film.length} bytes were recorded`);
  const whole = film.length % 2 === 0 ? film : Buffer.concat([film, Buffer.alloc(1)]);
  const file = make({
    transferSyntax: '1.2.840.10008.1.2.4.102',
    patientId: 'FILM',
    studyUid: '2.25.4713.1',
    seriesUid: '2.25.4713.1.1',
    sopUid: '2.25.4713.1.1.1',
    rows: 64,
    columns: 64,
    bits: 8,
    samples: 3,
    frames: 12,
    pixels: { fragments: [whole.subarray(0, 1000), whole.subarray(1000)] },
  });
  const { ID } = await app.upload([file]);
  await app.open(page, `instances/${ID}`);
  await page.locator('video').waitFor();
  assert.equal(await page.evaluate(PLAYED), 64);
});

app.test(
  'what was deleted meanwhile says so, and so does what never was',
  async (page) => {
    const { ParentSeries, ID } = await app.upload(phantomSeries({ study: 9, slices: 1 }));
    await app.open(page, `instances/${ID}`);
    await page.getByRole('heading', { name: /Instance 1/ }).waitFor();
    await fetch(`${app.served.url}/series/${ParentSeries}`, { method: 'DELETE' });
    await page.getByText('It was deleted while you looked at it.').waitFor();
    await app.open(page, 'studies/66a662ce-7430e543-bad44d47-0dc5a943-ec7a538d');
    await page.getByText('There is nothing under this address.').waitFor();
  },
  { expected: [/404/] },
);

const XSS = shared('samples/2017-06-27-XSSInjection.dcm');

app.test(
  'values of tags inject no markup',
  async (page) => {
    const files: Uint8Array[] = XSS === undefined ? [] : [readFileSync(XSS)];
    files.push(
      make({
        patientName: '<script>document.title=1</script>',
        patientId: 'X',
        studyUid: '2.25.4714.1',
        seriesUid: '2.25.4714.1.1',
        sopUid: '2.25.4714.1.1.1',
        extra: [text('0008,1030', 'LO', MARKUP), text('0008,103e', 'LO', MARKUP)],
      }),
    );
    for (const file of files) {
      const { ID, ParentStudy, ParentPatient, ParentSeries } = await app.upload([file]);
      for (const path of [
        '',
        `patients/${ParentPatient}`,
        `studies/${ParentStudy}`,
        `series/${ParentSeries}`,
        `instances/${ID}?part=tags`,
      ]) {
        await app.open(page, path);
        await page.waitForLoadState('networkidle');
        await becomes(() => page.title(), / · Isen$/, path);
        assert.equal(await page.locator('main b, main script, main img[src="x"]').count(), 0, path);
      }
    }
  },
  { expected: [/415/] },
);
