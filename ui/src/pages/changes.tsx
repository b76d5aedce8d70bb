/** Owns the page of changes: what has happened, the latest first, and what happens, as it does. */

import { CirclePause, CirclePlay, History, Radio } from 'lucide';
import { useEffect, useRef, useState } from 'preact/hooks';
import { changesUpTo, lastChange } from '../api/changes.ts';
import { PLACE_OF } from '../api/resources.ts';
import { isAborted } from '../api.ts';
import { timestamp } from '../format.ts';
import { type Change, liveState, onChange } from '../live.ts';
import { Icon } from '../parts/icon.tsx';
import { Empty, Failed, Loading, Page } from '../parts/page.tsx';
import { Popover } from '../parts/popover.tsx';
import { type Column, Table } from '../parts/table.tsx';
import { href } from '../router.ts';
import { t } from '../texts.ts';
import './administration.css';

const words = t.changes;
const LEVELS = ['Patient', 'Study', 'Series', 'Instance'] as const;
/** Rows asked for at once, and those that stay while more come in. */
const PAGE = 100;
const MOST = 1000;
/** Milliseconds between two drawings while changes come in. */
const DRAW = 200;

const wordOf = (type: string): string => words.words[type] ?? type;

const COLUMNS: readonly Column<Change>[] = [
  { key: 'number', title: words.number, numeric: true, cell: ({ Seq }) => Seq.toLocaleString('en') },
  { key: 'date', title: words.date, cell: ({ Date: date }) => <span class="nowrap">{timestamp(date, true)}</span> },
  {
    key: 'type',
    title: words.type,
    cell: ({ ChangeType }) => (
      <span class={ChangeType === 'Deleted' ? 'badge bad' : 'badge'}>{wordOf(ChangeType)}</span>
    ),
  },
  { key: 'level', title: words.level, cell: ({ ResourceType }) => words.levels[ResourceType] },
  {
    key: 'resource',
    title: words.resource,
    cell: ({ ChangeType, ResourceType, ID }) =>
      ChangeType === 'Deleted' ? (
        <code class="wrap small muted">{ID}</code>
      ) : (
        <a class="wrap" href={href(`${PLACE_OF[ResourceType]}/${ID}`)}>
          <code class="small">{ID}</code>
        </a>
      ),
  },
];

/** The log, live. What comes while it is paused is counted, and shown when it goes on. */
function useLog(types: readonly string[], isPaused: boolean) {
  const [rows, setRows] = useState<readonly Change[]>();
  const [error, setError] = useState<unknown>();
  const [missed, setMissed] = useState(0);
  const [isWhole, setWhole] = useState(false);
  const [round, setRound] = useState(0);
  const coming = useRef<Change[]>([]);
  const paused = useRef(isPaused);
  paused.current = isPaused;
  const wanted = types.join(';');

  const draw = (): void => {
    if (paused.current || coming.current.length === 0) return;
    const fresh = coming.current;
    coming.current = [];
    setMissed(0);
    setRows((before = []) => {
      const newest = before[0]?.Seq ?? 0;
      return [...fresh.filter(({ Seq }) => Seq > newest).toReversed(), ...before].slice(0, MOST);
    });
  };
  useEffect(() => {
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    coming.current = [];
    setMissed(0);
    setError(undefined);
    // Heard before the log is read, so that nothing falls between.
    const silence = onChange((change) => {
      if (types.length > 0 && !types.includes(change.ChangeType)) return;
      coming.current = [...coming.current, change].slice(-MOST);
      timer ??= setTimeout(() => {
        timer = undefined;
        if (paused.current) setMissed(coming.current.length);
        else draw();
      }, DRAW);
    });
    const read = async (): Promise<void> => {
      const last = await lastChange(stop.signal);
      const page = last === 0 ? [] : await changesUpTo(last, PAGE, types, stop.signal);
      setRows(page);
      setWhole(page.length < PAGE);
    };
    read().catch((thrown: unknown) => {
      if (!isAborted(thrown)) setError(thrown);
    });
    return () => {
      silence();
      clearTimeout(timer);
      stop.abort();
    };
  }, [wanted, round]);
  useEffect(draw, [isPaused]);

  const older = async (): Promise<void> => {
    const first = rows?.at(-1)?.Seq ?? 1;
    try {
      const page = first <= 1 ? [] : await changesUpTo(first - 1, PAGE, types);
      setRows((before = []) => [...before, ...page]);
      setWhole(page.length < PAGE);
    } catch (thrown) {
      setError(thrown);
    }
  };
  return { rows, error, missed, isWhole, older, reload: () => setRound(round + 1) };
}

/** Ticks in a small panel. */
function Ticked({
  title,
  of,
  chosen,
  onChosen,
  name,
}: {
  readonly title: string;
  readonly of: readonly string[];
  readonly chosen: readonly string[];
  readonly onChosen: (chosen: readonly string[]) => void;
  readonly name: (value: string) => string;
}) {
  return (
    <Popover label={chosen.length === 0 ? title : chosen.map(name).join(', ')} active={chosen.length > 0}>
      <fieldset class="choice">
        <legend>{title}</legend>
        {of.map((each) => (
          <label key={each} class="check">
            <input
              type="checkbox"
              checked={chosen.includes(each)}
              onChange={(event) =>
                onChosen(event.currentTarget.checked ? [...chosen, each] : chosen.filter((other) => other !== each))
              }
            />
            {name(each)}
          </label>
        ))}
      </fieldset>
    </Popover>
  );
}

/** The page. */
export function Changes() {
  const [types, setTypes] = useState<readonly string[]>([]);
  const [levels, setLevels] = useState<readonly string[]>([]);
  const [isPaused, setPaused] = useState(false);
  const { rows, error, missed, isWhole, older, reload } = useLog(types, isPaused);
  const shown = (rows ?? []).filter(({ ResourceType }) => levels.length === 0 || levels.includes(ResourceType));
  const state = liveState.value;
  return (
    <Page
      title={words.title}
      subtitle={
        <span role="status" class={`row-inline ${isPaused || state === 'off' ? '' : 'good'}`}>
          <Icon of={isPaused ? CirclePause : Radio} size={15} />
          {isPaused ? words.paused(missed) : words[state]}
        </span>
      }
      actions={
        <button type="button" class="button" aria-pressed={isPaused} onClick={() => setPaused(!isPaused)}>
          <Icon of={isPaused ? CirclePlay : CirclePause} /> {isPaused ? words.resume : words.pause}
        </button>
      }
    >
      <div class="row">
        <Ticked title={words.anyType} of={Object.keys(words.words)} chosen={types} onChosen={setTypes} name={wordOf} />
        <Ticked
          title={words.anyLevel}
          of={LEVELS}
          chosen={levels}
          onChosen={setLevels}
          name={(level) => words.levels[level as (typeof LEVELS)[number]]}
        />
      </div>
      {error !== undefined && <Failed error={error} retry={reload} />}
      {rows === undefined ? (
        error === undefined && <Loading />
      ) : (
        <div class="panel">
          <Table
            caption={words.title}
            columns={COLUMNS}
            rows={shown}
            keyOf={({ Seq }) => String(Seq)}
            empty={
              <Empty icon={History} title={words.none}>
                <p>{words.noneHint}</p>
              </Empty>
            }
          />
        </div>
      )}
      {rows !== undefined &&
        (isWhole ? (
          <p class="muted small">{words.beginning}</p>
        ) : (
          <div>
            <button type="button" class="button" onClick={() => void older()}>
              {words.older}
            </button>
          </div>
        ))}
    </Page>
  );
}
