/** Owns the weight of the interface: what a first visit loads, compressed, with every page but the viewer. */

import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ROOT } from '../peer.ts';

const BUILT = join(ROOT, 'dist', 'ui');
const assets = readdirSync(join(BUILT, 'assets')).filter((name) => /\.(js|css|svg)$/.test(name));
const weigh = (names: readonly string[]): number =>
  names.reduce((sum, name) => sum + statSync(join(BUILT, 'assets', `${name}.gz`)).size, 0);

test('the first page and every other but the viewer weigh at most 300 KB', () => {
  const others = assets.filter((name) => !/^(viewer|renderer)/.test(name));
  assert.ok(others.length > 5);
  assert.ok(weigh(others) <= 300 * 1024, `${weigh(others)} bytes`);
});

test('what shows the first image of the viewer weighs little: the renderer comes after it', () => {
  const viewer = assets.filter((name) => name.startsWith('viewer'));
  assert.ok(viewer.length > 0);
  assert.ok(weigh(viewer) <= 30 * 1024, `${weigh(viewer)} bytes`);
  assert.equal(assets.filter((name) => name.startsWith('renderer')).length, 1);
  const script = readFileSync(join(BUILT, 'assets', viewer.find((name) => name.endsWith('.js')) ?? ''), 'utf8');
  assert.doesNotMatch(script, /import[^(]{0,400}from"\.\/renderer/);
});

test('the viewer is loaded when it is opened, not before', () => {
  const first = readFileSync(join(BUILT, 'index.html'), 'utf8');
  const [entry = ''] = /index-[\w-]+\.js/.exec(first) ?? [];
  const viewer = assets.filter((name) => /^viewer.*\.js$/.test(name));
  assert.equal(viewer.length, 1);
  assert.doesNotMatch(first, /viewer|renderer/);
  const script = readFileSync(join(BUILT, 'assets', entry), 'utf8');
  assert.doesNotMatch(script, /import[^(]{0,200}from"\.\/(viewer|renderer)/);
  assert.ok(script.includes(viewer[0] ?? ''), 'it is named where it is loaded');
});
