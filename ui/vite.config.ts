/** Owns how the web interface is built: into dist/ui, with relative addresses, so that it works below any path of a proxy. */

import { defineConfig } from 'vite';
import { cornerstone } from './cornerstone.ts';

export default defineConfig(({ command }) => ({
  root: import.meta.dirname,
  plugins: [cornerstone()],
  base: command === 'serve' ? '/ui/app/' : './',
  build: {
    outDir: '../dist/ui',
    emptyOutDir: true,
    target: 'es2022',
    // Styles and pictures stay files: the policy of the page lets nothing inline in.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  worker: { format: 'es' },
  server: { proxy: { '^/(?!ui/app/)': process.env['ISEN_URL'] ?? 'http://127.0.0.1:8042' } },
}));
