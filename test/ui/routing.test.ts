/** Owns the proof of the interface's pages of routing: queues of real and scripted receivers, rules, what was sent. */

import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { after, before } from 'node:test';
import type { Page } from 'playwright-core';
import { make } from '../dicom/made.ts';
import { freePort, temporaryFolder, without } from '../peer.ts';
import { startProgram, stopPrograms } from '../scp/programs.ts';
import { type Receiver, receive } from '../scu/receiver.ts';
import { becomes, checkAccessibility, explorer } from './browser.ts';

const withoutPeers = without('chromium') || without('storescp');
const [storescp, dead] = await Promise.all([freePort(), freePort()]);
const folder = temporaryFolder();

const app = explorer({
  LogExportedResources: true,
  DicomModalities: {
    pacs: ['PACS', '127.0.0.1', storescp],
    away: { AET: 'AWAY', Host: '127.0.0.1', Port: dead, RetryDelay: 60 },
  },
  Routes: [{ Name: 'fixed', When: { Tags: { Modality: 'XA' } }, To: 'away' }],
});
let full: Receiver;
/** What the scripted receiver answers. */
let status = 0xa700;

if (withoutPeers === false) {
  before(async () => {
    [full] = await Promise.all([
      receive({ answer: () => status }),
      startProgram('storescp', ['-aet', 'PACS', '-od', folder, String(storescp)], storescp),
    ]);
  });
  after(() => Promise.all([full.close(), stopPrograms()]));
}

const ask = async (method: string, path: string, body?: unknown): Promise<unknown> => {
  const answer = await fetch(app.served.url + path, {
    method,
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  assert.equal(answer.status, 200, `${method} ${path}: ${text}`);
  return text === '' ? undefined : JSON.parse(text);
};

const row = (page: Page, name: string) =>
  page.getByRole('row').filter({ has: page.getByRole('button', { name: `Details of the queue of ${name}` }) });

app.test('queues say how they do, why they fail, and are retried, paused, resumed and purged', async (page) => {
  await ask('PUT', '/modalities/full', { AET: 'FULL', Host: '127.0.0.1', Port: full.port, RetryDelay: 60 });
  await app.open(page, 'routing');
  await row(page, 'full').getByText('Idle').waitFor();
  const { ID } = await app.upload([make({ sopUid: '1.2.3.1' })]);
  await ask('POST', '/modalities/full/store', { Resources: [ID], Asynchronous: true });
  await ask('POST', '/modalities/away/store', { Resources: [ID], Asynchronous: true });

  await row(page, 'full').getByText('Does not take it').waitFor();
  await row(page, 'away').getByText('Does not take it').waitFor();
  await row(page, 'away')
    .getByText(/^again in/)
    .waitFor();
  await page.getByText('2 waiting').waitFor();
  await page.getByRole('button', { name: 'Details of the queue of full' }).click();
  await page.getByText('It is out of resources (A700H)').waitFor();
  await page.getByText('DIMSE status 0xA700').waitFor();
  await page.getByRole('link', { name: 'Instance' }).waitFor();
  await page.getByRole('link', { name: 'a job' }).waitFor();
  await page.getByRole('button', { name: 'Details of the queue of away' }).click();
  await page.getByText('Nothing listens at that address and port').waitFor();
  await checkAccessibility(page);
  await page.getByRole('button', { name: 'Details of the queue of away' }).click();

  status = 0;
  await page.getByRole('button', { name: 'Retry now: full' }).click();
  await page.getByText('1 entry for full will be tried now').waitFor();
  await page.getByText('Nothing failed, and nothing waits for a retry.').waitFor();
  assert.equal(full.received.length, 1);

  await page.getByRole('button', { name: 'Pause: full' }).click();
  await row(page, 'full').getByText('Paused').waitFor();
  await ask('POST', '/modalities/full/store', { Resources: [ID], Asynchronous: true });
  await row(page, 'full').getByRole('cell', { name: '1', exact: true }).waitFor();
  await page.getByRole('button', { name: 'Resume: full' }).click();
  await row(page, 'full')
    .getByText(/Idle|Sending/)
    .waitFor();
  await row(page, 'full').getByText('Idle').waitFor();
  assert.equal(full.received.length, 2);

  await page.getByLabel('Only with something in them').check();
  await row(page, 'pacs').waitFor({ state: 'detached' });
  await page.getByRole('button', { name: 'Purge: away' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('This gives up 1 entry not sent yet').waitFor();
  await dialog.getByRole('button', { name: 'Purge the queue' }).click();
  await page.getByText('nothing waits', { exact: true }).waitFor();
  assert.equal(((await ask('GET', '/modalities/away/queue')) as { Retrying: number }).Retrying, 0);
});

app.test('a rule is written, tried on a study, sends, is switched off, copied and removed', async (page) => {
  const { ParentStudy } = await app.upload([
    make({ sopUid: '1.2.4.1', studyUid: '1.2.4', seriesUid: '1.2.4.10', patientName: 'Knee^Anna', patientId: 'K1' }),
  ]);
  await app.open(page, 'rules');
  await page.getByRole('row', { name: 'fixed' }).getByText('in the configuration file').waitFor();
  assert.equal(await page.getByRole('button', { name: 'Edit fixed' }).count(), 0);
  assert.ok(await page.getByLabel('Rule fixed is enabled').isDisabled());
  await page.getByRole('button', { name: 'Add a rule' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Name').fill('knees');
  await dialog.getByRole('button', { name: 'Add a tag' }).click();
  await dialog.getByRole('combobox', { name: 'Tag', exact: true }).fill('PatientID');
  await dialog.getByLabel('Value PatientID').fill('K2\\K3');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await dialog.getByRole('alert').getByText('Choose at least one destination.').waitFor();
  await dialog.getByLabel('pacs').check();

  await dialog.locator('summary', { hasText: 'Try it on a study' }).click();
  await dialog.getByLabel('Patient name, ID or study description').fill('knee an');
  await dialog.getByRole('button', { name: 'Knee, Anna' }).click();
  await dialog.getByText('Does not go').waitFor();
  await dialog.getByText('PatientID is "K1", not "K2\\\\K3"').waitFor();
  await dialog.getByLabel('Value PatientID').fill('K*');
  await dialog.getByText('Goes to pacs').waitFor();
  await checkAccessibility(page);
  await dialog.getByLabel('Priority').fill('7');
  await dialog.getByLabel('Change on the way').selectOption('Modify');
  await dialog.getByRole('button', { name: 'Add a tag' }).nth(1).click();
  await dialog.getByRole('combobox', { name: 'Tag', exact: true }).nth(1).fill('InstitutionName');
  await dialog.getByLabel('Value InstitutionName').fill('North');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('row', { name: 'knees' }).getByText('Priority 7').waitFor();
  assert.deepEqual(await ask('GET', '/routes/knees'), {
    Name: 'knees',
    When: { Tags: { PatientID: 'K*' } },
    To: ['pacs'],
    Priority: 7,
    Modify: { Replace: { InstitutionName: 'North' } },
    Enabled: true,
  });

  await app.upload([make({ sopUid: '1.2.4.2', studyUid: '1.2.4', seriesUid: '1.2.4.10', patientId: 'K1' })]);
  await becomes(() => readdirSync(folder).length, 1);

  await page.getByLabel('Rule knees is enabled').uncheck();
  await page.getByRole('button', { name: 'Try on a study' }).click();
  await page.getByLabel('Patient name, ID or study description').fill('K1');
  await page.getByRole('button', { name: 'Knee, Anna' }).click();
  await page.getByText('Tried on Knee, Anna').waitFor();
  await becomes(() => new URL(page.url()).searchParams.get('study'), ParentStudy);
  await page.getByRole('row', { name: 'knees' }).getByText('does not apply').click();
  await page.getByText('it is not enabled').waitFor();
  await page.getByLabel('Rule knees is enabled').check();
  await page.getByRole('row', { name: 'knees' }).getByText('applies to all of it').waitFor();
  await checkAccessibility(page);

  await page.getByRole('button', { name: 'Copy knees' }).click();
  await dialog.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('row', { name: 'knees-copy' }).waitFor();
  await page.getByRole('button', { name: 'Edit knees-copy' }).click();
  await dialog.getByLabel('Study complete').check();
  await dialog.getByLabel('New instance').uncheck();
  await dialog.getByLabel('Sender’s AE title').fill('CT*, ""');
  await dialog.getByLabel('Sender’s address').fill('10.1.0.0/16');
  await dialog.getByLabel('Send in').selectOption('1.2.840.10008.1.2.4.80');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('row', { name: 'knees-copy' }).getByText('JPEG-LS Lossless').waitFor();
  const { When } = (await ask('GET', '/routes/knees-copy')) as { When: unknown };
  assert.deepEqual(When, {
    Event: ['StableStudy'],
    CallingAet: ['CT*', ''],
    RemoteIp: ['10.1.0.0/16'],
    Tags: { PatientID: 'K*' },
  });
  for (const name of ['knees', 'knees-copy']) {
    await page.getByRole('button', { name: `Delete ${name}`, exact: true }).click();
    await dialog.getByRole('button', { name: 'Remove the rule' }).click();
    await page.getByRole('button', { name: `Delete ${name}`, exact: true }).waitFor({ state: 'detached' });
  }
  assert.deepEqual(await ask('GET', '/routes'), ['fixed']);
});

app.test(
  'what a rule gets wrong is said where it is written',
  async (page) => {
    await app.open(page, 'rules');
    await page.getByRole('button', { name: 'Add a rule' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Name').fill('wrong');
    await dialog.getByLabel('pacs').check();
    await dialog.getByLabel('Sender’s address').fill('10.1.0.0/99');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await dialog.getByText('"10.1.0.0/99" is no address').waitFor();
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
    assert.deepEqual(await ask('GET', '/routes'), ['fixed']);
  },
  { expected: [/400 PUT .*routes/, /status of 400 .*routes/] },
);

app.test('what was sent is listed, the latest first, and the log is emptied', async (page) => {
  await app.open(page, 'exports');
  const rows = page.getByRole('table').getByRole('row');
  await rows.nth(1).getByText('pacs').waitFor();
  await page.getByText('1.2.4.2').waitFor();
  const { Exports } = (await ask('GET', '/exports')) as {
    Exports: { RemoteModality: string; SOPInstanceUID: string }[];
  };
  assert.deepEqual(
    Exports.map(({ RemoteModality, SOPInstanceUID }) => `${RemoteModality} ${SOPInstanceUID}`),
    ['full 1.2.3.1', 'away 1.2.3.1', 'full 1.2.3.1', 'pacs 1.2.4.2'],
  );
  await becomes(() => rows.count(), 1 + Exports.length);
  await checkAccessibility(page);
  await page.getByRole('button', { name: 'Empty the log' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Empty the log' }).click();
  await page.getByText('Nothing is in this log').waitFor();
});
