/** Owns trying rules on a study that is stored here: choosing the study, asking about each of its series, and showing why not. */

import { CircleCheck, CircleMinus, Search } from 'lucide';
import { useEffect, useState } from 'preact/hooks';
import { find, related, type Resource } from '../api/resources.ts';
import { type Rule, tryRule, type Verdict } from '../api/routes.ts';
import { date, personName } from '../format.ts';
import { useFetched } from '../parts/fetched.ts';
import { Icon } from '../parts/icon.tsx';
import { Failed, Loading } from '../parts/page.tsx';
import { t } from '../texts.ts';

const words = t.rules;
/** Studies offered, series asked about, milliseconds after the last key. */
const OFFERED = 8;
export const MOST_SERIES = 50;
const PAUSE = 250;

/** A study in one line. */
export function studyLine({ MainDicomTags: tags, PatientMainDicomTags: patient = {} }: Resource): string {
  const name = personName(patient['PatientName']) || patient['PatientID'] || t.studies.noName;
  return [name, date(tags['StudyDate']), tags['StudyDescription'] ?? ''].filter((part) => part !== '').join(' · ');
}

/** Studies whose patient's name, ID or own description has the words; the newest without any. */
async function look(text: string, signal: AbortSignal): Promise<readonly Resource[]> {
  const page = {
    since: 0,
    limit: OFFERED,
    order: [{ Type: 'Metadata', Key: 'LastUpdate', Direction: 'DESC' }] as const,
    tags: [],
  };
  const like = `*${text.trim().replaceAll(/[\s,^]+/g, '*')}*`;
  const questions =
    text.trim() === '' ? [{}] : ['PatientName', 'PatientID', 'StudyDescription'].map((tag) => ({ [tag]: like }));
  const found = await Promise.all(questions.map((Query) => find({ Level: 'Study', Query }, page, signal)));
  return [...new Map(found.flat().map((study) => [study.ID, study])).values()].slice(0, OFFERED);
}

/** Chooses a study: typed words, then one of what is found. */
export function StudyChoice({ onChoose }: { readonly onChoose: (study: Resource) => void }) {
  const [text, setText] = useState('');
  const [asked, setAsked] = useState('');
  const found = useFetched((signal) => look(asked, signal), [asked]);
  useEffect(() => {
    const timer = setTimeout(() => setAsked(text), PAUSE);
    return () => clearTimeout(timer);
  }, [text]);
  return (
    <div class="stack study-choice">
      <label class="filter wide">
        <span class="sr-only">{words.search}</span>
        <Icon of={Search} />
        <input
          type="search"
          placeholder={words.search}
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
        />
      </label>
      {found.error !== undefined && <Failed error={found.error} retry={found.reload} />}
      {found.value?.length === 0 && <p class="muted">{words.noStudy}</p>}
      <ul class="menu-list" aria-label={words.studies}>
        {found.value?.map((study) => (
          <li key={study.ID}>
            <button type="button" onClick={() => onChoose(study)}>
              {studyLine(study)}
            </button>
          </li>
        ))}
      </ul>
    </div>
  );
}

/** What a rule says of one series. */
export interface SeriesVerdict {
  readonly series: Resource;
  readonly verdict: Verdict;
}

/** The series of a study that are asked about. */
export async function seriesToTry(study: string, signal: AbortSignal): Promise<readonly Resource[]> {
  const all = await related('studies', study, 'series', signal);
  return all.filter(({ Instances = [] }) => Instances.length > 0);
}

/** Asks a rule about an instance of each series. Throws ApiError, also where the rule is none. */
export async function tryOn(
  rule: Rule,
  series: readonly Resource[],
  signal?: AbortSignal,
): Promise<readonly SeriesVerdict[]> {
  return Promise.all(
    series.slice(0, MOST_SERIES).map(async (each) => ({
      series: each,
      verdict: await tryRule(rule, each.Instances?.[0] ?? '', signal),
    })),
  );
}

/** What a rule says of each series. */
export function Verdicts({ of }: { readonly of: readonly SeriesVerdict[] }) {
  return (
    <ul class="verdicts">
      {of.map(({ series: { ID, MainDicomTags: tags, Instances = [] }, verdict: { Matches, Reasons, To } }) => (
        <li key={ID} class={Matches ? 'applies' : ''}>
          <Icon of={Matches ? CircleCheck : CircleMinus} size={18} />
          <div>
            <p>
              {words.seriesOf(tags['SeriesDescription'] ?? '', tags['Modality'] ?? '', Instances.length)}
              {': '}
              <strong>{Matches ? words.applies(To.join(', ')) : words.appliesNot}</strong>
            </p>
            {Reasons.map((reason) => (
              <p key={reason} class="muted small">
                {reason}
              </p>
            ))}
          </div>
        </li>
      ))}
    </ul>
  );
}

interface TrialProps {
  /** As it is typed; undefined while it is not whole. */
  readonly rule: Rule | undefined;
}

/** Tries one rule, stored or not, on a study that is chosen here. */
export function Trial({ rule }: TrialProps) {
  const [study, setStudy] = useState<Resource>();
  const text = JSON.stringify(rule);
  const series = useFetched(async (signal) => (study === undefined ? [] : seriesToTry(study.ID, signal)), [study]);
  const verdicts = useFetched(
    async (signal) => (rule === undefined || series.value === undefined ? [] : tryOn(rule, series.value, signal)),
    [text, series.value],
  );
  if (study === undefined) return <StudyChoice onChoose={setStudy} />;
  return (
    <div class="stack">
      <div class="row">
        <strong>{studyLine(study)}</strong>
        <button type="button" class="button small push" onClick={() => setStudy(undefined)}>
          {words.another}
        </button>
      </div>
      {verdicts.error !== undefined && <Failed error={verdicts.error} />}
      {verdicts.loading && verdicts.value === undefined ? (
        <Loading />
      ) : (
        verdicts.error === undefined && <Verdicts of={verdicts.value ?? []} />
      )}
      {(series.value?.length ?? 0) > MOST_SERIES && <p class="muted">{words.firstSeries(MOST_SERIES)}</p>}
    </div>
  );
}
