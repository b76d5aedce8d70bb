/** Owns the proof of the interface's page of queries: the reference server is asked, and what it has is retrieved. */

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { startReference, type Reference } from '../debian-reference.ts';
import { make } from '../dicom/made.ts';
import { freePort, without } from '../peer.ts';
import { becomes, checkAccessibility, explorer } from './browser.ts';

const withoutPeers = without('chromium') || without('Orthanc');
const [here, there, dead] = await Promise.all([freePort(), freePort(), freePort()]);

const app = explorer({
  DicomServerEnabled: true,
  DicomAet: 'ISEN',
  DicomPort: here,
  DicomModalities: {
    archive: ['ARCHIVE', '127.0.0.1', there],
    dead: ['DEAD', '127.0.0.1', dead],
  },
});
let judge: Reference;

/** A study of two series of two instances each. */
const study = (number: number, name: string, extra: { date: string; description: string }): Buffer[] =>
  [1, 2].flatMap((series) =>
    [1, 2].map((instance) =>
      make({
        patientName: name,
        patientId: `P${number}`,
        studyUid: `1.2.9.${number}`,
        seriesUid: `1.2.9.${number}.${series}`,
        sopUid: `1.2.9.${number}.${series}.${instance}`,
        extra: [
          { tag: '0008,0020', vr: 'DA', value: extra.date },
          { tag: '0008,1030', vr: 'LO', value: extra.description },
          { tag: '0008,103e', vr: 'LO', value: `series ${series}` },
          { tag: '0008,0060', vr: 'CS', value: series === 1 ? 'CT' : 'SR' },
          { tag: '0020,0013', vr: 'IS', value: String(instance) },
        ],
      }),
    ),
  );

if (withoutPeers === false) {
  before(async () => {
    judge = await startReference({
      DicomServerEnabled: true,
      DicomAet: 'ARCHIVE',
      DicomPort: there,
      DicomAlwaysAllowFind: true,
      DicomAlwaysAllowGet: true,
      DicomAlwaysAllowMove: true,
      DicomModalities: { isen: ['ISEN', '127.0.0.1', here] },
    });
    const files = [
      ...study(1, 'Abel^Anna', { date: '20200115', description: 'KNEE' }),
      ...study(2, 'Baker^Bob', { date: '20210301', description: 'HEAD' }),
      ...study(3, 'Abel^Carl', { date: '20210302', description: 'KNEE left' }),
    ];
    for (const file of files) {
      const answer = await fetch(`${judge.url}/instances`, { method: 'POST', body: new Uint8Array(file) });
      assert.equal(answer.status, 200);
    }
  });
  after(() => judge.close());
}

const stored = async (): Promise<number> =>
  ((await (await fetch(`${app.served.url}/instances`)).json()) as string[]).length;

app.test('studies are found by words, dates and modality, and unfold to their instances', async (page) => {
  await app.open(page, 'query');
  await page.getByText('Ask another archive').waitFor();
  await page.getByRole('button', { name: 'Search' }).click();
  await page.getByText('3 answers').waitFor();
  await page.getByLabel('Patient name').fill('abel');
  await page.keyboard.press('Enter');
  await page.getByText('2 answers').waitFor();
  await page.locator('select[name=period]').selectOption('range');
  await page.getByRole('textbox', { name: 'From' }).fill('2021-01-01');
  await page.getByRole('textbox', { name: 'To', exact: true }).fill('2021-12-31');
  await page.getByRole('button', { name: 'Search' }).click();
  await page.getByText('1 answer', { exact: true }).waitFor();
  const row = page.getByRole('row', { name: 'Abel, Carl' });
  await becomes(() => row.innerText(), /P3[^]*2021-03-02[^]*KNEE left[^]*2\s+4/);
  await page.getByLabel('Patient name').fill('');
  await page.locator('select[name=period]').selectOption('');
  await page.getByRole('button', { name: 'Add a tag' }).click();
  await page.getByRole('combobox', { name: 'Tag', exact: true }).fill('StudyDescription');
  await page.getByLabel('Value StudyDescription').fill('HEAD');
  await page.getByRole('button', { name: 'MG', exact: true }).click();
  await page.getByRole('button', { name: 'Search' }).click();
  await page.getByText('It has nothing like that').waitFor();
  await page.getByRole('button', { name: 'MG', exact: true }).click();
  await page.getByRole('button', { name: 'CT', exact: true }).click();
  await page.getByRole('button', { name: 'Search' }).click();
  await page.getByText('1 answer', { exact: true }).waitFor();
  await page.getByRole('button', { name: 'What is below Baker, Bob' }).click();
  await page.getByRole('button', { name: 'What is below series 2' }).click();
  await page.getByText('1.2.9.2.2.1', { exact: true }).waitFor();
  await page.getByText('1.2.9.2.2.2', { exact: true }).waitFor();
  await checkAccessibility(page);
  // What was found is still there after a look elsewhere.
  await page.getByRole('link', { name: 'Jobs' }).click();
  await page.getByRole('heading', { name: 'Jobs', exact: true }).waitFor();
  await page.getByRole('link', { name: 'Query / retrieve' }).click();
  await page.getByText('1 answer', { exact: true }).waitFor();
});

app.test('a series is retrieved by C-GET, studies by C-MOVE, as jobs that are followed', async (page) => {
  await app.open(page, 'query');
  await page.getByRole('button', { name: 'Search' }).click();
  await page.getByText('3 answers').waitFor();
  await page.locator('select[name=method]').selectOption('C-GET');
  await page.getByRole('button', { name: 'What is below Abel, Anna' }).click();
  await page.getByRole('button', { name: 'Retrieve series 1' }).click();
  await page.getByText('series 1 has arrived').waitFor();
  assert.equal(await stored(), 2);
  await page.getByRole('row', { name: 'Abel, Anna' }).getByRole('link', { name: 'here' }).waitFor();

  await page.locator('select[name=method]').selectOption('C-MOVE');
  await page.getByLabel('Select Baker, Bob').check();
  await page.getByLabel('Select Abel, Carl').check();
  await page.getByRole('button', { name: 'Retrieve 2 selected' }).click();
  await page.getByText('HEAD has arrived').waitFor();
  await page.getByText('KNEE left has arrived').waitFor();
  assert.equal(await stored(), 10);
  await becomes(() => page.getByRole('link', { name: 'here' }).count(), 3);
  const jobs = (await (await fetch(`${app.served.url}/jobs?expand`)).json()) as { Type: string; State: string }[];
  assert.deepEqual(
    jobs.map(({ Type, State }) => `${Type} ${State}`),
    ['DicomGetScu Success', 'DicomMoveScu Success', 'DicomMoveScu Success'],
  );
});

app.test(
  'a retrieval that fails, and a modality that does not answer, say why',
  async (page) => {
    await app.open(page, 'query');
    await page.getByRole('button', { name: 'Patients' }).click();
    await page.getByRole('button', { name: 'Search' }).click();
    await page.getByText('3 answers').waitFor();
    await page.locator('select[name=method]').selectOption('C-MOVE');
    await page.getByLabel('Send it to the AE title').fill('NOBODY');
    await page.getByRole('button', { name: 'Retrieve Baker, Bob' }).click();
    const tray = page.getByRole('region', { name: 'Jobs begun here' });
    await tray
      .getByText(/has failed|unknown|NOBODY|C-MOVE/)
      .first()
      .waitFor();
    await tray.getByRole('link').click();
    await page.getByRole('heading', { name: 'It failed' }).waitFor();
    await page
      .locator('main')
      .getByText(/DIMSE status 0x/)
      .waitFor();

    await page.getByRole('link', { name: 'Query / retrieve' }).click();
    await page.locator('select[name=modality]').selectOption('dead');
    await page.getByRole('button', { name: 'Search' }).click();
    await page.getByRole('alert').getByText('Nothing listens at that address and port').waitFor();
    await checkAccessibility(page);
  },
  { expected: [/500 .*\/modalities\/dead\/query/, /status of 500 .*\/query/] },
);
