/**
 * Owns the benchmark of the viewer in the web interface, with a CT series of 500 slices of 512 × 512: how long until its first image is
 * on the screen with its window, in a browser that has never been here, in one that has, and from the page of the study; and until
 * all slices are there.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { freePort } from '../test/peer.ts';
import { startChild } from '../test/server-child.ts';
import { openBrowser } from '../test/ui/browser.ts';
import { phantomSlice } from '../test/ui/phantom.ts';

const SLICES = 500;
const SIZE = 512;
const ROUNDS = 7;
/** Water in the phantom's own window, and air, at the middle and at the corner of the image. */
const WATER = 122;
const print = (line: string): void => void process.stdout.write(`${line}\n`);
const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

/**
 * Looks at every frame of the screen until the middle of the picture is as grey as water; answers since when the page is, and when the
 * next frame began: that one is on the screen then.
 */
const SEEN = `new Promise((resolve) => {
  const spot = Object.assign(document.createElement('canvas'), { width: 1, height: 1 });
  const context = spot.getContext('2d', { willReadFrequently: true });
  const look = () => {
    for (const canvas of document.querySelectorAll('.cell canvas')) {
      if (canvas.width === 0 || canvas.height === 0) continue;
      context.clearRect(0, 0, 1, 1);
      context.drawImage(canvas, canvas.width / 2, canvas.height / 2, 1, 1, 0, 0, 1, 1);
      const [grey] = context.getImageData(0, 0, 1, 1).data;
      if (Math.abs(grey - ${WATER}) > 2) continue;
      requestAnimationFrame(() => resolve([performance.timeOrigin, performance.timeOrigin + performance.now()]));
      return;
    }
    requestAnimationFrame(look);
  };
  look();
})`;

/** Waits until all slices are in memory; answers when. */
const WHOLE = `new Promise((resolve) => {
  const look = () =>
    document.querySelector('.cell [type=range]') !== null && document.querySelector('.cell progress') === null
      ? resolve([performance.timeOrigin, performance.timeOrigin + performance.now()])
      : setTimeout(look, 20);
  look();
})`;

async function upload(port: number): Promise<string> {
  let study = '';
  for (let slice = 0; slice < SLICES; slice += 1) {
    const body = new Uint8Array(phantomSlice({ rows: SIZE, columns: SIZE }, slice));
    const answer = await fetch(`http://127.0.0.1:${port}/instances`, { method: 'POST', body });
    study = ((await answer.json()) as { ParentStudy: string }).ParentStudy;
  }
  return study;
}

/** Runs it and prints medians. */
export async function run(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'isen-bench-viewer-'));
  const port = await freePort();
  const server = await startChild(folder, port);
  const results: Record<string, number[]> = { fresh: [], again: [], clicked: [], all: [] };
  try {
    const study = await upload(port);
    const page = `http://127.0.0.1:${port}/ui/app`;
    const measure = async (name: string, at: Page, what: string, since?: number): Promise<void> => {
      const [origin, end] = await at.evaluate<[number, number]>(what);
      results[name]?.push(end - (since ?? origin));
    };
    for (let round = 0; round < ROUNDS; round += 1) {
      // Each browser has a profile of its own, which is gone with it.
      const direct = await openBrowser();
      try {
        const viewer = await direct.newPage({ viewport: { width: 1280, height: 800 } });
        // The browser has started when it has drawn something.
        await viewer.screenshot();
        await viewer.goto(`${page}/view/${study}`, { waitUntil: 'commit' });
        await measure('fresh', viewer, SEEN);
        await measure('all', viewer, WHOLE);
        await viewer.reload({ waitUntil: 'commit' });
        await measure('again', viewer, SEEN);
      } finally {
        await direct.close();
      }
      const other = await openBrowser();
      try {
        const before = await other.newPage({ viewport: { width: 1280, height: 800 } });
        await before.goto(`${page}/studies/${study}`);
        // As long as somebody needs to find the button.
        await before.waitForTimeout(1500);
        const start = Date.now();
        await before.locator('a[href*="/view/"]').first().click({ noWaitAfter: true });
        await before.waitForURL('**/view/**', { waitUntil: 'commit' });
        await measure('clicked', before, SEEN, start);
      } finally {
        await other.close();
      }
    }
  } finally {
    server.kill();
    rmSync(folder, { recursive: true, force: true });
  }
  print(`${SLICES} slices of ${SIZE} × ${SIZE}, medians of ${ROUNDS} (each), in ms:`);
  const names: Readonly<Record<string, string>> = {
    fresh: 'the first image, by its address, in a fresh profile',
    again: 'the same, files in the cache',
    clicked: 'the first image, from the page of the study, in a fresh profile',
    all: 'all slices, in a fresh profile',
  };
  for (const [key, name] of Object.entries(names)) {
    const values = results[key] ?? [];
    print(`  ${name.padEnd(66)} ${median(values).toFixed(0)}  (${values.map((value) => value.toFixed(0)).join(', ')})`);
  }
}
