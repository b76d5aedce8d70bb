/**
 * Owns the proof that images which lie are answered over HTTP as the reference answers them (Debian's, asked live), in bounded time
 * and memory, and that they harm nobody else.
 */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { asIsenError } from '../../src/errors.ts';
import { log } from '../../src/log.ts';
import { startReference } from '../debian-reference.ts';
import { badImages, small } from '../imaging/bad-images.ts';
import { without } from '../peer.ts';
import { raw, serve } from './served.ts';

const ROUTES = ['preview', 'rendered', 'image-uint16', 'numpy', 'matlab', 'frames/0/raw', 'frames/0/numpy'];
/** Milliseconds that one answer may take on a busy machine. */
const SLOW = 3000;
/** Megabytes by which the process may grow: two threads of pictures, each with one instance of the codecs. */
const GROWTH = 500;

/** Where the reference's answer is another, on purpose. */
const DIFFERENCES: readonly { readonly image: RegExp; readonly route?: RegExp; readonly reason: string }[] = [
  { image: /^no (rows|columns)/, route: /numpy|matlab/, reason: 'an array without numbers is no picture' },
  {
    image: /^65535 × 65535 of 16 bits in colour$/,
    route: /numpy|matlab/,
    reason: 'both refuse: ours because Pixel Data is shorter, theirs because of its kind',
  },
  {
    image: /^Bits Allocated (2|7|12)$/,
    route: /raw$/,
    reason: 'bytes are located all the same: a raw frame is not decoded',
  },
  {
    image: /^Bits Allocated (64|65535)$/,
    route: /./,
    reason: 'both refuse: ours because Pixel Data is shorter, before it looks at the bits',
  },
  { image: /^Rows is empty$/, reason: 'what is empty is not said, as what is absent' },
  { image: /^JPEG (baseline|lossless), of another/, reason: 'the reference shows a picture that is not of this image' },
  { image: /^Bits Stored (0|above)/, reason: 'ours takes 0 for what is not said; a raw frame is not decoded' },
  { image: /^Pixel Representation 2$/, reason: 'what is not 1 has no sign' },
  { image: /^0 samples$/, route: /raw$/, reason: 'a frame of nothing is nothing' },
  { image: /^(255|65535) samples$/, route: /numpy|matlab/, reason: 'both refuse: ours because Pixel Data is shorter' },
  { image: /^Photometric Interpretation is (absent|unknown)$/, reason: 'one sample is grey, three are RGB' },
  { image: /^RGB(, Planar Configuration 2| of one sample)$/, reason: 'shown as the samples say' },
  {
    image: /^(Pixel Data is absent|nothing of)/,
    route: /raw$/,
    reason: 'as version 1.13 has it in the recorded answers',
  },
  { image: /^Number of Frames (0|-1|is a word)$/, reason: 'no such frame, whatever is asked' },
  {
    image: /^a palette (shorter|longer|that says|of which)/,
    reason: 'shown by the entries that are there: its last stands for all behind it',
  },
  {
    image: /^more fragments than frames$/,
    reason: 'which fragment a frame is in is not known: the raw frame is refused by both',
  },
  { image: /^RLE, (cut|zeros|of another)/, reason: 'the reference shows what it has, and the rest in black' },
  { image: /^(JPEG 2000|HTJ2K),/, reason: 'the reference build has no JPEG 2000' },
];
/** What ends the reference's process or keeps it busy for minutes, and what it does not store. */
const DEADLY = /an empty fragment$|2147483647|, of 65535 × 65535$|^native in an/;

log.http.level = 'silent';
const server = await serve();
after(() => server.close());

async function store(url: string, bytes: Buffer): Promise<string> {
  const answer = await fetch(`${url}/instances`, { method: 'POST', body: new Uint8Array(bytes) });
  assert.equal(answer.status, 200);
  return ((await answer.json()) as { ID: string }).ID;
}

/** Status and number of the error, as clients compare them. */
async function said(url: string): Promise<string> {
  const answer = await fetch(url, { signal: AbortSignal.timeout(SLOW) });
  const text = await answer.text();
  if (answer.status === 200 || text === '') return String(answer.status);
  const { OrthancStatus } = JSON.parse(text) as { OrthancStatus: number };
  return `${answer.status} ${OrthancStatus}`;
}

const images = badImages();

test('every image that lies is answered in time, without an internal error and without growing', async () => {
  const before = process.memoryUsage().rss;
  for (const { name, bytes } of images) {
    const id = await store(server.url, bytes);
    for (const route of [...ROUTES, 'image-uint8', 'image-int16', 'frames', 'frames/0', 'frames/1/preview'])
      assert.doesNotMatch(await said(`${server.url}/instances/${id}/${route}`), / -1$|^50[34]/, `${name}: ${route}`);
  }
  const grown = (process.memoryUsage().rss - before) / 2 ** 20;
  assert.ok(grown < GROWTH, `grown by ${grown} MB`);
  const good = await store(server.url, small());
  assert.equal(await said(`${server.url}/instances/${good}/preview`), '200');
});

test('numbers of frames that are none', async () => {
  const id = await store(server.url, small({ sopUid: '2.25.78.1' }));
  for (const frame of ['1', '9999', '-1', '99999999999999999999', '0x0', '1e0', 'zero', '0.5', '+0']) {
    const answers = [];
    for (const form of ['preview', 'rendered', 'numpy', 'matlab', 'raw', 'raw.gz']) {
      const { status, body } = await raw(server.port, `/instances/${id}/frames/${frame}/${form}`);
      const error =
        body.length === 0 ? '' : ` ${(JSON.parse(body.toString()) as { OrthancStatus: number }).OrthancStatus}`;
      answers.push(`${status}${error}`);
    }
    const beyond = ['415', '415', '400 3', '400 3', '400 3', '400 3'];
    const none = ['404', '404', '400 3', '400 3', '404', '404'];
    assert.deepEqual(answers, /^\d{1,9}$/.test(frame) ? beyond : none, frame);
  }
});

test('the reference answers the same', { skip: without('Orthanc'), timeout: 120_000 }, async () => {
  const reference = await startReference();
  const wrong: string[] = [];
  const used = new Set<RegExp>();
  try {
    for (const { name, bytes } of images) {
      if (DEADLY.test(name)) continue;
      const ours = await store(server.url, bytes);
      assert.equal(await store(reference.url, bytes), ours);
      for (const route of ROUTES) {
        const [mine, theirs] = await Promise.all(
          [server.url, reference.url].map((url) =>
            said(`${url}/instances/${ours}/${route}`).catch((thrown: unknown) => asIsenError(thrown).message),
          ),
        );
        if (mine === theirs) continue;
        const row = DIFFERENCES.find((each) => each.image.test(name) && (each.route?.test(route) ?? true));
        if (row === undefined) wrong.push(`${name}: ${route}: ours ${mine}, theirs ${theirs}`);
        else used.add(row.image);
      }
    }
  } finally {
    reference.close();
  }
  assert.deepEqual(wrong, []);
  assert.deepEqual(
    DIFFERENCES.filter(({ image }) => !used.has(image)).map(({ image }) => String(image)),
    [],
    'rows that nobody needs',
  );
});
