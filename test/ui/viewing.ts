/** Owns a person in front of the viewer, for its suites: finds places of the image on the screen, reads colours, texts and measurements. */

import assert from 'node:assert/strict';
import type { Locator, Page } from 'playwright-core';
import sharp from 'sharp';
import { becomes, eventually } from './browser.ts';

/** Columns and rows of an image; whole numbers are the corners of pixels. */
type Place = readonly [column: number, row: number];

/** How the image lies in the viewport, where it is not as at first. */
interface Lie {
  /** Its size; 64 columns and rows are usual here. */
  readonly columns?: number;
  readonly rows?: number;
}

/** One viewport of the viewer. */
export class Viewing {
  readonly page: Page;
  readonly cell: Locator;
  readonly picture: Locator;
  readonly #columns: number;
  readonly #rows: number;

  constructor(page: Page, number = 1, { columns = 64, rows = 64 }: Lie = {}) {
    this.page = page;
    this.cell = page.locator(`section[aria-label="Viewport ${number}"]`);
    this.picture = this.cell.getByRole('application');
    this.#columns = columns;
    this.#rows = rows;
  }

  /** What is written over the image, one line each. */
  async words(): Promise<string> {
    return (await this.cell.locator('.texts').innerText()).replaceAll(/\n+/g, '\n');
  }

  /** Waits until the words over the image match. */
  async says(words: RegExp): Promise<void> {
    await eventually(async () => assert.match(await this.words(), words));
  }

  /** Waits for an image by its number in the series, and until something can be done with it. */
  async shows(image: number, of: number): Promise<void> {
    await this.says(new RegExp(`^${image} / ${of}$`, 'm'));
    await becomes(() => this.cell.locator('.busy').count(), 0);
  }

  /** Pixels of the screen for one of the image. */
  async zoom(): Promise<number> {
    return Number(/Zoom (\d+) %/.exec(await this.words())?.[1]) / 100;
  }

  /** A place of an image that lies in the middle, as it does at first, on the screen. */
  async at([column, row]: Place): Promise<{ readonly x: number; readonly y: number }> {
    const box = await this.picture.boundingBox();
    assert.ok(box);
    const zoom = await this.zoom();
    return {
      x: box.x + box.width / 2 + (column - this.#columns / 2) * zoom,
      y: box.y + box.height / 2 + (row - this.#rows / 2) * zoom,
    };
  }

  /** Colours (red, green, blue) at places of the image, of one look at the screen. */
  async colours(...places: readonly Place[]): Promise<number[][]> {
    const points = await Promise.all(places.map((place) => this.at(place)));
    const screen = sharp(await this.page.screenshot());
    const { data, info } = await screen.removeAlpha().raw().toBuffer({ resolveWithObject: true });
    return points.map(({ x, y }) => {
      const offset = (Math.floor(y) * info.width + Math.floor(x)) * info.channels;
      return [...data.subarray(offset, offset + 3)];
    });
  }

  /** The colours of the screen between two places of the image, row by row. */
  async pixels(from: Place, to: Place): Promise<Uint8Array> {
    const [first, last] = [await this.at(from), await this.at(to)];
    const [left, top] = [Math.round(first.x), Math.round(first.y)];
    const clip = { x: left, y: top, width: Math.round(last.x) - left, height: Math.round(last.y) - top };
    return new Uint8Array(
      await sharp(await this.page.screenshot({ clip }))
        .removeAlpha()
        .raw()
        .toBuffer(),
    );
  }

  /** Waits until the greys at places of the image are these, give or take 2 (6 where the image was compressed with loss). */
  async greys(expected: readonly (readonly [...Place, grey: number])[], tolerance = 2): Promise<void> {
    await this.see(
      expected.map(([column, row, grey]) => [column, row, [grey, grey, grey]]),
      tolerance,
    );
  }

  /** Waits until the colours at places of the image are these. */
  async see(expected: readonly (readonly [...Place, colour: readonly number[]])[], tolerance = 2): Promise<void> {
    await eventually(async () => {
      const seen = await this.colours(...expected.map(([column, row]) => [column, row] as const));
      for (const [index, [column, row, colour]] of expected.entries()) {
        const isNear = colour.every((part, at) => Math.abs(part - (seen[index]?.[at] ?? -99)) <= tolerance);
        assert.ok(isNear, `at ${column}, ${row}: ${seen[index]?.join(' ')} instead of ${colour.join(' ')}`);
      }
    });
  }

  /** Draws with the first button from place to place. */
  async drag(...places: readonly Place[]): Promise<void> {
    const points = await Promise.all(places.map((place) => this.at(place)));
    const [first, ...others] = points;
    assert.ok(first);
    const { mouse } = this.page;
    await mouse.move(first.x, first.y);
    await mouse.down();
    for (const { x, y } of others) await mouse.move(x, y, { steps: 6 });
    await mouse.up();
  }

  /** Moves the pointer with a button held, by pixels of the screen. */
  async pull(right: number, down: number, button: 'left' | 'middle' | 'right' = 'left'): Promise<void> {
    const box = await this.picture.boundingBox();
    assert.ok(box);
    const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
    const { mouse } = this.page;
    await mouse.move(x, y);
    await mouse.down({ button });
    await mouse.move(x + right, y + down, { steps: 5 });
    await mouse.up({ button });
  }

  /** Clicks at places of the image, one after the other. */
  async click(...places: readonly Place[]): Promise<void> {
    for (const place of places) {
      const { x, y } = await this.at(place);
      await this.page.mouse.move(x, y, { steps: 2 });
      await this.page.mouse.down();
      await this.page.mouse.up();
    }
  }

  /** Turns the wheel over the image, towards oneself or away. */
  async wheel(...notches: readonly (1 | -1)[]): Promise<void> {
    const box = await this.picture.boundingBox();
    assert.ok(box);
    await this.page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
    for (const notch of notches) await this.page.mouse.wheel(0, notch * 100);
  }

  /** What the measurements of the viewport say. */
  async measured(): Promise<string[]> {
    return this.picture.locator('svg text').allTextContents();
  }

  /** Waits until measurements say what matches, each pattern one of them. */
  async measures(...patterns: readonly RegExp[]): Promise<void> {
    await eventually(async () => {
      const said = await this.measured();
      assert.equal(said.length, patterns.length, said.join(' | '));
      for (const [index, pattern] of patterns.entries()) assert.match(said[index] ?? '', pattern);
    });
  }

  /** Presses a key over the image. */
  async press(...keys: readonly string[]): Promise<void> {
    for (const key of keys) await this.page.keyboard.press(key);
  }

  /** Clicks a button of the bar, by its name. */
  async button(name: string): Promise<void> {
    await this.page.getByRole('button', { name, exact: true }).click();
  }
}
