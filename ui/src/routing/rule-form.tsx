/** Owns the dialog in which a routing rule is written. */

import { useState } from 'preact/hooks';
import { ActionForm } from '../actions/form.tsx';
import { destinations } from '../api/actions.ts';
import { allLabels } from '../api/resources.ts';
import { type Rule, setRule } from '../api/routes.ts';
import { useFetched } from '../parts/fetched.ts';
import { FieldGroup } from '../parts/fields.tsx';
import { notify } from '../parts/toasts.tsx';
import { href } from '../router.ts';
import { t } from '../texts.ts';
import { CHANGES, type ChangeDraft, draftOf, LISTS, type RuleDraft, ruleOf } from './rule-draft.ts';
import { TagRows } from './tag-rows.tsx';
import { Trial } from './trial.tsx';

const words = t.rules;

/** Events after which there is something whole to send. */
const EVENTS = Object.keys(t.changes.words).filter(
  (event) => !['NewPatient', 'NewSeries', 'NewStudy', 'Deleted'].includes(event),
);
const LEVELS = ['Instance', 'Series', 'Study', 'Patient'] as const;

/** Transfer syntaxes that are worth sending in. */
const SYNTAXES: readonly (readonly [uid: string, name: string])[] = [
  ['1.2.840.10008.1.2', 'Implicit VR Little Endian'],
  ['1.2.840.10008.1.2.1', 'Explicit VR Little Endian'],
  ['1.2.840.10008.1.2.1.99', 'Deflated Explicit VR Little Endian'],
  ['1.2.840.10008.1.2.5', 'RLE Lossless'],
  ['1.2.840.10008.1.2.4.70', 'JPEG Lossless'],
  ['1.2.840.10008.1.2.4.80', 'JPEG-LS Lossless'],
  ['1.2.840.10008.1.2.4.90', 'JPEG 2000 Lossless'],
  ['1.2.840.10008.1.2.4.201', 'HTJ2K Lossless'],
  ['1.2.840.10008.1.2.4.50', 'JPEG Baseline (lossy)'],
  ['1.2.840.10008.1.2.4.81', 'JPEG-LS (lossy)'],
  ['1.2.840.10008.1.2.4.91', 'JPEG 2000 (lossy)'],
];

/** The name of a transfer syntax, or its UID. */
export const syntaxName = (uid: string): string => SYNTAXES.find(([each]) => each === uid)?.[1] ?? uid;

interface PartProps {
  readonly draft: RuleDraft;
  readonly set: (change: Partial<RuleDraft>) => void;
}

/** Boxes to tick, with what is ticked and not offered besides. */
function Ticks({
  of,
  ticked,
  name,
  onTicked,
}: {
  readonly of: readonly string[];
  readonly ticked: readonly string[];
  readonly name: (value: string) => string;
  readonly onTicked: (values: readonly string[]) => void;
}) {
  return (
    <div class="two tight">
      {[...new Set([...of, ...ticked])].map((value) => (
        <label key={value} class="check" title={value}>
          <input
            type="checkbox"
            checked={ticked.includes(value)}
            onChange={(event) =>
              onTicked(event.currentTarget.checked ? [...ticked, value] : ticked.filter((each) => each !== value))
            }
          />
          {name(value)}
        </label>
      ))}
    </div>
  );
}

function Conditions({ draft, set }: PartProps) {
  const labels = useFetched(allLabels, []);
  const titles = {
    CallingAet: words.callingAet,
    CalledAet: words.calledAet,
    RemoteIp: words.remoteIp,
    HttpUser: words.httpUser,
    Labels: words.labels,
  } as const;
  const examples = {
    CallingAet: 'CT1, MR*',
    CalledAet: 'ISEN',
    RemoteIp: '10.1.0.0/16',
    HttpUser: 'anna',
    Labels: 'keep',
  };
  const shown = [...new Set([...EVENTS.filter((each) => /^(New|Stable)/.test(each)), ...draft.events])];
  return (
    <>
      <FieldGroup title={words.tags}>
        <TagRows
          rows={draft.tags}
          onRows={(tags) => set({ tags })}
          offered={['SOPClassUID', 'TransferSyntaxUID', 'ModalitiesInStudy', 'BodyPartExamined', 'StationName']}
        />
        <small class="muted">{words.tagHint}</small>
      </FieldGroup>
      <div class="two">
        {LISTS.map((each) => (
          <label key={each} class="field">
            <span>{titles[each]}</span>
            <input
              type="text"
              name={each}
              autocomplete="off"
              spellcheck={false}
              placeholder={examples[each]}
              value={draft.lists[each]}
              list={each === 'Labels' ? 'labels-in-use' : undefined}
              onInput={(event) => set({ lists: { ...draft.lists, [each]: event.currentTarget.value } })}
            />
          </label>
        ))}
        <datalist id="labels-in-use">
          {labels.value?.map((label) => (
            <option key={label} value={label} />
          ))}
        </datalist>
      </div>
      <small class="muted">{words.listHint}</small>
      <FieldGroup title={words.event}>
        <small class="muted">{words.eventHint}</small>
        <Ticks
          of={shown}
          ticked={draft.events.length === 0 ? ['NewInstance'] : draft.events}
          name={(event) => t.changes.words[event] ?? event}
          onTicked={(events) => set({ events: events.length === 1 && events[0] === 'NewInstance' ? [] : events })}
        />
        <details class="more">
          <summary>{t.destinations.more}</summary>
          <div class="stack">
            <Ticks
              of={EVENTS.filter((each) => !shown.includes(each))}
              ticked={[]}
              name={(event) => t.changes.words[event] ?? event}
              onTicked={([event]) =>
                set({ events: [...(draft.events.length === 0 ? ['NewInstance'] : draft.events), event ?? ''] })
              }
            />
            <FieldGroup title={words.level}>
              <Ticks
                of={LEVELS}
                ticked={draft.levels}
                name={(level) => t.changes.levels[level as (typeof LEVELS)[number]]}
                onTicked={(levels) => set({ levels })}
              />
            </FieldGroup>
          </div>
        </details>
      </FieldGroup>
    </>
  );
}

function ChangeFields({ draft, set }: PartProps) {
  const { change } = draft;
  const alter = (part: Partial<ChangeDraft>): void => set({ change: { ...change, ...part } });
  return (
    <>
      {change.kind !== 'none' && (
        <div class="stack inset">
          <small class="muted">{words.modifyHint}</small>
          <label class="field">
            <span>{words.modifyLevel}</span>
            <select value={change.level} onChange={(event) => alter({ level: event.currentTarget.value })}>
              {Object.entries(words.modifyLevels).map(([level, name]) => (
                <option key={level} value={level}>
                  {name}
                </option>
              ))}
            </select>
          </label>
          <FieldGroup title={words.replace}>
            <TagRows rows={change.replace} onRows={(replace) => alter({ replace })} />
          </FieldGroup>
          <div class="two">
            {(['remove', 'keep'] as const).map((each) => (
              <label key={each} class="field">
                <span>{words[each]}</span>
                <input
                  name={each}
                  autocomplete="off"
                  spellcheck={false}
                  value={change[each]}
                  onInput={(event) => alter({ [each]: event.currentTarget.value })}
                />
                <small class="muted">{words.tagsHint}</small>
              </label>
            ))}
          </div>
        </div>
      )}
    </>
  );
}

function Sending({ draft, set }: PartProps) {
  const known = useFetched(destinations, []);
  const offered = [...(known.value?.modalities ?? []), ...(known.value?.peers ?? [])];
  const { transcode, priority, change } = draft;
  return (
    <>
      <FieldGroup title={words.to}>
        {known.value !== undefined && offered.length === 0 && draft.to.length === 0 && (
          <p>
            {words.toNone} <a href={href('modalities')}>{t.actions.addDestination}</a>
          </p>
        )}
        <Ticks
          of={offered}
          ticked={draft.to}
          name={(name) => (known.value === undefined || offered.includes(name) ? name : `${name} (${words.toUnknown})`)}
          onTicked={(to) => set({ to })}
        />
      </FieldGroup>
      <div class="two">
        <label class="field">
          <span>{words.priority}</span>
          <input
            type="number"
            name="priority"
            min={-1000}
            max={1000}
            step={1}
            value={priority}
            onInput={(event) => set({ priority: event.currentTarget.value })}
          />
          <small class="muted">{words.priorityHint}</small>
        </label>
        <label class="field">
          <span>{words.transcode}</span>
          <select
            name="transcode"
            value={transcode}
            onChange={(event) => set({ transcode: event.currentTarget.value })}
          >
            <option value="">{words.asStored}</option>
            {SYNTAXES.map(([uid, name]) => (
              <option key={uid} value={uid}>
                {name}
              </option>
            ))}
            {transcode !== '' && syntaxName(transcode) === transcode && (
              <option value={transcode}>{words.otherSyntax(transcode)}</option>
            )}
          </select>
        </label>
        <label class="field">
          <span>{words.modify}</span>
          <select
            name="change"
            value={change.kind}
            onChange={(event) => {
              const kind = CHANGES.find((each) => each === event.currentTarget.value) ?? 'none';
              set({ change: { ...change, kind } });
            }}
          >
            {CHANGES.map((kind) => (
              <option key={kind} value={kind}>
                {words.modifyKinds[kind]}
              </option>
            ))}
          </select>
        </label>
      </div>
      <ChangeFields draft={draft} set={set} />
    </>
  );
}

interface FormProps {
  /** The rule to begin with. */
  readonly rule: Rule;
  /** Whether it is not stored yet. */
  readonly isNew: boolean;
  readonly taken: readonly string[];
  readonly onClose: () => void;
  readonly onDone: () => void;
}

/** The rule of a draft, or undefined while it is not whole. */
function whole(draft: RuleDraft): Rule | undefined {
  try {
    return { ...ruleOf(draft), Name: draft.name || 'new' };
  } catch {
    return undefined;
  }
}

/** The dialog. */
export function RuleForm({ rule, isNew, taken, onClose, onDone }: FormProps) {
  const [draft, setDraft] = useState(() => draftOf(rule));
  const set = (change: Partial<RuleDraft>): void => setDraft((before) => ({ ...before, ...change }));
  const tried = whole({ ...draft, enabled: true });
  return (
    <ActionForm
      wide
      title={isNew ? words.addTitle : words.editTitle(rule.Name)}
      confirm={t.common.save}
      onClose={onClose}
      run={async () => {
        const { name } = draft;
        if (isNew && taken.includes(name)) throw new Error(t.destinations.nameTaken(words.one));
        await setRule(ruleOf(draft));
        notify(words.saved(name));
        onDone();
      }}
    >
      {isNew && (
        <label class="field">
          <span>{words.name}</span>
          <input
            name="name"
            required
            autoFocus
            autocomplete="off"
            maxLength={64}
            pattern="[A-Za-z0-9_\-]+"
            value={draft.name}
            onInput={(event) => set({ name: event.currentTarget.value })}
          />
          <small class="muted">{t.destinations.nameHint}</small>
        </label>
      )}
      <label class="check">
        <input
          type="checkbox"
          checked={draft.enabled}
          onChange={(event) => set({ enabled: event.currentTarget.checked })}
        />
        {words.enabled}
      </label>
      <h3>{words.when}</h3>
      <Conditions draft={draft} set={set} />
      <h3>{words.sending}</h3>
      <Sending draft={draft} set={set} />
      <details class="more">
        <summary>{words.tryThis}</summary>
        {tried === undefined ? <p class="muted">{words.toMissing}</p> : <Trial rule={tried} />}
      </details>
    </ActionForm>
  );
}
