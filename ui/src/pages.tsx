/** Owns which page belongs to which address. All but the list of studies are loaded when they are first opened. */

import { type ComponentType, h, type VNode } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { Studies } from './pages/studies.tsx';
import { Failed, Loading, Page } from './parts/page.tsx';
import { href } from './router.ts';
import { t } from './texts.ts';

/** A component that is loaded when it is first shown. */
function lazy<Props extends object>(load: () => Promise<ComponentType<Props>>): (props: Props) => VNode {
  let loaded: ComponentType<Props> | undefined;
  return function Lazy(props) {
    const [, setReady] = useState(loaded !== undefined);
    const [error, setError] = useState<unknown>();
    useEffect(() => {
      if (loaded !== undefined) return;
      load().then((component) => {
        loaded = component;
        setReady(true);
      }, setError);
    }, []);
    if (error !== undefined) return <Failed error={error} retry={() => location.reload()} />;
    return loaded === undefined ? <Loading /> : h(loaded as ComponentType<object>, props);
  };
}

const Patient = lazy(async () => (await import('./pages/patient.tsx')).Patient);
const Study = lazy(async () => (await import('./pages/study.tsx')).Study);
const Series = lazy(async () => (await import('./pages/series.tsx')).Series);
const Instance = lazy(async () => (await import('./pages/instance.tsx')).Instance);
const Upload = lazy(async () => (await import('./pages/upload.tsx')).Upload);
const Routing = lazy(async () => (await import('./pages/routing.tsx')).Routing);
const Modalities = lazy(async () => (await import('./pages/modalities.tsx')).Modalities);
const Peers = lazy(async () => (await import('./pages/modalities.tsx')).Peers);
const Webhooks = lazy(async () => (await import('./pages/modalities.tsx')).Webhooks);
const Rules = lazy(async () => (await import('./pages/rules.tsx')).Rules);
const Exports = lazy(async () => (await import('./pages/exports.tsx')).Exports);
const Query = lazy(async () => (await import('./pages/query.tsx')).Query);
const Jobs = lazy(async () => (await import('./pages/jobs.tsx')).Jobs);
const Changes = lazy(async () => (await import('./pages/changes.tsx')).Changes);
const System = lazy(async () => (await import('./pages/system.tsx')).System);
const Viewer = lazy(async () => (await import('./viewer/viewer.tsx')).Viewer);

/** Begins to load the viewer where the path is one of it: the first image is on its way while everything else starts. */
export async function loadAhead(path: string): Promise<void> {
  const [place, study, series] = path.split('/');
  if (place === 'view' && study) (await import('./viewer/viewer.tsx')).prepare(study, series);
}

/** The page at a path below the application. */
export function pageOf(path: string): VNode {
  const [place = '', id = '', ...rest] = path.split('/');
  const below = rest.length === 0 ? id : undefined;
  switch (place) {
    case '':
      return <Studies />;
    case 'patients':
      if (below) return <Patient key={id} id={id} />;
      break;
    case 'studies':
      if (below) return <Study key={id} id={id} />;
      break;
    case 'series':
      if (below) return <Series key={id} id={id} />;
      break;
    case 'instances':
      if (below) return <Instance key={id} id={id} />;
      break;
    case 'upload':
      return <Upload />;
    case 'routing':
      return <Routing />;
    case 'modalities':
      return <Modalities />;
    case 'rules':
      return <Rules />;
    case 'exports':
      return <Exports />;
    case 'peers':
      return <Peers />;
    case 'webhooks':
      return <Webhooks />;
    case 'query':
      return <Query />;
    case 'jobs':
      return <Jobs id={id === '' ? undefined : id} />;
    case 'changes':
      return <Changes />;
    case 'system':
      return <System />;
    case 'view':
      if (id !== '') return <Viewer key={id} studyId={id} seriesId={rest[0]} />;
      break;
    default:
  }
  return (
    <Page title={t.errors.unknownPage}>
      <p>{t.errors.unknownPageHint}</p>
      <p>
        <a class="button" href={href('')}>
          {t.errors.toStudies}
        </a>
      </p>
    </Page>
  );
}
