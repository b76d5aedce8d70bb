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
const asked = [name, ...args].some((each) => each === '--help' || each === '-h');
if (benchmark === undefined || asked) {
  // Some run for half an hour: whoever asks what they are must not start one.
  const usage = `Usage: npm run bench -- <${Object.keys(BENCHMARKS).join(' | ')}> [options]
Each compares with the reference server in one run; \`run\` of its file in bench/ says which options it takes, most \`--rounds N\`.
`;
  (asked ? process.stdout : process.stderr).write(usage);
  if (!asked) process.exitCode = 2;
} else {
  await (await benchmark()).run(args);
}
