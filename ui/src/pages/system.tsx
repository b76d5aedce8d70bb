/** Owns the page of the server itself: what it is and holds, how it does, and what can be set while it runs. */

import { CircleAlert, CircleCheck, Power, RotateCw } from 'lucide';
import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import {
  accepted,
  end,
  health,
  LOG_LEVELS,
  logLevel,
  LOGS,
  metricsOn,
  plugins,
  setLogLevel,
  setMetrics,
  type System as Server,
  system,
  totals,
} from '../api/server.ts';
import { API } from '../base.ts';
import { bytes } from '../format.ts';
import { ask } from '../parts/dialog.tsx';
import { useFetched } from '../parts/fetched.ts';
import { Icon } from '../parts/icon.tsx';
import { Failed, Loading, Page } from '../parts/page.tsx';
import { usePolled } from '../parts/polled.ts';
import { notify, notifyError } from '../parts/toasts.tsx';
import { mayWrite } from '../session.ts';
import { Throughput } from '../system/throughput.tsx';
import { t } from '../texts.ts';
import './administration.css';

const words = t.system;
/** Milliseconds between two looks at the health, and at what is stored. */
const HEALTH_PAUSE = 3000;
const TOTALS_PAUSE = 5000;
const MB = 1024 * 1024;

/** What the panels of their own show already. */
const SHOWN = new Set([
  'Name',
  'Isen',
  'Version',
  'ApiVersion',
  'DicomAet',
  'DicomPort',
  'HttpPort',
  'Engines',
  'MaximumStorageSize',
  'MaximumStorageMode',
  'MaximumPatientCount',
  'PluginsEnabled',
]);

function Panel({
  title,
  children,
  note,
}: {
  readonly title: string;
  readonly children: ComponentChildren;
  readonly note?: ComponentChildren;
}) {
  return (
    <section class="panel" aria-label={title}>
      <header>
        <h2>{title}</h2>
        {note}
      </header>
      <div class="panel-body">{children}</div>
    </section>
  );
}

/** Pairs of words. */
function Facts({ of }: { readonly of: readonly (readonly [name: string, value: ComponentChildren])[] }) {
  return (
    <dl class="facts">
      {of.map(([name, value]) => [<dt key={`${name} name`}>{name}</dt>, <dd key={name}>{value}</dd>])}
    </dl>
  );
}

function About({ of: server }: { readonly of: Server }) {
  return (
    <Panel title={words.about}>
      <Facts
        of={[
          [words.name, server.Name],
          [words.version, server.Isen],
          [words.api, words.apiOf(server.Version, server.ApiVersion)],
          [words.aet, <code>{server.DicomAet}</code>],
          [words.dicomPort, server.DicomPort],
          [words.httpPort, server.HttpPort],
        ]}
      />
    </Panel>
  );
}

function Stored({ of: server }: { readonly of: Server }) {
  const held = usePolled(totals, [], TOTALS_PAUSE);
  const used = Number(held.value?.TotalDiskSize ?? 0);
  const most = server.MaximumStorageSize * MB;
  const mode = words.modes[server.MaximumStorageMode] ?? '';
  return (
    <Panel title={words.storage}>
      {held.error !== undefined && <Failed error={held.error} retry={held.reload} />}
      {held.value === undefined ? (
        held.error === undefined && <Loading />
      ) : (
        <div class="stack">
          <div class="tallies">
            {(
              [
                [held.value.CountPatients, t.common.patients],
                [held.value.CountStudies, t.common.studies],
                [held.value.CountSeries, t.common.series],
                [held.value.CountInstances, t.common.instances],
              ] as const
            ).map(([n, text]) => {
              const [number = '', ...unit] = text(n).split(' ');
              return (
                <div key={unit.join(' ')}>
                  <strong>{number}</strong>
                  <span class="muted">{unit.join(' ')}</span>
                </div>
              );
            })}
          </div>
          {most > 0 && <progress max={most} value={used} aria-label={words.storage} />}
          <Facts
            of={[
              [words.sizes, bytes(used)],
              [words.uncompressed, bytes(Number(held.value.TotalUncompressedSize))],
              [words.quota, most === 0 ? words.unlimited : `${bytes(most)}, ${mode}`],
              ...(server.MaximumPatientCount === 0
                ? []
                : [[words.quotaPatients, `${server.MaximumPatientCount.toLocaleString('en')}, ${mode}`] as const]),
            ]}
          />
        </div>
      )}
    </Panel>
  );
}

function Health({ of: server }: { readonly of: Server }) {
  const at = usePolled(health, [], HEALTH_PAUSE);
  return (
    <Panel title={words.health}>
      {at.error !== undefined && <Failed error={at.error} retry={at.reload} />}
      {at.value?.Leaving === true && <p class="bad-text">{words.leaving}</p>}
      <div role="status">
        <ul class="engines">
          {Object.entries(at.value?.Engines ?? {}).map(([engine, answers]) => {
            const backend = server.Engines?.[engine];
            return (
              <li key={engine} class={answers ? 'good' : 'bad-text'}>
                <Icon of={answers ? CircleCheck : CircleAlert} size={18} />
                <div>
                  <strong>{words.engines[engine] ?? engine}</strong>{' '}
                  <span class="muted">{backend === undefined ? '' : (words.backends[backend] ?? backend)}</span>
                  <p>{answers ? words.answers : words.silent}</p>
                  {!answers && <p class="muted small">{words.silentHint}</p>}
                </div>
              </li>
            );
          })}
        </ul>
      </div>
    </Panel>
  );
}

async function levels(signal: AbortSignal): Promise<ReadonlyMap<string, string>> {
  return new Map(await Promise.all(LOGS.map(async (log) => [log, await logLevel(log, signal)] as const)));
}

function Logs() {
  const known = useFetched(levels, []);
  const set = async (log: string, level: string): Promise<void> => {
    try {
      await setLogLevel(log, level);
      notify(words.levelSet);
    } finally {
      known.reload();
    }
  };
  const parts = [...(known.value ?? [])].filter(([log]) => log !== '');
  const isMixed = new Set(parts.map(([, level]) => level)).size > 1;
  return (
    <Panel title={words.logs}>
      {known.error !== undefined && <Failed error={known.error} retry={known.reload} />}
      <div class="stack">
        <p class="muted small">{words.logsHint}</p>
        <div class="levels">
          {[...(known.value ?? [])].map(([log, level]) => (
            <label key={log} class="field">
              <span>{words.log[log]}</span>
              <select
                name={`log-${log}`}
                disabled={!mayWrite.value}
                value={log === '' && isMixed ? 'mixed' : level}
                onChange={(event) => void set(log, event.currentTarget.value).catch(notifyError)}
              >
                {log === '' && isMixed && (
                  <option value="mixed" disabled>
                    {words.logLevels['mixed']}
                  </option>
                )}
                {LOG_LEVELS.map((each) => (
                  <option key={each} value={each}>
                    {words.logLevels[each]}
                  </option>
                ))}
              </select>
            </label>
          ))}
        </div>
      </div>
    </Panel>
  );
}

function Metrics() {
  const on = useFetched(metricsOn, []);
  /** What was chosen and is not in force yet. */
  const [chosen, setChosen] = useState<boolean | undefined>();
  useEffect(() => setChosen(undefined), [on.value, on.error]);
  const set = async (wanted: boolean): Promise<void> => {
    setChosen(wanted);
    try {
      await setMetrics(wanted);
      on.reload();
    } catch (thrown) {
      setChosen(undefined);
      throw thrown;
    }
  };
  return (
    <div class="row">
      <label class="check">
        <input
          type="checkbox"
          class="toggle"
          checked={chosen ?? on.value === true}
          disabled={!mayWrite.value || on.value === undefined}
          onChange={(event) => void set(event.currentTarget.checked).catch(notifyError)}
        />
        {words.metrics}
      </label>
      <a class="push" href={new URL('tools/metrics-prometheus', API).href} target="_blank" rel="noreferrer">
        {words.metricsLink}
      </a>
    </div>
  );
}

/** A value of an option in words. */
function shown(value: unknown): ComponentChildren {
  if (typeof value === 'boolean') return value ? words.yes : words.no;
  if (value === null || value === '') return t.common.none;
  if (typeof value === 'object')
    return <code class="small wrap">{JSON.stringify(value).replaceAll(/[",]/g, ' ')}</code>;
  return typeof value === 'string' || typeof value === 'number' ? value : t.common.none;
}

function Options({ of: server }: { readonly of: Server }) {
  const used = useFetched(plugins, []);
  const syntaxes = useFetched((signal) => accepted('transfer-syntaxes', signal), []);
  const classes = useFetched((signal) => accepted('sop-classes', signal), []);
  const options = Object.entries(server).filter(([name]) => !SHOWN.has(name) && name !== 'MainDicomTags');
  return (
    <Panel title={words.options}>
      <div class="stack">
        <p class="muted small">{words.optionsHint}</p>
        <Facts
          of={[
            [
              words.plugins,
              (used.value ?? []).length === 0
                ? words.noPlugins
                : (used.value ?? []).map(({ ID, Description = '' }) => (
                    <p key={ID}>
                      <strong>{ID}</strong> <span class="muted">{Description}</span>
                    </p>
                  )),
            ],
            [
              words.accepted,
              <>
                {[
                  [words.transferSyntaxes(syntaxes.value?.length ?? 0), syntaxes.value ?? []] as const,
                  [words.sopClasses(classes.value?.length ?? 0), classes.value ?? []] as const,
                ].map(([title, uids]) => (
                  <details key={title} class="more">
                    <summary>{title}</summary>
                    <pre class="raw">{uids.join('\n')}</pre>
                  </details>
                ))}
              </>,
            ],
            ...options.map(([name, value]) => [name, shown(value)] as const),
          ]}
        />
      </div>
    </Panel>
  );
}

async function ending(how: 'reset' | 'shutdown'): Promise<void> {
  const isReset = how === 'reset';
  const isWanted = await ask({
    title: isReset ? words.restartTitle : words.shutdownTitle,
    body: <p>{isReset ? words.restartBody : words.shutdownBody}</p>,
    confirm: isReset ? words.restartConfirm : words.shutdownConfirm,
    danger: true,
  });
  if (!isWanted) return;
  await end(how);
  notify(isReset ? words.restarting : words.shutDown);
}

/** The page. */
export function System() {
  const server = useFetched(system, []);
  return (
    <Page
      title={words.title}
      actions={
        mayWrite.value && (
          <>
            <button type="button" class="button" onClick={() => void ending('reset').catch(notifyError)}>
              <Icon of={RotateCw} /> {words.restart}
            </button>
            <button type="button" class="button danger" onClick={() => void ending('shutdown').catch(notifyError)}>
              <Icon of={Power} /> {words.shutdown}
            </button>
          </>
        )
      }
    >
      {server.error !== undefined && <Failed error={server.error} retry={server.reload} />}
      {server.value === undefined ? (
        server.error === undefined && <Loading />
      ) : (
        <>
          <div class="panels">
            <About of={server.value} />
            <Stored of={server.value} />
            <Health of={server.value} />
          </div>
          <Throughput />
          <Metrics />
          <Logs />
          <Options of={server.value} />
        </>
      )}
    </Page>
  );
}
