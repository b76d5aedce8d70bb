/** Owns the proof of ui/src/studies: the list narrows as one types, shows what is chosen, unfolds, and stays in step with the server. */

import assert from 'node:assert/strict';
import type { Locator, Page } from 'playwright-core';
import { make } from '../dicom/made.ts';
import { becomes, checkAccessibility, eventually, explorer } from './browser.ts';
import { phantomSeries } from './phantom.ts';

const app = explorer();

const ROOT = '2.25.815';
const text = (tag: string, vr: string, value: string) => ({ tag, vr, value });

/** 120 studies, one a day up to today, of four people in turn and two modalities. */
function* many(): Generator<Buffer> {
  const people = ['Adams^Ada', 'Baker^Ben', 'Müller^Jürgen', 'Doe^Jane'];
  for (let n = 0; n < 120; n += 1) {
    const day = new Date(Date.now() - n * 86_400_000).toISOString().slice(0, 10).replaceAll('-', '');
    yield make({
      charset: 'ISO_IR 192',
      patientName: Buffer.from(people[n % 4] ?? ''),
      patientId: `P${n % 4}-${n}`,
      studyUid: `${ROOT}.${n}`,
      seriesUid: `${ROOT}.${n}.1`,
      sopUid: `${ROOT}.${n}.1.1`,
      extra: [
        text('0008,0020', 'DA', day),
        text('0008,0050', 'SH', `ACC${1000 + n}`),
        text('0008,0060', 'CS', n % 3 === 0 ? 'MR' : 'CT'),
        text('0008,1030', 'LO', n % 5 === 0 ? 'Knee left' : 'Thorax'),
      ],
    });
  }
}

let stored: Promise<unknown> | undefined;
/** Opens the list with all of them. */
async function list(page: Page): Promise<void> {
  await (stored ??= app.upload(many()));
  await app.open(page);
  await page.locator('.study-name').first().waitFor();
}

const count = (page: Page, n: string): Promise<void> => page.getByText(`${n} studies`, { exact: true }).waitFor();
const rows = (page: Page): Locator => page.locator('.study-row:not(.waiting)');

app.test('only what is in sight is in the page, and all of it can be scrolled to', async (page) => {
  await list(page);
  await count(page, '120');
  assert.ok((await rows(page).count()) < 45);
  await checkAccessibility(page);
  await page.getByRole('button', { name: 'Study date' }).click();
  await page.locator('.study-row[data-index="0"]', { hasText: 'ACC1000' }).waitFor();
  await page.evaluate("document.querySelector('.studies').scrollTo(0, 1e6)");
  await page.locator('.study-row[data-index="119"]', { hasText: 'ACC1119' }).waitFor();
  assert.ok((await rows(page).count()) < 45);
});

app.test('narrowed by each field, and by all of them', async (page) => {
  await list(page);
  await page.getByPlaceholder('Patient name').fill('jürg');
  await count(page, '30');
  await page.getByPlaceholder('Patient name').fill('ADAMS ada');
  await count(page, '30');
  await page.getByPlaceholder('Patient ID').fill('P0-1');
  await page.getByText(/^7 studies$/).waitFor();
  await page.getByRole('button', { name: 'Clear filters' }).click();
  await count(page, '120');
  await page.getByLabel('Study date').selectOption({ label: 'Last 7 days' });
  await count(page, '8');
  await page.getByRole('button', { name: 'Any modality' }).click();
  await page.getByLabel('MR', { exact: true }).check();
  await count(page, '3');
  await page.keyboard.press('Escape');
  await page.getByPlaceholder('Description').fill('knee');
  await page.getByText('1 study', { exact: true }).waitFor();
  await page.reload();
  await page.getByText('1 study', { exact: true }).waitFor();
  await page.getByPlaceholder('Accession').fill('nowhere');
  await page.getByRole('heading', { name: 'No study is like that' }).waitFor();
  await page.locator('.empty').getByRole('button', { name: 'Clear filters' }).click();
  await count(page, '120');
});

app.test('columns are chosen, and remembered', async (page) => {
  await list(page);
  const heading = page.getByRole('columnheader', { name: 'Referring physician' });
  assert.equal(await heading.count(), 0);
  await page.getByRole('button', { name: 'Columns' }).click();
  await page.getByLabel('Referring physician').check();
  await page.getByRole('checkbox', { name: 'Accession' }).uncheck();
  await page.keyboard.press('Escape');
  await heading.waitFor();
  await page.reload();
  await heading.waitFor();
  assert.equal(await page.getByRole('columnheader', { name: 'Accession' }).count(), 0);
});

app.test(
  'a row unfolds to its series; a study that comes in and one that goes are seen',
  async (page) => {
    await list(page);
    await app.upload(phantomSeries({ study: 1, series: 1, slices: 3 }));
    const added = await app.upload(phantomSeries({ study: 1, series: 2, slices: 2, seriesDescription: 'Scout' }));
    await count(page, '121');
    const row = rows(page).filter({ hasText: 'PHANTOM1' });
    await row.getByRole('button', { name: /^Series of/ }).click();
    const series = page.getByRole('list', { name: 'Series of the study' });
    await series.getByText('Scout').waitFor();
    await becomes(
      async () => (await series.getByRole('listitem').allTextContents()).map((each) => each.replaceAll(/\s+/g, ' ')),
      ['CT1 · Axial 13 instances View', 'CT2 · Scout2 instances View'],
    );
    await eventually(async () =>
      assert.ok((await page.evaluate<number>("document.querySelector('.unfolded img')?.naturalWidth ?? 0")) > 0),
    );
    await fetch(`${app.served.url}/studies/${added.ParentStudy}`, { method: 'DELETE' });
    await count(page, '120');
    await row.waitFor({ state: 'detached' });
  },
  { expected: [/404/] },
);

app.test('the keyboard goes from row to row, and opens a study', async (page) => {
  await list(page);
  await page.getByRole('button', { name: 'Study date' }).click();
  await page.locator('.study-row[data-index="0"]', { hasText: 'ACC1000' }).waitFor();
  await page.locator('.study-row[data-index="0"] .study-name').focus();
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Müller, Jürgen · Thorax' }).waitFor();
});
