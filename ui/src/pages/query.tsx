/** Owns the page on which remote modalities are asked, and what they have is retrieved. */

import { CloudDownload, FolderSearch, SearchX, Unplug } from 'lucide';
import { useEffect, useRef, useState } from 'preact/hooks';
import { ApiError, isAborted } from '../api.ts';
import { descriptions } from '../api/destinations.ts';
import { type Answers, ask, type Manner, retrieve } from '../api/queries.ts';
import { Reason } from '../destinations/reason.tsx';
import { useFetched } from '../parts/fetched.ts';
import { follow } from '../parts/followed.tsx';
import { Icon } from '../parts/icon.tsx';
import { Empty, Failed, Loading, Page } from '../parts/page.tsx';
import { notify, notifyError } from '../parts/toasts.tsx';
import { AnswerTable, MOST, nameOf } from '../query/answers.tsx';
import { QueryForm } from '../query/fields.tsx';
import { fill, form, found, keysOf } from '../query/form.ts';
import { href, query } from '../router.ts';
import { mayWrite } from '../session.ts';
import { t } from '../texts.ts';
import './administration.css';

const words = t.query;
const METHODS = ['SystemDefault', 'C-MOVE', 'C-GET'] as const;

interface MannerProps {
  readonly manner: Manner;
  readonly onManner: (manner: Manner) => void;
}

/** How it is retrieved. */
function MannerFields({ manner: { RetrieveMethod, TargetAet = '' }, onManner }: MannerProps) {
  return (
    <>
      <label class="row-inline">
        <span class="muted">{words.method}</span>
        <select
          name="method"
          value={RetrieveMethod}
          onChange={(event) =>
            onManner({ RetrieveMethod: METHODS.find((each) => each === event.currentTarget.value) ?? 'SystemDefault' })
          }
        >
          {METHODS.map((each) => (
            <option key={each} value={each}>
              {words.methods[each]}
            </option>
          ))}
        </select>
      </label>
      {RetrieveMethod === 'C-MOVE' && (
        <label class="row-inline">
          <span class="muted">{words.target}</span>
          <input
            name="target"
            maxLength={16}
            placeholder={words.targetOurs}
            value={TargetAet}
            onInput={(event) => onManner({ RetrieveMethod, TargetAet: event.currentTarget.value })}
          />
        </label>
      )}
    </>
  );
}

/** What was found, and what is done with it. */
function Results({ modality, answers }: { readonly modality: string; readonly answers: Answers }) {
  const [chosen, choose] = useState<ReadonlySet<number>>(new Set());
  const [manner, setManner] = useState<Manner>({ RetrieveMethod: 'SystemDefault' });
  const [arrived, setArrived] = useState(0);
  useEffect(() => choose(new Set()), [answers]);
  const { rows } = answers;
  if (rows.length === 0) {
    return (
      <Empty icon={SearchX} title={words.nothing}>
        <p>{words.nothingHint}</p>
      </Empty>
    );
  }
  const begin = async (of: Answers, indices: readonly number[]): Promise<void> => {
    const { TargetAet, RetrieveMethod } = manner;
    const sent: Manner = { RetrieveMethod, ...(TargetAet?.trim() && { TargetAet: TargetAet.trim() }) };
    for (const index of indices) {
      const name = nameOf(of.level, of.rows[index] ?? {});
      const { ID } = await retrieve(of.id, index, sent);
      follow(ID, words.retrieving(name, modality), () => {
        notify(words.retrieved(name));
        setArrived((before) => before + 1);
      });
    }
  };
  const onRetrieve = (of: Answers, indices: readonly number[]): void => void begin(of, indices).catch(notifyError);
  return (
    <section class="panel" aria-label={words.found(rows.length)}>
      <header>
        <h2>
          <span role="status">{words.found(rows.length)}</span>
        </h2>
        {rows.length > MOST && <span class="muted">{words.tooMany(MOST)}</span>}
        {mayWrite.value && (
          <div class="row">
            <MannerFields manner={manner} onManner={setManner} />
            <button
              type="button"
              class="button primary small"
              disabled={chosen.size === 0}
              onClick={() =>
                onRetrieve(
                  answers,
                  [...chosen].sort((a, b) => a - b),
                )
              }
            >
              <Icon of={CloudDownload} size={14} /> {words.retrieveSelected(chosen.size)}
            </button>
          </div>
        )}
      </header>
      <AnswerTable
        key={answers.id}
        answers={answers}
        arrived={arrived}
        onRetrieve={onRetrieve}
        choice={{ chosen, choose }}
      />
    </section>
  );
}

/** Why it could not be asked. */
function NotAsked({ error, retry }: { readonly error: unknown; readonly retry: () => void }) {
  if (!(error instanceof ApiError) || error.said === '') return <Failed error={error} retry={retry} />;
  return (
    <div class="notice notice-error" role="alert">
      <Icon of={Unplug} size={20} />
      <div class="grow">
        <strong>{words.notAsked}</strong>
        <Reason of={error.said} />
      </div>
      <button type="button" class="button small" onClick={retry}>
        {t.errors.retry}
      </button>
    </div>
  );
}

/** The page. */
export function Query() {
  const known = useFetched((signal) => descriptions('modalities', signal), []);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  const asking = useRef<AbortController | undefined>(undefined);
  const names = Object.keys(known.value ?? {});
  const wanted = query.value.get('modality');
  useEffect(() => {
    if (known.value === undefined) return;
    if (wanted !== null && names.includes(wanted)) fill({ modality: wanted });
    else if (!names.includes(form.value.modality)) fill({ modality: names[0] ?? '' });
  }, [known.value, wanted]);
  useEffect(() => () => asking.current?.abort(), []);

  const submit = async (): Promise<void> => {
    asking.current?.abort();
    const stop = new AbortController();
    asking.current = stop;
    const { modality, level } = form.value;
    setBusy(true);
    setError(undefined);
    try {
      found.value = { modality, answers: await ask(modality, level, keysOf(form.value), stop.signal) };
    } catch (thrown) {
      if (isAborted(thrown)) return;
      found.value = undefined;
      setError(thrown);
    }
    setBusy(false);
  };
  if (known.value !== undefined && names.length === 0) {
    return (
      <Page title={words.title}>
        <Empty icon={Unplug} title={words.noModalities}>
          <p>{words.noModalitiesHint}</p>
          <a class="button primary" href={href('modalities')}>
            {t.destinations.title}
          </a>
        </Empty>
      </Page>
    );
  }
  return (
    <Page title={words.title}>
      {known.error !== undefined && <Failed error={known.error} retry={known.reload} />}
      {known.value === undefined ? (
        known.error === undefined && <Loading />
      ) : (
        <QueryForm modalities={names} busy={busy} onSubmit={() => void submit()} />
      )}
      {error !== undefined && <NotAsked error={error} retry={() => void submit()} />}
      {found.value !== undefined && error === undefined && (
        <Results modality={found.value.modality} answers={found.value.answers} />
      )}
      {found.value === undefined && error === undefined && known.value !== undefined && (
        <Empty icon={FolderSearch} title={words.start}>
          <p>{words.startHint}</p>
        </Empty>
      )}
    </Page>
  );
}
