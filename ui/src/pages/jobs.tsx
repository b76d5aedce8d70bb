/** Owns the page of jobs: all that are remembered, live, and what can be done with each. */

import { Ban, ChevronDown, ChevronRight, CirclePause, CirclePlay, Download, ListTodo, RotateCw, Trash2 } from 'lucide';
import type { IconNode } from 'lucide';
import { Fragment } from 'preact';
import { useState } from 'preact/hooks';
import { act, forget, type Job, type JobAction, outputUrl } from '../api/jobs.ts';
import { explain } from '../destinations/reasons.ts';
import { duration, timestamp } from '../format.ts';
import { JobDetails } from '../jobs/details.tsx';
import { ACTIONS, BADGES, countsOf, failedOf, kindOf, otherSide, outputOf, timeOf } from '../jobs/job-words.ts';
import { useJobs } from '../jobs/live-jobs.ts';
import { ask } from '../parts/dialog.tsx';
import { Icon } from '../parts/icon.tsx';
import { Empty, Failed, Loading, Page } from '../parts/page.tsx';
import { notifyError } from '../parts/toasts.tsx';
import { navigate } from '../router.ts';
import { mayWrite } from '../session.ts';
import { t } from '../texts.ts';
import './administration.css';

const words = t.jobs;
const STATES = [
  'Running',
  'Pending',
  'Retry',
  'Paused',
  'Failure',
  'Success',
] as const satisfies readonly Job['State'][];
/** Rows that are shown at first, and that are added. */
const PAGE = 100;

const ICONS: Readonly<Record<JobAction, IconNode>> = {
  cancel: Ban,
  pause: CirclePause,
  resume: CirclePlay,
  resubmit: RotateCw,
};

const hasEnded = ({ State }: Job): boolean => State === 'Success' || State === 'Failure';

async function forgetAll(all: readonly Job[]): Promise<boolean> {
  const isWanted = await ask({
    title: all.length === 1 ? words.forgetTitle : words.forgetEndedTitle(all.length),
    body: <p>{all.length === 1 ? words.forgetBody : words.forgetEndedBody}</p>,
    confirm: words.forgetConfirm,
    danger: true,
  });
  if (isWanted) await Promise.all(all.map(({ ID }) => forget(ID)));
  return isWanted;
}

interface RowProps {
  readonly of: Job;
  readonly isOpen: boolean;
  readonly onDone: () => void;
}

/** What can be done with one job. */
function Actions({ of: job, onDone }: Omit<RowProps, 'isOpen'>) {
  const name = `${kindOf(job)} ${otherSide(job)}`.trim();
  const output = outputOf(job);
  const run = async (action: JobAction): Promise<void> => {
    if (action === 'cancel') {
      const isWanted = await ask({
        title: words.cancelTitle,
        body: <p>{words.cancelBody}</p>,
        confirm: words.cancelConfirm,
        danger: true,
      });
      if (!isWanted) return;
    }
    await act(job.ID, action);
    onDone();
  };
  const button = (title: string, icon: IconNode, work: () => Promise<unknown>, danger = false) => (
    <button
      key={title}
      type="button"
      class={`button small icon-only ${danger ? 'danger' : ''}`}
      title={title}
      aria-label={`${title}: ${name}`}
      onClick={() => void work().catch(notifyError)}
    >
      <Icon of={icon} size={14} />
    </button>
  );
  return (
    <div class="row end-row">
      {output !== undefined && (
        <a class="button small" href={outputUrl(job.ID, output)} download="">
          <Icon of={Download} size={14} /> {words.download}
        </a>
      )}
      {mayWrite.value && (
        <>
          {ACTIONS[job.State].map((action) =>
            button(words[action], ICONS[action], () => run(action), action === 'cancel'),
          )}
          {hasEnded(job) &&
            button(words.forget, Trash2, async () => {
              if (await forgetAll([job])) onDone();
            })}
        </>
      )}
    </div>
  );
}

function Progress({ of: job }: { readonly of: Job }) {
  const { State, ErrorDetails, ErrorDescription } = job;
  if (State === 'Failure') {
    return <span class="bad-text clipped">{explain(ErrorDetails || ErrorDescription).words}</span>;
  }
  const failed = failedOf(job);
  const eta = timeOf(job.EstimatedTimeOfArrival);
  const left = eta === undefined || State !== 'Running' ? '' : words.eta(duration((eta - Date.now()) / 1000));
  const text = [countsOf(job), left].filter((part) => part !== '').join(', ');
  return (
    <div class="cell-progress">
      {State !== 'Success' && (
        <progress max={100} value={job.Progress} aria-label={`${words.progress}: ${job.Progress} %`} />
      )}
      <small class="muted">
        {State === 'Success' ? text : [`${job.Progress} %`, text].filter((part) => part !== '').join(', ')}
      </small>
      {failed > 0 && <small class="bad-text">{words.failedInstances(failed)}</small>}
    </div>
  );
}

function Row({ of: job, isOpen, onDone }: RowProps) {
  const kind = kindOf(job);
  return (
    <Fragment>
      <tr>
        <td>
          <div class="row-inline wrapping">
            <button
              type="button"
              class="fold"
              aria-expanded={isOpen}
              onClick={() => navigate(isOpen ? 'jobs' : `jobs/${job.ID}`, { replace: true })}
            >
              <Icon of={isOpen ? ChevronDown : ChevronRight} />
              {kind}
            </button>
            <span class="muted wrap">{otherSide(job)}</span>
          </div>
        </td>
        <td>
          <span class={`badge state ${BADGES[job.State]}`}>{words.states[job.State]}</span>
        </td>
        <td>
          <Progress of={job} />
        </td>
        <td class="nowrap">{timestamp(job.CreationTime)}</td>
        <td class="numeric nowrap minor">{duration(job.EffectiveRuntime)}</td>
        <td>
          <Actions of={job} onDone={onDone} />
        </td>
      </tr>
      {isOpen && (
        <tr class="unfolded-row">
          <td colSpan={6}>
            <JobDetails of={job} />
          </td>
        </tr>
      )}
    </Fragment>
  );
}

/** The page; `id` unfolds one job. */
export function Jobs({ id }: { readonly id: string | undefined }) {
  const { jobs, error, reload } = useJobs();
  const [state, setState] = useState<Job['State'] | undefined>();
  const [type, setType] = useState('');
  const [most, setMost] = useState(PAGE);
  const all = jobs ?? [];
  const typesOf = [...new Set(all.map(kindOf))].sort();
  const rightType = all.filter((job) => type === '' || kindOf(job) === type);
  const right = rightType.filter((job) => state === undefined || job.State === state).toReversed();
  // The one that the address names is shown whatever the filters say.
  const named = all.find(({ ID }) => ID === id);
  const shown = right.slice(0, most);
  const rows = named === undefined || shown.includes(named) ? shown : [named, ...shown];
  const ended = right.filter(hasEnded);
  return (
    <Page
      title={words.title}
      actions={
        mayWrite.value &&
        ended.length > 0 && (
          <button
            type="button"
            class="button danger"
            onClick={() => void forgetAll(ended).then((done) => done && reload(), notifyError)}
          >
            <Icon of={Trash2} /> {words.forgetEnded}
          </button>
        )
      }
    >
      <div class="row">
        <div class="chips" role="group" aria-label={words.filterStates}>
          <button type="button" class="chip" aria-pressed={state === undefined} onClick={() => setState(undefined)}>
            {words.anyState} <span>{rightType.length.toLocaleString('en')}</span>
          </button>
          {STATES.map((each) => {
            const n = rightType.filter((job) => job.State === each).length;
            return (
              <button
                key={each}
                type="button"
                class="chip"
                aria-pressed={state === each}
                onClick={() => setState(state === each ? undefined : each)}
              >
                {words.states[each]} <span>{n.toLocaleString('en')}</span>
              </button>
            );
          })}
        </div>
        <label class="push">
          <span class="sr-only">{words.type}</span>
          <select value={type} onChange={(event) => setType(event.currentTarget.value)}>
            <option value="">{words.anyType}</option>
            {typesOf.map((each) => (
              <option key={each} value={each}>
                {each}
              </option>
            ))}
          </select>
        </label>
      </div>
      {error !== undefined && <Failed error={error} retry={reload} />}
      {id !== undefined && jobs !== undefined && named === undefined && (
        <div class="notice">
          <p>{words.unknown}</p>
        </div>
      )}
      {jobs === undefined ? (
        error === undefined && <Loading />
      ) : rows.length === 0 ? (
        <Empty icon={ListTodo} title={all.length === 0 ? words.none : words.noneLike}>
          {all.length === 0 ? (
            <p>{words.noneHint}</p>
          ) : (
            <button
              type="button"
              class="button"
              onClick={() => {
                setState(undefined);
                setType('');
              }}
            >
              {words.clear}
            </button>
          )}
        </Empty>
      ) : (
        <>
          <div class="panel table-scroll">
            <table class="table">
              <caption class="sr-only">{words.title}</caption>
              <thead>
                <tr>
                  <th scope="col">{words.what}</th>
                  <th scope="col">{words.state}</th>
                  <th scope="col">{words.progress}</th>
                  <th scope="col">{words.begun}</th>
                  <th scope="col" class="numeric minor">
                    {words.took}
                  </th>
                  <th scope="col">
                    <span class="sr-only">{t.actions.title}</span>
                  </th>
                </tr>
              </thead>
              <tbody>
                {rows.map((job) => (
                  <Row key={job.ID} of={job} isOpen={job.ID === id} onDone={reload} />
                ))}
              </tbody>
            </table>
          </div>
          {right.length > most && (
            <div>
              <button type="button" class="button" onClick={() => setMost(most + PAGE)}>
                {words.more(Math.min(PAGE, right.length - most))}
              </button>
            </div>
          )}
        </>
      )}
    </Page>
  );
}
