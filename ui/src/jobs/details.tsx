/** Owns what a job says when it is unfolded. */

import type { Job } from '../api/jobs.ts';
import { Reason } from '../destinations/reason.tsx';
import { bulk, PLACE_OF, type Resource } from '../api/resources.ts';
import { duration, personName, timestamp } from '../format.ts';
import { useFetched } from '../parts/fetched.ts';
import { href } from '../router.ts';
import { t } from '../texts.ts';
import { failedOf, madeOf, parentsOf } from './job-words.ts';

const words = t.jobs;
/** Resources that are named. */
const MOST = 10;

/** A resource by its name, or by its id where it is gone. */
function ResourceLink({ id, of }: { readonly id: string; readonly of: Resource | undefined }) {
  if (of === undefined) return <code class="small wrap">{id}</code>;
  const { Type, MainDicomTags: tags, PatientMainDicomTags: patient = tags } = of;
  const name = [
    t.changes.levels[Type],
    personName(patient['PatientName']),
    tags['StudyDescription'] ?? tags['SeriesDescription'] ?? '',
  ];
  return <a href={href(`${PLACE_OF[Type]}/${id}`)}>{name.filter((part) => part !== '').join(' · ')}</a>;
}

/** The details. */
export function JobDetails({ of: job }: { readonly of: Job }) {
  const parents = parentsOf(job);
  const made = madeOf(job);
  const known = useFetched(
    async (signal) => (parents.length === 0 ? [] : bulk(parents.slice(0, MOST), signal)),
    [parents.slice(0, MOST).join(' ')],
  );
  const failed = failedOf(job);
  const reason = job.ErrorDetails || (job.ErrorCode === 0 ? '' : job.ErrorDescription);
  return (
    <div class="stack">
      {job.State === 'Failure' && (
        <div class="notice notice-error">
          <div>
            <h3>{words.failedWhy}</h3>
            <Reason of={reason} />
          </div>
        </div>
      )}
      {job.State !== 'Failure' && job.ErrorDetails !== '' && (
        <div class="notice notice-warning">
          <Reason of={job.ErrorDetails} />
        </div>
      )}
      <dl class="facts">
        {failed > 0 && (
          <>
            <dt>{t.queues.failed}</dt>
            <dd class="bad-text">{words.failedInstances(failed)}</dd>
          </>
        )}
        {made !== undefined && (
          <>
            <dt>{words.result}</dt>
            <dd>
              <a href={href(`${made.place}/${made.id}`)}>{made.id}</a>
            </dd>
          </>
        )}
        {parents.length > 0 && (
          <>
            <dt>{words.resources}</dt>
            <dd>
              <ul>
                {parents.slice(0, MOST).map((id) => (
                  <li key={id}>
                    <ResourceLink id={id} of={known.value?.find(({ ID }) => ID === id)} />
                  </li>
                ))}
                {parents.length > MOST && <li class="muted">{words.moreResources(parents.length - MOST)}</li>}
              </ul>
            </dd>
          </>
        )}
        <dt>{words.begun}</dt>
        <dd>{timestamp(job.CreationTime)}</dd>
        {job.CompletionTime !== undefined && (
          <>
            <dt>{words.completed}</dt>
            <dd>{timestamp(job.CompletionTime)}</dd>
          </>
        )}
        <dt>{words.took}</dt>
        <dd>{duration(job.EffectiveRuntime)}</dd>
        <dt>{words.priority}</dt>
        <dd>{job.Priority}</dd>
        <dt>ID</dt>
        <dd>
          <code class="small">{job.ID}</code>
        </dd>
      </dl>
      <details class="more">
        <summary>{words.details}</summary>
        <pre class="raw">{JSON.stringify(job.Content, undefined, 2)}</pre>
      </details>
    </div>
  );
}
