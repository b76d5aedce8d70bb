/** Owns what a queue says when it is unfolded: what it failed with last, and the entries that are tried again or have failed. */

import { useState } from 'preact/hooks';
import { type Destinations, queue, type Queue, type QueueEntry } from '../api/destinations.ts';
import { Reason } from '../destinations/reason.tsx';
import { duration } from '../format.ts';
import { Failed, Loading } from '../parts/page.tsx';
import { usePolled } from '../parts/polled.ts';
import { type Column, Table } from '../parts/table.tsx';
import { href } from '../router.ts';
import { PLACE_OF } from '../api/resources.ts';
import { t } from '../texts.ts';
import { since, until } from './queue-words.ts';

const words = t.queues;
/** Entries asked for at once, and milliseconds between two looks. */
const PAGE = 50;
const PAUSE = 2000;

function What({ of: { Instance, Change } }: { readonly of: QueueEntry }) {
  if (Change === undefined) return <a href={href(`instances/${Instance}`)}>{words.instance}</a>;
  const place = PLACE_OF[Change.ResourceType as keyof typeof PLACE_OF];
  const name = t.changes.words[Change.ChangeType] ?? Change.ChangeType;
  return Change.ChangeType === 'Deleted' ? <>{name}</> : <a href={href(`${place}/${Change.ID}`)}>{name}</a>;
}

function Because({ of: { Route, Job } }: { readonly of: QueueEntry }) {
  if (Route !== undefined) return <a href={href('rules')}>{words.rule(Route)}</a>;
  return Job === undefined ? <>{words.direct}</> : <a href={href(`jobs/${Job}`)}>{words.job}</a>;
}

const COLUMNS: readonly Column<QueueEntry>[] = [
  {
    key: 'state',
    title: t.jobs.state,
    cell: ({ State }) => (
      <span class={State === 'failed' ? 'badge bad' : 'badge warn'}>
        {State === 'failed' ? words.failed : words.retrying}
      </span>
    ),
  },
  { key: 'what', title: words.what, cell: (entry) => <What of={entry} /> },
  { key: 'because', title: words.because, cell: (entry) => <Because of={entry} /> },
  { key: 'attempts', title: words.attempts, numeric: true, cell: ({ Attempts }) => Attempts },
  { key: 'added', title: words.added, cell: ({ Added }) => <span class="nowrap">{since(Added)}</span> },
  {
    key: 'due',
    title: words.due,
    cell: ({ Due, State }) => (
      <span class="nowrap">{State === 'failed' ? words.onlyByHand : until(Due ?? new Date().toISOString())}</span>
    ),
  },
];

/** Entries that have the same reason, in the order of the first of each. */
function byReason(
  entries: readonly QueueEntry[],
): readonly (readonly [reason: string, entries: readonly QueueEntry[]])[] {
  const groups = new Map<string, QueueEntry[]>();
  for (const entry of entries) {
    const group = groups.get(entry.Reason);
    if (group === undefined) groups.set(entry.Reason, [entry]);
    else group.push(entry);
  }
  return [...groups];
}

/** The numbers of a queue in one line. */
function summary({ Active, Rate, OldestAge, Associations }: Queue): string {
  const parts = [
    `${words.active}: ${Active.toLocaleString('en')}`,
    `${words.rate}: ${words.rateOf(Rate)}`,
    OldestAge === null ? '' : `${words.oldest}: ${duration(OldestAge)}`,
    Associations === 0 ? '' : words.open(Associations),
  ];
  return parts.filter((part) => part !== '').join(' · ');
}

interface DetailsProps {
  readonly kind: Destinations;
  readonly name: string;
}

/** The details, asked for again and again. */
export function QueueDetails({ kind, name }: DetailsProps) {
  const [most, setMost] = useState(PAGE);
  const at = usePolled<Queue>(
    (signal) => queue(kind, name, { since: 0, limit: most }, signal),
    [kind, name, most],
    PAUSE,
  );
  if (at.value === undefined)
    return at.error === undefined ? <Loading /> : <Failed error={at.error} retry={at.reload} />;
  const { Entries, Done, LastError } = at.value;
  const groups = byReason(Entries);
  return (
    <div class="stack">
      <p class="muted small">{summary(at.value)}</p>
      {LastError !== '' && groups.every(([reason]) => reason !== LastError) && (
        <div class="notice notice-error">
          <div>
            <h3>{words.lastError}</h3>
            <Reason of={LastError} />
          </div>
        </div>
      )}
      {groups.length === 0 && LastError === '' && <p class="muted">{words.noTrouble}</p>}
      {groups.map(([reason, entries]) => (
        <section key={reason} class="panel">
          <header>
            <Reason of={reason} />
            <span class="badge">{words.entriesOf(entries.length, Done)}</span>
          </header>
          <Table caption={words.entries} columns={COLUMNS} rows={entries} keyOf={({ Seq }) => String(Seq)} />
        </section>
      ))}
      {!Done && (
        <div>
          <button type="button" class="button" onClick={() => setMost(most * 2)}>
            {words.moreEntries}
          </button>
        </div>
      )}
    </div>
  );
}
