/** Owns the page of the queues: what waits for each destination, how it goes, and what can be done about it. */

import { ChevronDown, ChevronRight, CirclePause, CirclePlay, RotateCw, Trash2, Unplug } from 'lucide';
import type { IconNode } from 'lucide';
import { Fragment } from 'preact';
import { useState } from 'preact/hooks';
import { actOnQueue, DESTINATIONS_OF, type NamedQueue, purge, type QueueAction, queues } from '../api/destinations.ts';
import { duration } from '../format.ts';
import { ask } from '../parts/dialog.tsx';
import { Icon } from '../parts/icon.tsx';
import { Empty, Failed, Loading, Page } from '../parts/page.tsx';
import { usePolled } from '../parts/polled.ts';
import { notify, notifyError } from '../parts/toasts.tsx';
import { href } from '../router.ts';
import { openOf, stateOf, until } from '../routing/queue-words.ts';
import { QueueDetails } from '../routing/queue-details.tsx';
import { RoutingTabs } from '../routing/tabs.tsx';
import { mayWrite } from '../session.ts';
import { t } from '../texts.ts';
import './administration.css';

const words = t.queues;
/** Milliseconds between two looks. */
const PAUSE = 1000;

/** The columns of numbers, and which are left out where there is little room. */
const NUMBERS: readonly (readonly [title: string, minor: boolean])[] = [
  [words.waiting, false],
  [words.active, true],
  [words.retrying, false],
  [words.failed, false],
  [words.rate, true],
  [words.oldest, true],
];

const keyOf = ({ Kind, Name }: NamedQueue): string => `${Kind} ${Name}`;
const number = (n: number): string => (n === 0 ? t.common.none : n.toLocaleString('en'));

interface ActionsProps {
  readonly of: NamedQueue;
  readonly onDone: () => void;
}

/** What can be done with one queue. */
function Actions({ of: queue, onDone }: ActionsProps) {
  const { Name, Failed, Retrying, Paused } = queue;
  const kind = DESTINATIONS_OF[queue.Kind];
  const act = async (action: QueueAction): Promise<void> => {
    const count = await actOnQueue(kind, Name, action);
    if (action === 'retry') notify(words.retried(count, Name));
    onDone();
  };
  const empty = async (): Promise<void> => {
    const isWanted = await ask({
      title: words.purgeTitle(Name),
      body: <p>{words.purgeBody(openOf(queue), Failed)}</p>,
      confirm: words.purgeConfirm,
      danger: true,
    });
    if (!isWanted) return;
    await purge(kind, Name);
    notify(words.purged(Name));
    onDone();
  };
  const button = (title: string, icon: IconNode, run: () => Promise<void>, disabled = false) => (
    <button
      type="button"
      class={`button small icon-only ${icon === Trash2 ? 'danger' : ''}`}
      title={title}
      aria-label={`${title}: ${Name}`}
      disabled={disabled}
      onClick={() => void run().catch(notifyError)}
    >
      <Icon of={icon} size={14} />
    </button>
  );
  return (
    <div class="row end-row">
      {button(words.retry, RotateCw, () => act('retry'), Failed + Retrying === 0)}
      {button(Paused ? words.resume : words.pause, Paused ? CirclePlay : CirclePause, () =>
        act(Paused ? 'resume' : 'pause'),
      )}
      {button(words.purge, Trash2, empty, Failed + openOf(queue) === 0)}
    </div>
  );
}

interface RowProps extends ActionsProps {
  readonly isOpen: boolean;
  readonly onFold: () => void;
}

function Row({ of: queue, isOpen, onFold, onDone }: RowProps) {
  const { Kind, Name, Known, Waiting, Active, Retrying, Failed, Held, Rate, OldestAge, NextAttempt } = queue;
  const { key, badge } = stateOf(queue);
  return (
    <Fragment>
      <tr>
        <td>
          <div class="row-inline">
            <button type="button" class="fold" aria-expanded={isOpen} aria-label={words.unfold(Name)} onClick={onFold}>
              <Icon of={isOpen ? ChevronDown : ChevronRight} />
              {Name}
            </button>
            <span class="badge">{words.kinds[Kind]}</span>
            {!Known && <span class="badge warn">{words.gone}</span>}
          </div>
        </td>
        <td>
          <span class="row-inline wrapping">
            <span class={`badge state ${badge}`}>{words.states[key]}</span>
            {NextAttempt !== null && !queue.Paused && Retrying + Waiting > 0 && (
              <small class="muted">{words.again(until(NextAttempt))}</small>
            )}
          </span>
        </td>
        <td class="numeric">
          {number(Waiting)}
          {Held > 0 && (
            <small
              class="muted"
              title={words.heldHint}
            >{` +${Held.toLocaleString('en')} ${words.held.toLowerCase()}`}</small>
          )}
        </td>
        <td class="numeric minor">{number(Active)}</td>
        <td class="numeric">{number(Retrying)}</td>
        <td class="numeric">
          {Failed === 0 ? t.common.none : <strong class="bad-text">{Failed.toLocaleString('en')}</strong>}
        </td>
        <td class="numeric minor">{Rate === 0 ? t.common.none : words.rateOf(Rate)}</td>
        <td class="numeric nowrap minor">{OldestAge === null ? t.common.none : duration(OldestAge)}</td>
        {mayWrite.value && (
          <td>
            <Actions of={queue} onDone={onDone} />
          </td>
        )}
      </tr>
      {isOpen && (
        <tr class="unfolded-row">
          <td colSpan={mayWrite.value ? 9 : 8}>
            <QueueDetails kind={DESTINATIONS_OF[Kind]} name={Name} />
          </td>
        </tr>
      )}
    </Fragment>
  );
}

/** The page. */
export function Routing() {
  const all = usePolled(queues, [], PAUSE);
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  const [onlyFull, setOnlyFull] = useState(false);
  const rows = (all.value ?? []).filter((each) => !onlyFull || openOf(each) + each.Failed > 0 || open.has(keyOf(each)));
  const sum = (count: (queue: NamedQueue) => number): number =>
    (all.value ?? []).reduce((total, each) => total + count(each), 0);
  const fold = (key: string): void => {
    const next = new Set(open);
    if (!next.delete(key)) next.add(key);
    setOpen(next);
  };
  return (
    <Page
      title={words.title}
      {...(all.value && {
        subtitle: words.sums(
          sum(openOf),
          sum(({ Failed: n }) => n),
        ),
      })}
    >
      <RoutingTabs />
      {all.error !== undefined && <Failed error={all.error} retry={all.reload} />}
      {all.value === undefined ? (
        all.error === undefined && <Loading />
      ) : all.value.length === 0 ? (
        <Empty icon={Unplug} title={words.none}>
          <p>{words.noneHint}</p>
          <a class="button primary" href={href('modalities')}>
            {t.destinations.title}
          </a>
        </Empty>
      ) : (
        <>
          <label class="check">
            <input type="checkbox" checked={onlyFull} onChange={(event) => setOnlyFull(event.currentTarget.checked)} />
            {words.onlyTrouble}
          </label>
          <div class="panel table-scroll">
            <table class="table queues">
              <caption class="sr-only">{words.tabs.queues}</caption>
              <thead>
                <tr>
                  <th scope="col">{words.destination}</th>
                  <th scope="col">{t.jobs.state}</th>
                  {NUMBERS.map(([title, minor]) => (
                    <th key={title} scope="col" class={minor ? 'numeric minor' : 'numeric'}>
                      {title}
                    </th>
                  ))}
                  {mayWrite.value && (
                    <th scope="col">
                      <span class="sr-only">{t.actions.title}</span>
                    </th>
                  )}
                </tr>
              </thead>
              <tbody>
                {rows.map((each) => (
                  <Row
                    key={keyOf(each)}
                    of={each}
                    isOpen={open.has(keyOf(each))}
                    onFold={() => fold(keyOf(each))}
                    onDone={all.reload}
                  />
                ))}
              </tbody>
            </table>
          </div>
        </>
      )}
    </Page>
  );
}
