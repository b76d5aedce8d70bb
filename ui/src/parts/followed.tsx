/** Owns the jobs that were begun here: they are followed to their end at the corner, whatever page is shown. */

import { signal } from '@preact/signals';
import { CircleAlert, CircleCheck, LoaderCircle, X } from 'lucide';
import { isAborted, messageOf } from '../api.ts';
import { act, type Job, job } from '../api/jobs.ts';
import { href } from '../router.ts';
import { t } from '../texts.ts';
import { Icon } from './icon.tsx';
import { notifyError } from './toasts.tsx';

interface Followed {
  readonly id: string;
  readonly title: string;
  readonly job: Job | undefined;
  /** Why it cannot be followed any more. */
  readonly lost: string | undefined;
}

const followed = signal<readonly Followed[]>([]);

/** Milliseconds between looks. */
const PAUSE = 700;
/** Jobs shown; of more the oldest that have ended go. */
const MOST = 8;

const hasEnded = ({ job: at, lost }: Followed): boolean =>
  lost !== undefined || at?.State === 'Success' || at?.State === 'Failure';

let looking: ReturnType<typeof setTimeout> | undefined;
const done = new Map<string, (job: Job) => void>();

async function look(): Promise<void> {
  for (const each of followed.value) {
    if (hasEnded(each)) continue;
    let next: Followed;
    try {
      next = { ...each, job: await job(each.id) };
    } catch (thrown) {
      if (isAborted(thrown)) continue;
      next = { ...each, lost: messageOf(thrown) };
    }
    followed.value = followed.value.map((other) => (other.id === each.id ? next : other));
    if (next.job?.State === 'Success') done.get(next.id)?.(next.job);
    if (hasEnded(next)) done.delete(next.id);
  }
  looking = followed.value.every(hasEnded) ? undefined : setTimeout(() => void look(), PAUSE);
}

/** Follows a job under a title; `onDone` is called when it succeeded. */
export function follow(id: string, title: string, onDone?: (job: Job) => void): void {
  if (onDone !== undefined) done.set(id, onDone);
  const before = followed.value.filter((each) => each.id !== id);
  const surplus = Math.max(0, before.length + 1 - MOST);
  const leaving = new Set(before.filter(hasEnded).slice(0, surplus));
  followed.value = [...before.filter((each) => !leaving.has(each)), { id, title, job: undefined, lost: undefined }];
  looking ??= setTimeout(() => void look(), PAUSE / 4);
}

function dismiss(id: string): void {
  followed.value = followed.value.filter((each) => each.id !== id);
}

/** The page of what a job made, where it says that. */
function resultOf({ Content }: Job): string | undefined {
  const { Path, TargetStudy } = Content;
  if (typeof TargetStudy === 'string') return `studies/${TargetStudy}`;
  return typeof Path === 'string' && /^\/(patients|studies|series|instances)\/[0-9a-f-]+$/.test(Path)
    ? Path
    : undefined;
}

function Row({ each }: { readonly each: Followed }) {
  const { id, title, job: at, lost } = each;
  const failed = lost ?? (at?.State === 'Failure' ? at.ErrorDetails || at.ErrorDescription : undefined);
  const result = at?.State === 'Success' ? resultOf(at) : undefined;
  const icon = failed !== undefined ? CircleAlert : at?.State === 'Success' ? CircleCheck : LoaderCircle;
  return (
    <li class={failed !== undefined ? 'failed' : at?.State === 'Success' ? 'succeeded' : ''}>
      <Icon of={icon} size={18} />
      <div class="followed-body">
        <a href={href(`jobs/${id}`)}>{title}</a>
        {failed !== undefined && <p class="small">{failed}</p>}
        {!hasEnded(each) && <progress max={100} value={at?.Progress ?? 0} aria-label={title} />}
      </div>
      {result !== undefined && (
        <a class="button quiet small" href={href(result)}>
          {t.actions.showResult}
        </a>
      )}
      {hasEnded(each) ? (
        <button type="button" class="button quiet icon-only small" onClick={() => dismiss(id)}>
          <Icon of={X} />
          <span class="sr-only">{t.errors.dismiss}</span>
        </button>
      ) : (
        <button type="button" class="button quiet small" onClick={() => void act(id, 'cancel').catch(notifyError)}>
          {t.common.cancel}
        </button>
      )}
    </li>
  );
}

/** Where the jobs are shown. */
export function FollowedJobs() {
  if (followed.value.length === 0) return null;
  return (
    <section class="tray" aria-label={t.actions.jobsBegun}>
      <ul class="followed">
        {followed.value.map((each) => (
          <Row key={each.id} each={each} />
        ))}
      </ul>
    </section>
  );
}
