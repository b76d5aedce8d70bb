/** Owns the additions of the configuration to the data dictionary: what is named by them, and what names they give to requests. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serve, type Served } from './served.ts';

const CREATOR = 'ISEN SUITE';
const NAMES = {
  Dictionary: {
    '0041,c2': ['DS', 'SuiteWeight', 1, 1, CREATOR],
    '0041-10c3': ['LO', 'SuiteNote', 1, 0, CREATOR],
    '00100010': ['UI', 'NotTheName'],
    '0012,7fe0': ['IS', 'SuiteCount'],
  },
};

interface Tag {
  readonly Name: string;
  readonly Value: unknown;
}

async function post(server: Served, path: string, body: unknown): Promise<Response> {
  return fetch(server.url + path, { method: 'POST', body: JSON.stringify(body) });
}

/** The tags of what `tags` create, in the full form. */
async function created(server: Served, tags: object, rest: object = {}): Promise<[string, Record<string, Tag>]> {
  const answer = await post(server, '/tools/create-dicom', { Tags: tags, ...rest });
  assert.equal(answer.status, 200, await answer.clone().text());
  const { ID } = (await answer.json()) as { ID: string };
  return [ID, (await (await fetch(`${server.url}/instances/${ID}/tags`)).json()) as Record<string, Tag>];
}

/** Runs `use` with a server of these options. */
async function withServer(options: Readonly<Record<string, unknown>>, use: (server: Served) => Promise<void>) {
  const server = await serve(options);
  try {
    await use(server);
  } finally {
    await server.close();
  }
}

test('added tags are named in answers, and name tags in requests', async () => {
  await withServer(NAMES, async (server) => {
    const [id, tags] = await created(
      server,
      { '0041,0010': CREATOR, SuiteWeight: '1.5', SuiteNote: 'a', SuiteCount: '7', PatientName: 'A^B' },
      { PrivateCreator: CREATOR },
    );
    assert.deepEqual(
      ['0041,10c2', '0041,10c3', '0012,7fe0', '0010,0010'].map((tag) => [tags[tag]?.Name, tags[tag]?.Value]),
      [
        ['SuiteWeight', '1.5'],
        ['SuiteNote', 'a'],
        ['SuiteCount', '7'],
        ['PatientName', 'A^B'],
      ],
    );
    const modified = await post(server, `/instances/${id}/modify`, {
      Replace: { SuiteNote: 'b' },
      PrivateCreator: CREATOR,
    });
    const file = Buffer.from(await modified.arrayBuffer());
    const answer = await fetch(`${server.url}/instances`, { method: 'POST', body: file });
    const { ID } = (await answer.json()) as { ID: string };
    const simple = await (await fetch(`${server.url}/instances/${ID}/simplified-tags`)).json();
    assert.equal((simple as Record<string, unknown>)['SuiteNote'], 'b');
  });
  await withServer({}, async (server) => {
    const answer = await post(server, '/tools/create-dicom', { Tags: { SuiteCount: '7' } });
    const { OrthancError } = (await answer.json()) as { OrthancError: string };
    assert.match(OrthancError, /DICOM tag/i, 'a name that no dictionary has');
  });
});

test('the default creator names private tags whose block nobody reserved', async () => {
  await withServer({ ...NAMES, DefaultPrivateCreator: CREATOR }, async (server) => {
    const [, tags] = await created(server, { '0041,10c2': '2.5' });
    assert.deepEqual([tags['0041,10c2']?.Name, tags['0041,10c2']?.Value], ['SuiteWeight', '2.5']);
  });
});

test('the tags of makers are named unless the configuration says otherwise', async () => {
  const names = async (options: Readonly<Record<string, unknown>>): Promise<(string | undefined)[]> => {
    let found: (string | undefined)[] = [];
    await withServer({ ...NAMES, ...options }, async (server) => {
      const [, tags] = await created(
        server,
        { '0029,0010': 'SIEMENS CSA HEADER', '0029,1008': 'X' },
        { PrivateCreator: 'SIEMENS CSA HEADER' },
      );
      found = [tags['0029,1008']?.Name];
    });
    return found;
  };
  assert.deepEqual(await names({ LoadPrivateDictionary: false }), ['Unknown Tag & Data']);
  assert.notDeepEqual(await names({}), ['Unknown Tag & Data']);
});

test('a VR that there is not is refused', async () => {
  await assert.rejects(serve({ Dictionary: { '0041,c2': ['QQ', 'Odd'] } }), /Dictionary/);
  await assert.rejects(serve({ Dictionary: { PatientName: ['LO', 'Odd'] } }), /Dictionary/);
});
