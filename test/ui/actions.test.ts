/** Owns the proof of ui/src/actions: what is done with one or many resources, and that people are told before and after. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after } from 'node:test';
import type { Locator, Page } from 'playwright-core';
import { freePort } from '../peer.ts';
import { serve } from '../http/served.ts';
import { becomes, checkAccessibility, explorer, type Stored } from './browser.ts';
import { type Phantom, phantomSeries } from './phantom.ts';

const app = explorer({ JobsHistorySize: 100 });
const closing: (() => Promise<void>)[] = [];
after(async () => {
  for (const close of closing) await close();
});

const SMALL = { rows: 16, columns: 16, slices: 2 };

/** A study of two series. */
async function study(number: number, options: Phantom = {}): Promise<Stored> {
  const first = await app.upload(phantomSeries({ ...SMALL, study: number, series: 1, ...options }));
  await app.upload(phantomSeries({ ...SMALL, study: number, series: 2, seriesDescription: 'Coronal', ...options }));
  return first;
}

async function json<T>(path: string, url = app.served.url): Promise<T> {
  return (await (await fetch(`${url}${path}`)).json()) as T;
}

interface Shown {
  readonly MainDicomTags: Readonly<Record<string, string>>;
  readonly PatientMainDicomTags: Readonly<Record<string, string>>;
  readonly Series: readonly string[];
}

const dialog = (page: Page): Locator => page.getByRole('dialog');
const action = (page: Page, name: string): Locator =>
  page.getByRole('group', { name: 'Actions' }).getByRole('button', { name, exact: true });
const jobs = (page: Page): Locator => page.getByRole('region', { name: 'Jobs begun here' });

/** Selects the studies of these patients in the list. */
async function select(page: Page, ...patients: readonly string[]): Promise<void> {
  await app.open(page);
  for (const id of patients) {
    const row = page.getByRole('row').filter({ has: page.getByText(id, { exact: true }) });
    await row.getByRole('checkbox').check();
  }
  await page.getByText(`${patients.length} selected`).waitFor();
}

app.test('several studies are sent to a modality, and the job is followed to its end', async (page) => {
  const port = await freePort();
  const receiver = await serve({ DicomServerEnabled: true, DicomPort: port });
  closing.push(async () => receiver.close());
  await study(1);
  await study(2);
  await app.open(page, 'studies/' + (await study(1)).ParentStudy);
  await action(page, 'Send').click();
  await dialog(page).getByText('There is nowhere to send to yet.').waitFor();
  await dialog(page).getByRole('button', { name: 'Cancel' }).click();
  const modality = JSON.stringify(['ISEN', '127.0.0.1', port]);
  await fetch(`${app.served.url}/modalities/archive`, { method: 'PUT', body: modality });
  await select(page, 'PHANTOM1', 'PHANTOM2');
  await action(page, 'Send').click();
  await checkAccessibility(page, '.dialog');
  await dialog(page).getByLabel('archive').check();
  await dialog(page).getByRole('button', { name: 'Send' }).click();
  await jobs(page).getByText('Sending 2 studies to archive').waitFor();
  await jobs(page).getByRole('button', { name: 'Dismiss' }).waitFor();
  assert.equal((await json<{ CountInstances: number }>('/statistics', receiver.url)).CountInstances, 8);
});

app.test('anonymised: a copy without the name, which the job leads to', async (page) => {
  const { ParentStudy } = await study(3);
  await app.open(page, `studies/${ParentStudy}`);
  await action(page, 'Anonymise').click();
  await dialog(page).getByLabel('New patient name').fill('Case 3');
  await dialog(page).getByLabel('Study description').check();
  await checkAccessibility(page, '.dialog');
  await dialog(page).getByRole('button', { name: 'Anonymise' }).click();
  await jobs(page).getByRole('link', { name: 'Show', exact: true }).click();
  await page.getByRole('heading', { name: 'Case 3 · Cylinder of water' }).waitFor();
  await page.getByRole('tab', { name: 'History' }).click();
  const source = page.getByRole('link', { name: ParentStudy });
  await page.getByText('Anonymised from').filter({ has: source }).waitFor();
  const tags = await json<Shown>(`/studies/${ParentStudy}`);
  assert.equal(tags.PatientMainDicomTags['PatientName'], 'Phantom^Cylinder');
});

app.test('modified: what changes is shown first; a copy, or in place', async (page) => {
  const { ParentStudy } = await study(4);
  await app.open(page, `studies/${ParentStudy}`);
  await action(page, 'Modify').click();
  await dialog(page).getByLabel('Study description').fill('Corrected');
  await dialog(page).getByPlaceholder('Another tag').fill('SliceThickness');
  await dialog(page).getByRole('button', { name: 'Remove it' }).click();
  await dialog(page).getByRole('button', { name: 'Review the changes' }).click();
  const rows = dialog(page).getByRole('row');
  await rows.filter({ hasText: 'SliceThickness' }).filter({ hasText: '2' }).waitFor();
  await becomes(
    () => rows.allTextContents(),
    ['TagNowThen', 'Study descriptionCylinder of waterCorrected', 'SliceThickness2removed'],
  );
  await checkAccessibility(page, '.dialog');
  await dialog(page).getByRole('button', { name: 'Make the copy' }).click();
  await jobs(page).getByRole('link', { name: 'Show', exact: true }).click();
  await page.getByRole('heading', { name: 'Phantom, Cylinder · Corrected' }).waitFor();
  assert.notEqual(new URL(page.url()).pathname, `/ui/app/studies/${ParentStudy}`);

  // The patient has two studies now, which have the name from it.
  await app.open(page, `studies/${ParentStudy}`);
  await action(page, 'Modify').click();
  await dialog(page).getByLabel('Patient name').fill('Phantom^Renamed');
  await dialog(page).getByLabel('Change it in place').check();
  await dialog(page).getByRole('button', { name: 'Review the changes' }).click();
  await dialog(page).getByText('The original values are lost.').waitFor();
  await dialog(page).getByText('modify the patient instead').waitFor();
  await dialog(page).getByRole('button', { name: 'Cancel' }).click();
  await app.upload(phantomSeries({ ...SMALL, study: 9, slices: 1 }));
  await page.goto(app.served.url + '/ui/app/');
  await page.getByText('PHANTOM9', { exact: true }).waitFor();
  await page.getByRole('row').filter({ hasText: 'PHANTOM9' }).getByRole('link', { name: 'Phantom, Cylinder' }).click();
  await action(page, 'Modify').click();
  await dialog(page).getByLabel('Patient name').fill('Phantom^Renamed');
  await dialog(page).getByLabel('Change it in place').check();
  await dialog(page).getByRole('button', { name: 'Review the changes' }).click();
  await dialog(page).getByRole('button', { name: 'Change in place' }).click();
  await page.getByRole('heading', { name: 'Phantom, Renamed · Cylinder of water' }).waitFor();
});

app.test('several studies are modified by one job', async (page) => {
  for (const number of [11, 12]) await app.upload(phantomSeries({ ...SMALL, study: number, slices: 1 }));
  await select(page, 'PHANTOM11', 'PHANTOM12');
  await action(page, 'Modify').click();
  await dialog(page).getByLabel('Referring physician').fill('House^Gregory');
  await dialog(page).getByLabel('Change it in place').check();
  await dialog(page).getByRole('button', { name: 'Review the changes' }).click();
  await dialog(page).getByRole('button', { name: 'Change in place' }).click();
  await jobs(page).getByText('Modifying 2 studies').waitFor();
  await jobs(page).getByRole('button', { name: 'Dismiss' }).waitFor();
  const found = await json<readonly Shown[]>('/studies?expand');
  const changed = found.filter(({ MainDicomTags: tags }) => tags['ReferringPhysicianName'] === 'House^Gregory');
  assert.deepEqual(changed.map((each) => each.PatientMainDicomTags['PatientID'] ?? '').toSorted(), [
    'PHANTOM11',
    'PHANTOM12',
  ]);
});

app.test('split, and merged again', async (page) => {
  const { ParentStudy } = await study(5);
  await app.open(page, `studies/${ParentStudy}`);
  await action(page, 'Split').click();
  await dialog(page).getByLabel('CT Coronal').check();
  await dialog(page).getByLabel('Study description').fill('Split off');
  await dialog(page).getByRole('button', { name: 'Split' }).click();
  await jobs(page).getByRole('link', { name: 'Show', exact: true }).click();
  await page.getByRole('heading', { name: 'Phantom, Cylinder · Split off' }).waitFor();
  await becomes(() => page.locator('.card-title').allTextContents(), ['2 · Coronal']);
  await app.open(page);
  await page.getByPlaceholder('Patient ID').fill('PHANTOM5');
  await page.getByText('2 studies', { exact: true }).waitFor();
  const boxes = page.getByRole('checkbox', { name: /Select the study of/ });
  await becomes(() => boxes.count(), 2);
  for (const box of await boxes.all()) await box.check();
  await action(page, 'Merge').click();
  await dialog(page).getByLabel('Cylinder of water').check();
  await dialog(page).getByText('Moves 1 series into it').waitFor();
  await dialog(page).getByRole('button', { name: 'Merge' }).click();
  await page.getByText('1 study', { exact: true }).waitFor();
  assert.equal((await json<Shown>(`/studies/${ParentStudy}`)).Series.length, 2);
});

app.test(
  'series and instances are selected and deleted, after it was said what goes',
  async (page) => {
    const { ParentStudy, ParentSeries } = await study(6);
    await app.open(page, `series/${ParentSeries}`);
    await page.getByRole('checkbox', { name: 'Select Instance 2' }).check();
    await page.locator('.selection-bar').getByRole('button', { name: 'Delete' }).click();
    await dialog(page).getByText('This deletes 1 instance and frees').waitFor();
    await dialog(page).getByRole('button', { name: 'Delete 1 instance' }).click();
    await page.getByRole('checkbox', { name: 'Select Instance 2' }).waitFor({ state: 'detached' });
    await app.open(page, `studies/${ParentStudy}`);
    await action(page, 'Delete').click();
    await dialog(page)
      .getByText(/This deletes 2 series, 3 instances and frees/)
      .waitFor();
    await dialog(page).getByText('This cannot be undone.').waitFor();
    await dialog(page).getByRole('button', { name: 'Delete 1 study' }).click();
    await page.getByText('1 study deleted').waitFor();
    await page.getByRole('heading', { name: 'Studies', exact: true }).waitFor();
    assert.equal((await fetch(`${app.served.url}/studies/${ParentStudy}`)).status, 404);
  },
  { expected: [/404/] },
);

app.test('labels and protection', async (page) => {
  const { ParentStudy, ParentPatient } = await study(7);
  await app.open(page, `studies/${ParentStudy}`);
  await action(page, 'Labels').click();
  await dialog(page).getByLabel('New label').fill('not one!');
  await dialog(page).getByText('Labels are made of').waitFor();
  await dialog(page).getByLabel('New label').fill('teaching');
  await checkAccessibility(page, '.dialog');
  await dialog(page).getByRole('button', { name: 'Save' }).click();
  await page.locator('.page-head .label', { hasText: 'teaching' }).waitFor();
  await action(page, 'Protect').click();
  await page.getByRole('button', { name: 'Protect the patient' }).click();
  await page.getByText('1 patient is protected').waitFor();
  assert.equal(await (await fetch(`${app.served.url}/patients/${ParentPatient}/protected`)).text(), '1');
  await app.open(page, `patients/${ParentPatient}`);
  await page.locator('.page-head').getByText('protected').waitFor();
});

app.test('taken away as ZIP, with DICOMDIR, as a file', async (page) => {
  const { ParentStudy, ID } = await study(8);
  await app.open(page, `studies/${ParentStudy}`);
  for (const [kind, inside] of [
    ['ZIP archive', /CT000000|CT/],
    ['ZIP with DICOMDIR', /DICOMDIR/],
  ] as const) {
    await action(page, 'Download').click();
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: kind }).click(),
    ]);
    const bytes = readFileSync(await download.path());
    assert.equal(bytes.toString('latin1', 0, 2), 'PK', kind);
    assert.match(bytes.toString('latin1'), inside, kind);
  }
  await app.open(page, `instances/${ID}`);
  const [file] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('link', { name: 'DICOM file' }).click(),
  ]);
  assert.equal(readFileSync(await file.path()).toString('latin1', 128, 132), 'DICM');
});
