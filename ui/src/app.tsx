/** Owns the frame: the menu, the page that belongs to the address, and what lies over all pages. */

import {
  Activity,
  ArrowLeftRight,
  BookOpen,
  CloudUpload,
  FolderSearch,
  History,
  Layers,
  ListTodo,
  LogOut,
  Monitor,
  Moon,
  Server,
  Sun,
  Users,
} from 'lucide';
import type { IconNode } from 'lucide';
import { useEffect, useState } from 'preact/hooks';
import { API } from './base.ts';
import { loginWanted } from './api.ts';
import { pageOf } from './pages.tsx';
import { Login } from './pages/login.tsx';
import { Asked } from './parts/dialog.tsx';
import { FollowedJobs } from './parts/followed.tsx';
import { Icon } from './parts/icon.tsx';
import { Failed, Loading } from './parts/page.tsx';
import { notifyError, Toasts } from './parts/toasts.tsx';
import { href, path } from './router.ts';
import { loadSession, mayWrite, session, signOut } from './session.ts';
import { t } from './texts.ts';
import { THEMES, type Theme, theme } from './theme.ts';
import { DropAnywhere, UploadTray } from './upload/drop.tsx';

interface Entry {
  readonly to: string;
  readonly title: string;
  readonly icon: IconNode;
  /** First words of the addresses of its pages. */
  readonly places: readonly string[];
  /** Only for those who may change something. */
  readonly writes?: true;
}

const ENTRIES: readonly Entry[] = [
  { to: '', title: t.nav.studies, icon: Layers, places: ['', 'patients', 'studies', 'series', 'instances', 'view'] },
  { to: 'upload', title: t.nav.upload, icon: CloudUpload, places: ['upload'], writes: true },
  { to: 'query', title: t.nav.query, icon: FolderSearch, places: ['query'] },
  { to: 'routing', title: t.nav.routing, icon: ArrowLeftRight, places: ['routing', 'rules', 'exports'] },
  { to: 'modalities', title: t.nav.modalities, icon: Users, places: ['modalities', 'peers', 'webhooks'] },
  { to: 'jobs', title: t.nav.jobs, icon: ListTodo, places: ['jobs'] },
  { to: 'changes', title: t.nav.changes, icon: History, places: ['changes'] },
  { to: 'system', title: t.nav.system, icon: Activity, places: ['system'] },
];

const THEME_ICONS: Readonly<Record<Theme, IconNode>> = { automatic: Monitor, light: Sun, dark: Moon };

function ThemeSwitch() {
  return (
    <fieldset class="switch">
      <legend class="sr-only">{t.nav.theme}</legend>
      {THEMES.map((each) => (
        <label key={each} title={t.nav[each]}>
          <input
            type="radio"
            name="theme"
            checked={theme.value === each}
            onChange={() => {
              theme.value = each;
            }}
          />
          <Icon of={THEME_ICONS[each]} size={14} />
          <span class="sr-only">{t.nav[each]}</span>
        </label>
      ))}
    </fieldset>
  );
}

function Menu() {
  const place = path.value.split('/', 1)[0] ?? '';
  const user = session.value?.User;
  return (
    <nav class="menu" aria-label={t.nav.label}>
      <a class="brand" href={href('')}>
        <Icon of={Server} size={20} />
        <span>Isen</span>
      </a>
      <ul>
        {ENTRIES.filter((entry) => entry.writes === undefined || mayWrite.value).map(({ to, title, icon, places }) => (
          <li key={to}>
            <a href={href(to)} aria-current={places.includes(place) ? 'page' : undefined} title={title}>
              <Icon of={icon} size={18} />
              <span>{title}</span>
            </a>
          </li>
        ))}
      </ul>
      <div class="menu-end">
        <a href={new URL('docs', API).href} target="_blank" rel="noreferrer" title={t.nav.apiDocs}>
          <Icon of={BookOpen} size={18} />
          <span>{t.nav.apiDocs}</span>
        </a>
        {user != null && user !== '' && (
          <button type="button" onClick={() => void signOut().catch(notifyError)} title={t.nav.logout}>
            <Icon of={LogOut} size={18} />
            <span>
              {t.nav.logout} <small>({user})</small>
            </span>
          </button>
        )}
        <ThemeSwitch />
      </div>
    </nav>
  );
}

/** The whole interface. */
export function App() {
  const [error, setError] = useState<unknown>();
  const load = (): void => {
    setError(undefined);
    loadSession().catch(setError);
  };
  useEffect(load, []);
  if (error !== undefined) return <Failed error={error} retry={load} />;
  if (session.value === undefined) return <Loading />;
  if (loginWanted.value) return <Login />;
  return (
    <>
      <a class="skip" href="#content">
        {t.nav.skip}
      </a>
      <div class={path.value.startsWith('view/') ? 'frame viewing' : 'frame'}>
        <Menu />
        <main id="content" tabIndex={-1}>
          {pageOf(path.value)}
        </main>
      </div>
      <div class="corner">
        <FollowedJobs />
        <UploadTray />
        <Toasts />
      </div>
      <Asked />
      <DropAnywhere />
    </>
  );
}
