/** Owns the door of the benchmarks: `npm run bench -- <name> [options]`. */

const BENCHMARKS: Readonly<Record<string, () => Promise<{ run(args: readonly string[]): Promise<void> }>>> = {
  ingest: () => import('./ingest.ts'),
  browse: () => import('./browse.ts'),
  render: () => import('./render.ts'),
  'store-scp': () => import('./store-scp.ts'),
  'store-scu': () => import('./store-scu.ts'),
  index: () => import('./index-growth.ts'),
  cluster: () => import('./cluster.ts'),
  rest: () => import('./rest.ts'),
  explorer: () => import('./explorer.ts'),
  viewer: () => import('./viewer.ts'),
};

const [name, ...args] = process.argv.slice(2);
const benchmark = BENCHMARKS[name ?? ''];
if (benchmark === undefined) {
  process.stderr.write(`Usage: npm run bench -- <${Object.keys(BENCHMARKS).join(' | ')}> [options]\n`);
  process.exitCode = 2;
} else {
  await (await benchmark()).run(args);
}
