/** Owns the proof of ui/src/upload: what is dropped or chosen arrives, whatever stands in its way, and people are told what came of it. */

import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { Page } from 'playwright-core';
import yazl from 'yazl';
import { temporaryFolder } from '../peer.ts';
import { becomes, checkAccessibility, explorer } from './browser.ts';
import { phantomSeries } from './phantom.ts';

const app = explorer();

async function zip(files: readonly Buffer[]): Promise<Buffer> {
  const archive = new yazl.ZipFile();
  for (const [index, file] of files.entries()) archive.addBuffer(file, `images/${index}.dcm`);
  archive.end();
  const chunks: Buffer[] = [];
  for await (const chunk of archive.outputStream) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

/** Drops files and folders of the disk in the middle of the page, as a file manager does. */
async function drop(page: Page, ...files: readonly string[]): Promise<void> {
  const session = await page.context().newCDPSession(page);
  const data = { items: [], files: [...files], dragOperationsMask: 1 };
  for (const type of ['dragEnter', 'dragOver'] as const) {
    await session.send('Input.dispatchDragEvent', { type, x: 600, y: 400, data });
  }
  await page.getByText('Drop to upload').waitFor();
  await session.send('Input.dispatchDragEvent', { type: 'drop', x: 600, y: 400, data });
}

const tile = (page: Page, title: string) => page.locator('.tile').filter({ hasText: title }).locator('dd');

async function finished(page: Page): Promise<void> {
  await page.getByRole('status').filter({ hasText: 'All done' }).waitFor();
}

app.test(
  'a folder dropped on another page: files, ZIP and gzip at every depth, and what is no DICOM apart',
  async (page) => {
    const folder = temporaryFolder();
    const deep = join(folder, 'disc', 'a', 'b', 'c');
    mkdirSync(deep, { recursive: true });
    const [first, second] = phantomSeries({ study: 1, slices: 2 });
    writeFileSync(join(folder, 'disc', 'one.dcm'), first ?? '');
    writeFileSync(join(deep, 'two.dcm.gz'), gzipSync(second ?? ''));
    writeFileSync(
      join(deep, 'three.zip'),
      await zip(phantomSeries({ study: 2, slices: 3, studyDescription: 'In a ZIP' })),
    );
    for (let index = 0; index < 130; index += 1)
      writeFileSync(join(folder, 'disc', 'a', `notes ${index}.txt`), 'no DICOM');
    await app.open(page, 'jobs');
    await drop(page, join(folder, 'disc'));
    await finished(page);
    await becomes(() => new URL(page.url()).pathname, '/ui/app/upload');
    await becomes(() => tile(page, 'New images').textContent(), '5');
    await becomes(() => tile(page, 'Not DICOM').textContent(), '130');
    await becomes(() => tile(page, 'Failed').textContent(), '0');
    await page.getByText('133 of 133 files').waitFor();
    await page.getByText('130 files are not DICOM and were left out').click();
    await page.getByText('disc/a/notes 7.txt').waitFor();
    await checkAccessibility(page);
    const row = page.getByRole('row').filter({ hasText: 'In a ZIP' });
    await becomes(() => row.textContent(), /^Phantom, Cylinder.*CTIn a ZIP30 View$/);
    await row.getByRole('link', { name: 'Phantom' }).click();
    await page.getByRole('heading', { name: 'Phantom, Cylinder · In a ZIP' }).waitFor();
  },
);

app.test('files that are chosen, and the same again: they are there already', async (page) => {
  const files = phantomSeries({ study: 3, slices: 4 }).map((buffer, index) => ({
    name: `${index}.dcm`,
    mimeType: 'application/dicom',
    buffer,
  }));
  await app.open(page, 'upload');
  await page.getByLabel('Choose files').setInputFiles(files);
  await finished(page);
  await becomes(() => tile(page, 'New images').textContent(), '4');
  await page.getByLabel('Choose files').setInputFiles(files);
  await tile(page, 'Already there').filter({ hasText: '4' }).waitFor();
  await becomes(() => tile(page, 'New images').textContent(), '0');
});

app.test('it goes on over other pages, pauses and resumes', async (page) => {
  let sent = 0;
  let answered = 0;
  // The first ones go through and the next are held, so that it is under way when it is paused, however long that takes.
  let release: () => void = () => undefined;
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  await page.route('**/instances', async (route) => {
    sent += 1;
    if (sent > 8) await held;
    await route.continue();
  });
  page.on('requestfinished', (request) => {
    if (request.url().endsWith('/instances')) answered += 1;
  });
  const files = phantomSeries({ study: 4, slices: 40, rows: 8, columns: 8 });
  await app.open(page, 'upload');
  await page
    .getByLabel('Choose files')
    .setInputFiles(files.map((buffer, index) => ({ name: `${index}.dcm`, mimeType: 'application/dicom', buffer })));
  await becomes(() => sent, 12);
  await page.getByRole('button', { name: 'Pause' }).click();
  await page.getByRole('status').filter({ hasText: 'Paused' }).waitFor();
  release();
  await page.getByRole('link', { name: 'Studies', exact: true }).click();
  const tray = page.getByRole('region', { name: 'Upload' });
  await tray.getByText('Paused').waitFor();
  await becomes(() => answered, 12);
  await page.waitForTimeout(250);
  assert.equal(sent, 12, 'of 40 files, while it is paused');
  await tray.getByRole('button', { name: 'Resume' }).click();
  await tray.getByText('40 of 40 files').waitFor();
  await tray.getByText('40 new images').waitFor();
});

app.test(
  'a busy server is given its time; a file that fails is tried again by hand',
  async (page) => {
    const asked: number[] = [];
    let answers: readonly number[] = [503, 500];
    await page.route('**/instances', async (route) => {
      asked.push(Date.now());
      const [status, ...rest] = answers;
      answers = rest;
      if (status === undefined) await route.continue();
      else await route.fulfill({ status, headers: status === 503 ? { 'Retry-After': '1' } : {}, body: '{}' });
    });
    const [buffer] = phantomSeries({ study: 5, slices: 1 });
    assert.ok(buffer);
    await app.open(page, 'upload');
    await page.getByLabel('Choose files').setInputFiles({ name: 'lone.dcm', mimeType: 'application/dicom', buffer });
    await page.getByText('The server is busy and is asked again').waitFor();
    await finished(page);
    assert.ok((asked[1] ?? 0) - (asked[0] ?? 0) >= 950, 'Retry-After was not waited for');
    const failure = page.getByRole('row').filter({ hasText: 'lone.dcm' });
    await becomes(() => failure.textContent(), /HTTP 500/);
    await page.getByRole('button', { name: 'Try it again' }).click();
    await tile(page, 'New images').filter({ hasText: '1' }).waitFor();
    await becomes(() => tile(page, 'Failed').textContent(), '0');
  },
  { expected: [/\b50[03]\b/] },
);

app.test(
  'a full disk stops it, with what to do',
  async (page) => {
    await page.route('**/instances', (route) => route.fulfill({ status: 507, body: '{}' }), { times: 4 });
    const [buffer] = phantomSeries({ study: 6, slices: 1 });
    assert.ok(buffer);
    await app.open(page, 'upload');
    await page.getByLabel('Choose files').setInputFiles({ name: 'x.dcm', mimeType: 'application/dicom', buffer });
    await page.getByRole('alert').filter({ hasText: 'The storage is full' }).waitFor();
    await page.unroute('**/instances');
    await page.getByRole('button', { name: 'Resume' }).click();
    await tile(page, 'New images').filter({ hasText: '1' }).waitFor();
  },
  { expected: [/507/] },
);
