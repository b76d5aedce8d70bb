/** Owns the proof of ui/src/viewer: each tool is used as a person would, and what it shows and measures is checked against the phantom. */

import assert from 'node:assert/strict';
import type { Page } from 'playwright-core';
import { becomes, checkAccessibility, eventually, explorer, type Stored } from './browser.ts';
import { phantomSeries } from './phantom.ts';
import { Viewing } from './viewing.ts';

const VIEWERS = { OHIF: 'https://ohif.example/viewer?StudyInstanceUIDs={StudyInstanceUID}' };
const SLICES = 40;
let study: Stored;

const app = explorer({ Viewers: VIEWERS }, async ({ upload }) => {
  study = await upload(phantomSeries({ slices: SLICES, spacing: 0.5, thickness: 1 }));
  await upload(phantomSeries({ slices: 3, series: 2, seriesDescription: 'Short' }));
});

/** The viewer of the phantom, with its first image. */
async function look(page: Page): Promise<Viewing> {
  await app.open(page, `view/${study.ParentStudy}`);
  const view = new Viewing(page);
  await view.shows(1, SLICES);
  return view;
}

/** Greys of air, water and bone in the phantom's own window (center 40, width 2000; PS3.3 §C.11.2.1.2.1). */
const [AIR, WATER, BONE] = [0, 122, 250];
/** Places of the first slice: outside, in the water, and in the rod, which begins at column 40 and row 30. */
const OUTSIDE = [5, 32] as const;
const INSIDE = [20, 32] as const;
const ROD = [42, 32] as const;

app.test('the first image is shown with its window, sides and texts, and the rest comes in', async (page) => {
  const view = await look(page);
  await view.greys([
    [...OUTSIDE, AIR],
    [...INSIDE, WATER],
    [...ROD, BONE],
  ]);
  for (const line of ['Phantom Cylinder', 'PHANTOM1', 'Cylinder of water', 'C 40 W 2000', 'Position 0 mm'])
    await view.says(new RegExp(`^${line}$`, 'm'));
  for (const [side, letter] of Object.entries({ left: 'R', right: 'L', top: 'A', bottom: 'P' }))
    await becomes(() => view.cell.locator(`.side.${side}`).innerText(), letter);
  await becomes(() => view.cell.locator('progress').count(), 0);
  await checkAccessibility(page);
});

app.test('the first image is there before the renderer, which shows the same at the same place', async (page) => {
  let release: () => void = () => undefined;
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  await page.route('**/assets/renderer-*.js', async (route) => {
    await held;
    await route.continue();
  });
  await app.open(page, `view/${study.ParentStudy}`);
  const view = new Viewing(page);
  await view.says(/^1 \/ 40$/m);
  await view.greys([
    [...OUTSIDE, AIR],
    [...INSIDE, WATER],
    [...ROD, BONE],
  ]);
  await becomes(() => view.cell.locator('.side.left').innerText(), 'R');
  await checkAccessibility(page);
  // The image without its last rows, beside which it says that it is not ready.
  const parts = [
    [4, 4],
    [60, 56],
  ] as const;
  const [words, before] = [await view.words(), await view.pixels(...parts)];
  release();
  await view.shows(1, SLICES);
  await becomes(() => view.cell.locator('.first-image').count(), 0);
  assert.equal(await view.words(), words);
  const after = await view.pixels(...parts);
  assert.equal(after.length, before.length);
  const differing = after.filter((value, at) => Math.abs(value - (before[at] ?? -99)) > 2).length;
  assert.ok(differing < after.length / 1000, `${differing} of ${after.length} values differ`);
  await view.press('ArrowDown');
  await view.shows(2, SLICES);
});

app.test('wheel, keys, pointer and slider go through the images', async (page) => {
  const view = await look(page);
  await view.wheel(1);
  await view.shows(2, SLICES);
  await view.wheel(-1);
  await view.shows(1, SLICES);
  await view.press('ArrowDown', 'ArrowDown', 'ArrowDown');
  await view.shows(4, SLICES);
  // The rod is three pixels wider there.
  await view.greys([
    [46, 32, BONE],
    [48, 32, WATER],
  ]);
  await view.press('PageDown');
  await view.shows(14, SLICES);
  await view.press('End');
  await view.shows(SLICES, SLICES);
  await view.press('Home');
  await view.shows(1, SLICES);
  await view.button('Scroll');
  await view.pull(0, 120);
  await eventually(async () => assert.doesNotMatch(await view.words(), /^1 \/ /m));
  const slider = view.cell.getByRole('slider');
  await slider.fill('20');
  await view.shows(21, SLICES);
  await slider.press('ArrowDown');
  await becomes(() => slider.getAttribute('aria-valuetext'), /^Image \d+ of 40$/);
});

app.test('the window is drawn, chosen, typed, inverted and put back', async (page) => {
  const view = await look(page);
  await view.pull(60, 0);
  // A fifth of its width for 60 pixels to the right, in five steps.
  await view.says(/^C 40 W 24\d\d/m);
  await view.pull(0, 30);
  await view.says(/^C [23]\d\d(\.\d)? W 24\d\d/m);
  const preset = page.getByLabel('Window presets');
  await preset.selectOption('CT bone');
  await view.says(/^C 480 W 2500$/m);
  await view.greys([
    [...OUTSIDE, 0],
    [...INSIDE, 79],
    [...ROD, 181],
  ]);
  await view.press('3');
  await view.says(/^C -600 W 1500$/m);
  await becomes(() => preset.locator('option:checked').innerText(), 'CT lung');
  await view.press('1');
  await view.says(/^C 40 W 2000$/m);
  await view.press('i');
  await view.says(/^Inverted$/m);
  await view.greys([
    [...OUTSIDE, 255],
    [...INSIDE, 133],
    [...ROD, 5],
  ]);
  await view.press('i');
  await view.greys([
    [...OUTSIDE, AIR],
    [...INSIDE, WATER],
  ]);
  await view.press(']', '.');
  await view.says(/^C -70 W 2200$/m);
  // What is chosen holds for the next image too.
  await view.press('ArrowDown');
  await view.shows(2, SLICES);
  await view.says(/^C -70 W 2200$/m);
  await view.button('Reset');
  await view.says(/^C 40 W 2000$/m);
});

app.test('the picture is zoomed, moved, turned and flipped', async (page) => {
  const view = await look(page);
  const whole = await view.zoom();
  await view.press('+');
  await eventually(async () => assert.ok(Math.abs((await view.zoom()) / whole - 1.2) < 0.02));
  await view.greys([
    [...ROD, BONE],
    [38, 32, WATER],
  ]);
  await view.button('Reset');
  await view.pull(0, 100, 'right');
  await eventually(async () => assert.notEqual(await view.zoom(), whole));
  await view.button('Reset');
  await eventually(async () => assert.ok(Math.abs((await view.zoom()) - whole) < 0.02));
  // Moved by ten pixels of the image to the right, the rod is at column 52.
  await view.button('Pan');
  await view.pull(10 * whole, 0);
  await view.greys([
    [52, 32, BONE],
    [42, 32, WATER],
  ]);
  await view.press('0');
  await view.pull(0, -10 * whole, 'middle');
  await view.greys([
    [42, 22, BONE],
    [42, 32, WATER],
  ]);
  await view.press('0', 'Shift+ArrowLeft');
  await view.greys([[42 - 40 / whole, 32, BONE]]);
  await view.press('0', 'r');
  // A quarter to the right: what was at the patient's left is below now.
  await view.greys([
    [32, 42, BONE],
    [42, 32, WATER],
  ]);
  await becomes(() => view.cell.locator('.side.bottom').innerText(), 'L');
  await view.press('Shift+R');
  await view.greys([[42, 32, BONE]]);
  await view.press('h');
  await view.greys([
    [22, 32, BONE],
    [42, 32, WATER],
  ]);
  await becomes(() => view.cell.locator('.side.left').innerText(), 'L');
  await view.press('h', 'v');
  await view.greys([[42, 32, BONE]]);
  await becomes(() => view.cell.locator('.side.top').innerText(), 'P');
});

app.test('length, angle, areas and pixels are measured, and removed', async (page) => {
  const view = await look(page);
  await view.button('Length');
  await view.drag([16, 20], [48, 20]);
  // 32 pixels of half a millimetre.
  await view.measures(/^1[56](\.\d)? mm$/);
  await view.button('Angle');
  await view.drag([16, 50], [16, 40]);
  await view.click([26, 40]);
  await view.measures(/ mm$/, /^(89|90|91)(\.\d+)?°$/);
  await view.button('Clear all measurements');
  await view.measures();
  await view.button('Rectangle');
  await view.drag([18, 26], [28, 36]);
  await eventually(async () => {
    const said = (await view.measured()).join('\n');
    assert.match(said, /Mean 0 HU/);
    assert.match(said, /SD 0 HU/);
    assert.match(said, /Area 2[3-8](\.\d)? mm²/);
  });
  await view.press('Delete');
  await view.measures();
  await view.button('Ellipse');
  await view.drag([32, 20], [32, 44], [40, 32]);
  await eventually(async () => assert.match((await view.measured()).join('\n'), /Mean -?\d/));
  await view.press('Shift+Delete');
  await view.press('q');
  await view.click([42.5, 32.5]);
  await eventually(async () => assert.match((await view.measured()).join('\n'), /1000 HU[\s\S]*column 42, row 32/));
  // A measurement belongs to its image.
  await view.press('ArrowDown');
  await view.shows(2, SLICES);
  await view.measures();
  await view.press('ArrowUp');
  await eventually(async () => assert.notEqual((await view.measured()).length, 0));
});

app.test('the images run and stop', async (page) => {
  const view = await look(page);
  await becomes(() => view.cell.locator('progress').count(), 0);
  await page.getByLabel('Images per second').selectOption('30/s');
  await view.press(' ');
  await eventually(async () => assert.match(await view.words(), /^([5-9]|[123]\d) \/ 40$/m));
  // The keys are the viewer's wherever the pointer was, and Tab leads on.
  await view.click([30, 30]);
  await view.press(' ');
  await page.getByRole('button', { name: 'Play' }).waitFor();
  // An image that was asked for before may still come.
  await eventually(async () => {
    const still = await view.words();
    await page.waitForTimeout(300);
    assert.equal(await view.words(), still);
  });
  await view.press('Tab');
  await becomes(() => page.evaluate('document.activeElement.getAttribute("aria-label")'), 'Image, Viewport 1');
});

app.test('several viewports show several series', async (page) => {
  const view = await look(page);
  await view.button('Two side by side');
  const second = new Viewing(page, 2);
  await second.shows(1, 3);
  await view.press('n', 'ArrowDown');
  await second.shows(2, 3);
  await view.shows(1, SLICES);
  await view.button('Four');
  const third = new Viewing(page, 3);
  await page.getByRole('button', { name: /Axial 1/ }).dragTo(third.cell);
  await third.shows(1, SLICES);
  await third.wheel(1, 1, 1);
  await third.shows(4, SLICES);
  await second.shows(2, 3);
  await view.button('One');
  await becomes(() => page.getByRole('application').count(), 1);
  await page.getByRole('button', { name: /Short/ }).click();
  await view.shows(1, 3);
  await view.press('ArrowLeft');
  await view.shows(1, SLICES);
});

app.test('a volume is cut in three planes, which follow the crosshairs', async (page) => {
  const view = await look(page);
  await view.press('m');
  await view.says(/^Axial$/m);
  const coronal = new Viewing(page, 2);
  const sagittal = new Viewing(page, 3);
  await coronal.says(/^Coronal$/m);
  await sagittal.says(/^Sagittal$/m);
  for (const [side, letter] of Object.entries({ left: 'R', right: 'L', top: 'H', bottom: 'F' }))
    await becomes(() => coronal.cell.locator(`.side.${side}`).innerText(), letter);
  // 64 slices of the coronal plane: one for each row.
  await coronal.says(/^\d+ \/ 64$/m);
  // The zoom counts pixels of the image; a pixel is half a millimetre and a slice one. The rod begins 20 slices up and to the left.
  await view.greys([
    [...OUTSIDE, AIR],
    [...INSIDE, WATER],
    [...ROD, BONE],
  ]);
  await coronal.greys([
    [5, 32, AIR],
    [20, 32, WATER],
  ]);
  // The other planes go where the crosshairs are put, and follow them where they are dragged.
  await view.click([20.5, 16.5]);
  await coronal.says(/^48 \/ 64$/m);
  await sagittal.says(/^21 \/ 64$/m);
  await view.drag([20.5, 16.5], [30.5, 40.5]);
  await coronal.says(/^24 \/ 64$/m);
  await sagittal.says(/^31 \/ 64$/m);
  await coronal.press('ArrowDown');
  await checkAccessibility(page);
  await view.press('m');
  await view.shows(1, SLICES);
  await view.greys([[...ROD, BONE]]);
  // Three slices are too few.
  await page.getByRole('button', { name: /Short/ }).click();
  await view.shows(1, 3);
  await view.button('Axial, coronal and sagittal planes');
  await page.getByRole('alert').filter({ hasText: 'too few slices' }).waitFor();
});

app.test('the help names every key, and other viewers are a link away', async (page) => {
  const view = await look(page);
  await view.press('?');
  const help = page.getByRole('dialog', { name: 'Keyboard and mouse' });
  await help.getByText('Window presets').waitFor();
  await checkAccessibility(page);
  await view.press('Escape');
  await becomes(() => help.count(), 0);
  const link = page.getByRole('link', { name: 'OHIF' });
  const address = VIEWERS.OHIF.replace('{StudyInstanceUID}', '2.25.20261129.1');
  await becomes(() => link.getAttribute('href'), address);
  await becomes(() => link.getAttribute('rel'), 'noreferrer');
  await page.getByRole('link', { name: 'Back to the study' }).click();
  await page.waitForURL(`**/ui/app/studies/${study.ParentStudy}`);
});
