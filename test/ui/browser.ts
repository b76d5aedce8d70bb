/**
 * Owns what the suites of the web interface share: a whole server that serves the built interface, Debian's Chromium in front of it, and
 * the rule that a page must not complain. A suite has one server and one browser; every test has a profile of its own.
 */

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import axe from 'axe-core';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { type Served, serve } from '../http/served.ts';
import { without } from '../peer.ts';

/** The reason to skip where Debian's Chromium is missing, else `false`. */
const withoutChromium = without('chromium');

/** Milliseconds that a person would wait for anything. */
const PATIENCE = 20_000;
/** Milliseconds until a test is given up. */
const DEADLINE = 180_000;

/** What a test of the interface may ask for besides its name. */
export interface InterfaceTest {
  /** Complaints of the page that belong to what the test does: `[/401/]` where a password is wrong on purpose. */
  readonly expected?: readonly RegExp[];
  /** Of the browser's profile: the size of the window, light or dark, touch. */
  readonly profile?: BrowserContextOptions;
}

/** A server and a browser for the tests of one file. */
export interface Explorer {
  /** The server, once the tests run: its `url` is that of the REST API. */
  readonly served: Served;
  /**
   * A test with a blank page. It fails where the page writes an error to the console, breaks its Content-Security-Policy, throws, or
   * asks for something that it does not get.
   */
  test(name: string, body: (page: Page) => Promise<void>, options?: InterfaceTest): void;
  /** Opens a page of the interface (`'jobs'`, `''` for the studies), and waits until it stands. */
  open(page: Page, path?: string): Promise<void>;
  /** Stores instances; answers Orthanc's ids of the first one and its parents. */
  upload(files: Iterable<Uint8Array>): Promise<Stored>;
}

/** What the server answers to a file. */
export interface Stored {
  readonly ID: string;
  readonly ParentSeries: string;
  readonly ParentStudy: string;
  readonly ParentPatient: string;
}

/** The complaints of a page, from now on. */
export function listen(page: Page): string[] {
  const complaints: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error') complaints.push(`${message.text()} (${message.location().url})`);
  });
  page.on('pageerror', (error) => complaints.push(`thrown: ${error.stack ?? error.message}`));
  page.on('response', (response) => {
    if (response.status() < 400) return;
    const place = complaints.push(`${response.status()} ${response.request().method()} ${response.url()}`) - 1;
    response.text().then(
      (text) => {
        complaints[place] += ` ${text.replaceAll(/\s+/g, ' ')}`;
      },
      () => undefined,
    );
  });
  page.on('requestfailed', (request) => {
    const reason = request.failure()?.errorText ?? '';
    // The page itself calls off what nobody waits for any more.
    if (reason !== 'net::ERR_ABORTED') complaints.push(`${reason} ${request.method()} ${request.url()}`);
  });
  return complaints;
}

/** Starts Chromium without a window. */
export function openBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath: '/usr/bin/chromium',
    // Root may have no sandbox. Pictures are drawn by the processor, so that every machine has the same.
    args: ['--no-sandbox', '--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--disable-dev-shm-usage'],
  });
}

/** Registers a server with these options, and a browser, for the tests of a file; `prepare` is done once, before they run. */
export function explorer(
  options: Readonly<Record<string, unknown>> = {},
  prepare: (app: Explorer) => Promise<void> = async () => undefined,
): Explorer {
  let served: Served | undefined;
  let browser: Browser | undefined;
  const running = (): Served => {
    assert.ok(served, 'the server is there while tests run; `prepare` runs before them');
    return served;
  };
  if (withoutChromium === false) {
    before(async () => {
      [served, browser] = await Promise.all([serve(options), openBrowser()]);
      await prepare(app);
    });
    after(async () => {
      await browser?.close();
      await served?.close();
    });
  }
  const app: Explorer = {
    get served() {
      return running();
    },
    test(name, body, { expected = [], profile = {} } = {}) {
      test(name, { skip: withoutChromium, timeout: DEADLINE }, async () => {
        assert.ok(browser);
        const context = await browser.newContext({
          viewport: { width: 1280, height: 800 },
          locale: 'en-GB',
          timezoneId: 'UTC',
          // Nothing is caught halfway: neither by a click nor by a look at its colours.
          reducedMotion: 'reduce',
          ...profile,
        });
        context.setDefaultTimeout(PATIENCE);
        const page = await context.newPage();
        const complaints = listen(page);
        try {
          await body(page);
        } catch (error) {
          await keepPicture(page, name);
          throw error;
        } finally {
          await context.close();
        }
        const unexpected = complaints.filter((complaint) => !expected.some((each) => each.test(complaint)));
        assert.deepEqual(unexpected, [], 'the page complains');
      });
    },
    async open(page, path = '') {
      await page.goto(`${running().url}/ui/app/${path}`);
      await page.locator('h1').first().waitFor({ state: 'attached' });
    },
    async upload(files) {
      let first: Stored | undefined;
      for (const body of files) {
        const answer = await fetch(`${running().url}/instances`, { method: 'POST', body: new Uint8Array(body) });
        assert.equal(answer.status, 200, await answer.clone().text());
        first ??= (await answer.json()) as Stored;
      }
      assert.ok(first, 'nothing to upload');
      return first;
    },
  };
  return app;
}

/** What the page looked like when a test failed, where `ISEN_TEST_PICTURES` names a folder for such. */
async function keepPicture(page: Page, name: string): Promise<void> {
  const folder = process.env['ISEN_TEST_PICTURES'];
  if (folder === undefined || page.isClosed()) return;
  await page.screenshot({ path: join(folder, `${name.replaceAll(/\W+/g, '-')}.png`) });
}

/** Asks again, as long as a person would wait, until what is asserted holds. */
export async function eventually(check: () => Promise<void>): Promise<void> {
  const end = performance.now() + PATIENCE;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (performance.now() > end) throw error;
    }
    await sleep(50);
  }
}

/** Reads again, as long as a person would wait, until it is what is expected: equal, or a text that matches. */
export async function becomes(read: () => unknown, expected: unknown, message?: string): Promise<void> {
  await eventually(async () => {
    const found = await read();
    if (expected instanceof RegExp) assert.match(String(found), expected, message);
    else assert.deepEqual(found, expected, message);
  });
}

/** One fault that axe found. */
interface Violation {
  readonly id: string;
  readonly impact: string | null;
  readonly help: string;
  readonly nodes: readonly { readonly target: readonly unknown[]; readonly failureSummary?: string }[];
}

/**
 * Asserts that axe finds no serious fault in what the page shows now, or shows within an element (WCAG 2.2, levels A and AA, and good
 * practice); where `rules` are given, only against these of its rules.
 */
export async function checkAccessibility(page: Page, within = '', rules: readonly string[] = []): Promise<void> {
  // Through the debugger, which the policy of the page does not bind.
  await page.evaluate(axe.source);
  const found = (await page.evaluate(
    `axe.run(${within === '' ? 'document' : JSON.stringify(within)}, ${JSON.stringify({ resultTypes: ['violations'], ...(rules.length > 0 && { runOnly: rules }) })})`,
  )) as { readonly violations: readonly Violation[] };
  const faults = found.violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .flatMap(({ id, help, nodes }) =>
      nodes.map(({ target, failureSummary }) => `${id} (${help}) at ${target.join(' ')}: ${failureSummary ?? ''}`),
    );
  assert.deepEqual(faults, [], `faults of accessibility at ${page.url()}`);
}
