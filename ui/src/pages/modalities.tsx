/** Owns the pages of where things are sent to: DICOM modalities, peers, webhooks. */

import { FolderSearch, Pencil, Plus, Radio, Trash2, Unplug } from 'lucide';
import { useState } from 'preact/hooks';
import {
  type Description,
  descriptions,
  DESTINATIONS,
  type Destinations,
  DESTINATIONS_OF,
  forgetDestination,
  type NamedQueue,
  queues,
} from '../api/destinations.ts';
import { EditDestination } from '../destinations/edit.tsx';
import { Reason } from '../destinations/reason.tsx';
import { type Found, testDestination } from '../destinations/testing.ts';
import { ask } from '../parts/dialog.tsx';
import { useFetched } from '../parts/fetched.ts';
import { Icon } from '../parts/icon.tsx';
import { Empty, Failed, Loading, Page } from '../parts/page.tsx';
import { usePolled } from '../parts/polled.ts';
import { type Column, Table } from '../parts/table.tsx';
import { Tabs } from '../parts/tabs.tsx';
import { notify, notifyError } from '../parts/toasts.tsx';
import { href } from '../router.ts';
import { mayWrite } from '../session.ts';
import { t } from '../texts.ts';
import './administration.css';

const words = t.destinations;
/** Milliseconds between two looks at the queues. */
const PAUSE = 3000;

interface Row {
  readonly name: string;
  readonly description: Description;
}

const textOf = (description: Description, field: string): string => {
  const value = description[field];
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
};

/** What a modality may ask for, in short. */
function Allowed({ of }: { readonly of: Description }) {
  const flags = Object.keys(words.flags) as (keyof typeof words.flags)[];
  const allowed = flags.filter((flag) => of[flag] !== false);
  const titles = allowed.map((flag) => words.flags[flag]);
  const short =
    allowed.length === flags.length
      ? words.all
      : allowed.length === 0
        ? words.nothing
        : titles.map((title) => title.replace(/ \(.*/, '')).join(', ');
  return (
    <span class="muted" title={titles.join('\n')}>
      {short}
    </span>
  );
}

/** How much waits for one. */
function Depth({ of }: { readonly of: NamedQueue | undefined }) {
  if (of === undefined) return null;
  const open = of.Waiting + of.Active + of.Retrying;
  return (
    <a class="row-inline" href={href('routing')}>
      {of.Paused && <span class="badge warn">{t.queues.states.paused}</span>}
      {of.Failed > 0 && (
        <span class="badge bad">{`${of.Failed.toLocaleString('en')} ${t.queues.failed.toLowerCase()}`}</span>
      )}
      <span class="muted">{open === 0 ? t.common.none : open.toLocaleString('en')}</span>
    </a>
  );
}

const COLUMNS: Readonly<Record<Destinations, readonly Column<Row>[]>> = {
  modalities: [
    { key: 'aet', title: words.aet, cell: ({ description }) => <code>{textOf(description, 'AET')}</code> },
    {
      key: 'address',
      title: words.address,
      cell: ({ description }) => (
        <span class="row-inline">
          <code>{`${textOf(description, 'Host')}:${textOf(description, 'Port')}`}</code>
          {description['UseDicomTls'] === true && <span class="badge">TLS</span>}
        </span>
      ),
    },
    { key: 'allowed', title: words.allows, minor: true, cell: ({ description }) => <Allowed of={description} /> },
  ],
  peers: [
    { key: 'url', title: words.url, cell: ({ description }) => <code class="wrap">{textOf(description, 'Url')}</code> },
    {
      key: 'user',
      title: words.user,
      minor: true,
      cell: ({ description }) => textOf(description, 'Username') || t.common.none,
    },
  ],
  webhooks: [
    {
      key: 'url',
      title: words.url,
      cell: ({ description }) => (
        <span class="row-inline wrapping">
          <code class="wrap">{textOf(description, 'Url')}</code>
          {description['Secret'] === null && <span class="badge">{words.signed}</span>}
          {description['Enabled'] === false && <span class="badge warn">{words.disabled}</span>}
        </span>
      ),
    },
    {
      key: 'events',
      title: words.events,
      cell: ({ description }) => {
        const events = Array.isArray(description['Events']) ? (description['Events'] as string[]) : [];
        const isAll = events.length >= Object.keys(t.changes.words).length;
        return (
          <span class="muted">
            {isAll ? words.allEvents : events.map((each) => t.changes.words[each] ?? each).join(', ')}
          </span>
        );
      },
    },
  ],
};

type Tests = Readonly<Record<string, Found | 'asking'>>;

const without = (tests: Tests, name: string): Tests =>
  Object.fromEntries(Object.entries(tests).filter(([each]) => each !== name));

/** The page of one kind. */
function Listed({ kind }: { readonly kind: Destinations }) {
  const known = useFetched((signal) => descriptions(kind, signal), [kind]);
  const depths = usePolled(queues, [], PAUSE);
  const [edited, setEdited] = useState<{ readonly name: string | undefined; readonly stored: Description }>();
  const [found, setFound] = useState<Tests>({});
  const rows = Object.entries(known.value ?? {}).map(([name, description]): Row => ({ name, description }));
  const writes = mayWrite.value;
  const queueOf = (name: string): NamedQueue | undefined =>
    depths.value?.find((each) => DESTINATIONS_OF[each.Kind] === kind && each.Name === name);

  const test = async (name: string): Promise<void> => {
    const show = (what: Found | 'asking' | undefined): void =>
      setFound((before) => (what === undefined ? without(before, name) : { ...before, [name]: what }));
    show('asking');
    try {
      show(await testDestination(kind, name));
    } catch (thrown) {
      show(undefined);
      notifyError(thrown);
    }
  };
  const forget = async (name: string): Promise<void> => {
    const queue = queueOf(name);
    const open = queue === undefined ? 0 : queue.Waiting + queue.Active + queue.Retrying;
    const isWanted = await ask({
      title: words.deleteTitle(name),
      body: <p>{words.deleteBody(open)}</p>,
      confirm: words.deleteConfirm,
      danger: true,
    });
    if (!isWanted) return;
    await forgetDestination(kind, name);
    notify(words.forgotten(name));
    known.reload();
  };

  const columns: Column<Row>[] = [
    {
      key: 'name',
      title: words.name,
      order: ({ name }) => name,
      cell: ({ name, description }) => (
        <span class="row-inline">
          <strong>{name}</strong>
          {description['Configured'] === true && (
            <span class="badge" title={words.configuredHint}>
              {words.configured}
            </span>
          )}
        </span>
      ),
    },
    ...COLUMNS[kind],
    { key: 'queue', title: words.queue, cell: ({ name }) => <Depth of={queueOf(name)} /> },
    {
      key: 'actions',
      title: '',
      cell: ({ name, description }) => {
        const result = found[name];
        const isFixed = description['Configured'] === true;
        return (
          <div class="row end-row">
            <span role="status" class="tested">
              {result === 'asking' ? (
                <span class="muted">{words.testing}</span>
              ) : (
                result !== undefined && result.good && <span class="badge good">{result.text}</span>
              )}
            </span>
            {(writes || kind !== 'webhooks') && (
              <button
                type="button"
                class="button small"
                disabled={result === 'asking'}
                onClick={() => void test(name)}
                aria-label={`${kind === 'modalities' ? words.echo : words.test} ${name}`}
              >
                <Icon of={Radio} size={14} /> {kind === 'modalities' ? words.echo : words.test}
              </button>
            )}
            {kind === 'modalities' && (
              <a class="button small" href={href(`query?modality=${name}`)} aria-label={`${words.query} ${name}`}>
                <Icon of={FolderSearch} size={14} /> {words.query}
              </a>
            )}
            {writes && !isFixed && (
              <>
                <button
                  type="button"
                  class="button small icon-only"
                  title={t.common.edit}
                  aria-label={`${t.common.edit} ${name}`}
                  onClick={() => setEdited({ name, stored: description })}
                >
                  <Icon of={Pencil} size={14} />
                </button>
                <button
                  type="button"
                  class="button small icon-only danger"
                  title={t.common.delete}
                  aria-label={`${t.common.delete} ${name}`}
                  onClick={() => void forget(name).catch(notifyError)}
                >
                  <Icon of={Trash2} size={14} />
                </button>
              </>
            )}
          </div>
        );
      },
    },
  ];
  const failures = Object.entries(found).flatMap(([name, result]) =>
    result !== 'asking' && !result.good ? [{ name, reason: result.text }] : [],
  );
  const add = writes && (
    <button type="button" class="button primary" onClick={() => setEdited({ name: undefined, stored: {} })}>
      <Icon of={Plus} /> {words.add[kind]}
    </button>
  );
  return (
    <Page title={words.title} actions={add}>
      <Tabs label={words.title} of={DESTINATIONS.map((each) => ({ to: each, title: words.kinds[each] }))} />
      <p class="muted">{words.hint[kind]}</p>
      {known.error !== undefined && <Failed error={known.error} retry={known.reload} />}
      {failures.map(({ name, reason }) => (
        <div key={name} class="notice notice-error" role="alert">
          <Icon of={Unplug} size={20} />
          <div class="grow">
            <strong>{name}</strong>
            <Reason of={reason} />
          </div>
          <button type="button" class="button small" onClick={() => setFound((before) => without(before, name))}>
            {t.errors.dismiss}
          </button>
        </div>
      ))}
      {known.value === undefined ? (
        known.error === undefined && <Loading />
      ) : (
        <div class="panel">
          <Table
            caption={words.kinds[kind]}
            columns={columns}
            rows={rows}
            keyOf={({ name }) => name}
            empty={
              <Empty icon={Unplug} title={words.none[kind]}>
                {add}
              </Empty>
            }
          />
        </div>
      )}
      {edited !== undefined && (
        <EditDestination
          kind={kind}
          name={edited.name}
          stored={edited.stored}
          taken={rows.map(({ name }) => name)}
          onClose={() => setEdited(undefined)}
          onDone={known.reload}
        />
      )}
    </Page>
  );
}

/** The page of DICOM modalities. */
export function Modalities() {
  return <Listed key="modalities" kind="modalities" />;
}

/** The page of peers. */
export function Peers() {
  return <Listed key="peers" kind="peers" />;
}

/** The page of webhooks. */
export function Webhooks() {
  return <Listed key="webhooks" kind="webhooks" />;
}
