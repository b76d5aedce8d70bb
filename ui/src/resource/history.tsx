/** Owns what the log of changes says of a resource, from the newest back: the log is looked through in pieces. */

import { History as HistoryIcon } from 'lucide';
import { useEffect, useState } from 'preact/hooks';
import { get, isAborted } from '../api.ts';
import { metadata, type Place, type Resource } from '../api/resources.ts';
import { timestamp } from '../format.ts';
import { type Change, type ChangePage, onChange } from '../live.ts';
import { useFetched } from '../parts/fetched.ts';
import { Empty, Failed } from '../parts/page.tsx';
import { href } from '../router.ts';
import { t } from '../texts.ts';

/** Rows of the log in one piece, and pieces that are looked through before people are asked. */
const PIECE = 2000;
const PIECES = 10;

/** The changes that can be of a resource above the instances; naming them spares the log of what was received, which is most of it. */
const TYPES = ['New', 'Stable', 'Modified', 'Anonymized'] as const;

function typesOf({ Type }: Resource): string | undefined {
  if (Type === 'Instance') return undefined;
  const own = TYPES.map((each) => `${each}${Type}`);
  return [...own, ...(Type === 'Series' ? ['CompletedSeries'] : []), 'UpdatedMetadata', 'UpdatedAttachment'].join(';');
}

/** What a resource was made from, as its metadata says it. */
const SOURCES = ['ModifiedFrom', 'AnonymizedFrom'] as const;

interface Looked {
  readonly rows: readonly Change[];
  /** The log is looked through down to here; 0 is all of it. */
  readonly down: number;
}

/** The list. */
export function History({ place, itself }: { readonly place: Place; readonly itself: Resource }) {
  const { ID } = itself;
  const [looked, setLooked] = useState<Looked | undefined>();
  const [round, setRound] = useState(0);
  const [error, setError] = useState<unknown>();
  const known = useFetched(async (signal) => metadata(place, ID, signal), [place, ID]);

  useEffect(() => {
    const stop = new AbortController();
    const look = async (): Promise<void> => {
      const signal = stop.signal;
      let { rows, down } = looked ?? {
        rows: [] as readonly Change[],
        down: (await get<ChangePage>('changes', { query: { last: true }, signal })).Last,
      };
      setLooked({ rows, down });
      for (let piece = 0; piece < PIECES && down > 0; piece++) {
        const { Changes: found } = await get<ChangePage>('changes', {
          query: { limit: PIECE, to: down, type: typesOf(itself) },
          signal,
        });
        const [first] = found;
        rows = [...rows, ...found.filter((change) => change.ID === ID).toReversed()];
        down = first === undefined || found.length < PIECE ? 0 : first.Seq - 1;
        setLooked({ rows, down });
      }
    };
    look().catch((thrown: unknown) => {
      if (!isAborted(thrown)) setError(thrown);
    });
    return () => stop.abort();
  }, [ID, round]);
  useEffect(
    () =>
      onChange((change) => {
        if (change.ID === ID) setLooked((now) => now && { ...now, rows: [change, ...now.rows] });
      }),
    [ID],
  );

  const from = SOURCES.flatMap((name) => {
    const source = known.value?.[name];
    return source === undefined ? [] : [{ name, source }];
  });
  const received = known.value?.['ReceptionDate'];
  return (
    <div class="stack">
      {(received !== undefined || from.length > 0) && (
        <ul class="origin">
          {received !== undefined && (
            <li>{t.resource.receivedFrom(timestamp(received), originOf(known.value ?? {}))}</li>
          )}
          {from.map(({ name, source }) => (
            <li key={name}>
              {t.resource.madeFrom[name]} <a href={href(`${place}/${source}`)}>{source}</a>
            </li>
          ))}
        </ul>
      )}
      {error !== undefined && <Failed error={error} retry={() => setRound(round + 1)} />}
      {looked !== undefined && looked.rows.length === 0 && looked.down === 0 && (
        <Empty icon={HistoryIcon} title={t.resource.noHistory} />
      )}
      {looked !== undefined && looked.rows.length > 0 && (
        <ol class="timeline" aria-label={t.resource.history}>
          {looked.rows.map(({ Seq, ChangeType, Date: at }) => (
            <li key={Seq}>
              <time>{timestamp(at)}</time>
              <strong>{t.resource.changes[ChangeType as keyof typeof t.resource.changes] ?? ChangeType}</strong>
              <span class="muted">{t.resource.changeNumber(Seq)}</span>
            </li>
          ))}
        </ol>
      )}
      {looked !== undefined && looked.down > 0 && (
        <p class="row">
          <span class="muted">{t.resource.lookedDown(looked.down)}</span>
          <button type="button" class="button small" onClick={() => setRound(round + 1)}>
            {t.resource.lookFurther}
          </button>
        </p>
      )}
    </div>
  );
}

/** Who an instance came from, as its metadata says it. */
function originOf(known: Readonly<Record<string, string>>): string {
  const { RemoteAET = '', RemoteIP = '', HttpUsername = '' } = known;
  return [RemoteAET || HttpUsername, RemoteIP].filter((part) => part !== '').join(', ');
}
