/**
 * Owns the benchmark of the list of studies in the web interface, with as many studies in the index (`ISEN_BENCH_COUNT`, 100,000): how long
 * until rows can be read and clicked, whether scrolling is smooth, and how long a leap into the middle takes.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium, type Page } from 'playwright-core';
import type { StoreOperation } from '../src/database/database.ts';
import { openSqlite } from '../src/database/sqlite.ts';
import type { Summary } from '../src/dicom/summary.ts';
import { freePort } from '../test/peer.ts';
import { startChild } from '../test/server-child.ts';
import { instance, LIMITS, PER_STUDY } from './index-growth.ts';

const ROUNDS = 5;
const BATCH = 500;
const print = (line: string): void => void process.stdout.write(`${line}\n`);
const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

/** The n-th study, as reception records it: with what it says of its patient, which lists of studies are searched by. */
function study(n: number): StoreOperation {
  const operation = instance(n * PER_STUDY);
  const summary = JSON.parse(operation.summary) as Summary;
  const tags = { ...summary.tags, Study: { ...summary.tags.Patient, ...summary.tags.Study } };
  return { ...operation, summary: JSON.stringify({ ...summary, tags } satisfies Summary) };
}

/** Commits that many studies of one instance each. */
async function fill(folder: string, count: number): Promise<void> {
  const database = await openSqlite({ path: join(folder, 'index'), limits: LIMITS });
  try {
    for (let at = 0; at < count; at += BATCH) {
      await database.commit(Array.from({ length: Math.min(BATCH, count - at) }, (_, n) => study(at + n)));
    }
  } finally {
    await database.close();
  }
}

/** Waits, frame by frame, until something is true in the page; its policy lets Playwright's own waiting evaluate nothing. */
async function until(page: Page, condition: string): Promise<void> {
  await page.evaluate(`new Promise((resolve) => {
    const look = () => (${condition} ? resolve() : requestAnimationFrame(look));
    look();
  })`);
}

/** The rows in sight are there, none still waited for. */
const READY =
  "document.querySelectorAll('.study-row').length > 0 && document.querySelector('.study-row.waiting') === null";

/** Milliseconds between the frames of two seconds of scrolling at 3,000 pixels a second. */
const SCROLLED = `new Promise((resolve) => {
  const list = document.querySelector('.studies');
  const frames = [];
  const start = performance.now();
  let last = start;
  const step = (now) => {
    frames.push(now - last);
    list.scrollTop += (now - last) * 3;
    last = now;
    if (now - start < 2000) requestAnimationFrame(step);
    else resolve(frames.slice(2).sort((a, b) => a - b));
  };
  requestAnimationFrame(step);
})`;

/** Runs it and prints medians. */
export async function run(): Promise<void> {
  const count = Number(process.env['ISEN_BENCH_COUNT'] ?? 100_000);
  const folder = mkdtempSync(join(tmpdir(), 'isen-bench-explorer-'));
  const port = await freePort();
  await fill(folder, count);
  const server = await startChild(folder, port);
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
  const results = { first: [], again: [], leap: [], frame: [], frame95: [] } as Record<string, number[]>;
  try {
    for (let round = 0; round < ROUNDS; round += 1) {
      const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
      const page = await context.newPage();
      const timed = async (name: string, work: () => Promise<unknown>): Promise<void> => {
        const start = performance.now();
        await work();
        await until(page, READY);
        results[name]?.push(performance.now() - start);
      };
      await timed('first', () => page.goto(`http://127.0.0.1:${port}/ui/app/`, { waitUntil: 'commit' }));
      await timed('again', () => page.reload({ waitUntil: 'commit' }));
      const frames = await page.evaluate<number[]>(SCROLLED);
      results['frame']?.push(median(frames));
      results['frame95']?.push(frames[Math.floor(frames.length * 0.95)] ?? Number.NaN);
      await until(page, READY);
      await timed('leap', async () => {
        await page.evaluate(
          `document.querySelector('.studies').scrollTop = ${Math.floor(count / 2) * 44 + round * 44_000}`,
        );
        await until(page, "document.querySelector('.study-row.waiting') !== null");
      });
      await context.close();
    }
  } finally {
    await browser.close();
    server.kill();
    rmSync(folder, { recursive: true, force: true });
  }
  print(`${count} studies, medians of ${ROUNDS} (each):`);
  const names: Readonly<Record<string, string>> = {
    first: 'rows to read and click, empty cache (ms)',
    again: 'the same, files in the cache (ms)',
    leap: 'rows after a leap into the middle (ms)',
    frame: 'frame while scrolling (ms)',
    frame95: 'frame while scrolling, 95th percentile (ms)',
  };
  for (const [key, name] of Object.entries(names)) {
    const values = results[key] ?? [];
    print(`  ${name.padEnd(66)} ${median(values).toFixed(1)}  (${values.map((value) => value.toFixed(0)).join(', ')})`);
  }
}
