/** Owns the start: the router, the frame, and where it is put. */

import { render } from 'preact';
import { App } from './app.tsx';
import { loadAhead } from './pages.tsx';
import { path, startRouter } from './router.ts';
import { startTheme } from './theme.ts';
import './theme.css';

startTheme();
startRouter();
// Where that fails, the page will say so.
loadAhead(path.value).catch(() => undefined);
const root = document.getElementById('app');
if (root !== null) render(<App />, root);
