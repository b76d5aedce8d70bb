/** Owns the page of the routing rules: what each says, switching it on and off, writing it, and trying all of them on a study. */

import { CopyPlus, FlaskConical, Pencil, Plus, Route, Trash2, X } from 'lucide';
import { useEffect, useState } from 'preact/hooks';
import { resource, type Resource } from '../api/resources.ts';
import { listed, removeRule, type Rule, rules, setRule } from '../api/routes.ts';
import { ask } from '../parts/dialog.tsx';
import { useFetched } from '../parts/fetched.ts';
import { Icon } from '../parts/icon.tsx';
import { Empty, Failed, Loading, Page } from '../parts/page.tsx';
import { type Column, Table } from '../parts/table.tsx';
import { notify, notifyError } from '../parts/toasts.tsx';
import { navigate, query } from '../router.ts';
import { RuleForm, syntaxName } from '../routing/rule-form.tsx';
import { phrasesOf } from '../routing/rule-words.ts';
import { RoutingTabs } from '../routing/tabs.tsx';
import { type SeriesVerdict, seriesToTry, StudyChoice, studyLine, tryOn, Verdicts } from '../routing/trial.tsx';
import { mayWrite } from '../session.ts';
import { t } from '../texts.ts';
import './administration.css';

const words = t.rules;

function When({ of }: { readonly of: Rule }) {
  const phrases = phrasesOf(of.When);
  if (phrases.length === 0) return <span class="muted">{words.always}</span>;
  return (
    <ul class="phrases">
      {phrases.map(({ what, value }) => (
        <li key={what}>
          <span class="muted">{what}</span> {value}
        </li>
      ))}
    </ul>
  );
}

function Manner({ of: { Transcode, Modify, Anonymize, Priority = 0 } }: { readonly of: Rule }) {
  return (
    <span class="row">
      {Priority !== 0 && <span class="badge">{`${words.priority} ${Priority}`}</span>}
      {Transcode !== undefined && <span class="badge">{syntaxName(Transcode)}</span>}
      {Modify !== undefined && <span class="badge">{words.modifyKinds.Modify}</span>}
      {Anonymize !== undefined && <span class="badge">{words.modifyKinds.Anonymize}</span>}
    </span>
  );
}

/** What a rule says of the study that all are tried on. */
function TrialCell({ of }: { readonly of: readonly SeriesVerdict[] | undefined }) {
  if (of === undefined) return <Loading />;
  const applying = of.filter(({ verdict }) => verdict.Matches).length;
  const [text, badge] =
    applying === 0
      ? [words.noneApply, '']
      : applying === of.length
        ? [words.allApply, 'good']
        : [words.someApply(applying, of.length), 'good'];
  return (
    <details class="trial">
      <summary>
        <span class={`badge ${badge}`}>{text}</span>
      </summary>
      <Verdicts of={of} />
    </details>
  );
}

/** What every rule says of each series of a study, by name. */
async function tryAll(
  all: readonly Rule[],
  study: Resource,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, readonly SeriesVerdict[]>> {
  const series = await seriesToTry(study.ID, signal);
  const verdicts = await Promise.all(all.map(async (rule) => [rule.Name, await tryOn(rule, series, signal)] as const));
  return new Map(verdicts);
}

/** The study that all rules are tried on: chosen here, or named by the address. */
function useStudy(): readonly [study: Resource | undefined, choose: (study: Resource | undefined) => void] {
  const [study, setStudy] = useState<Resource>();
  const named = query.value.get('study');
  useEffect(() => {
    if (named === null) setStudy(undefined);
    else if (named !== study?.ID) resource('studies', named).then(setStudy, notifyError);
  }, [named]);
  const choose = (chosen: Resource | undefined): void => {
    setStudy(chosen);
    navigate(chosen === undefined ? 'rules' : `rules?study=${chosen.ID}`, { replace: true });
  };
  return [study, choose];
}

/** The page. */
export function Rules() {
  const all = useFetched(rules, []);
  const [edited, setEdited] = useState<{ readonly rule: Rule; readonly isNew: boolean }>();
  const [study, choose] = useStudy();
  const [choosing, setChoosing] = useState(false);
  const trials = useFetched(
    async (signal) => (study === undefined || all.value === undefined ? undefined : tryAll(all.value, study, signal)),
    [study, all.value],
  );
  const writes = mayWrite.value;

  const enable = async (rule: Rule, Enabled: boolean): Promise<void> => {
    await setRule({ ...rule, Enabled });
    all.reload();
  };
  const drop = async ({ Name }: Rule): Promise<void> => {
    const isWanted = await ask({
      title: words.deleteTitle(Name),
      body: <p>{words.deleteBody}</p>,
      confirm: words.deleteConfirm,
      danger: true,
    });
    if (!isWanted) return;
    await removeRule(Name);
    notify(words.removed(Name));
    all.reload();
  };

  const columns: Column<Rule>[] = [
    {
      key: 'enabled',
      title: words.enabled,
      cell: (rule) => (
        <input
          type="checkbox"
          class="toggle"
          aria-label={words.enable(rule.Name)}
          checked={rule.Enabled ?? true}
          disabled={!writes || rule.Configured === true}
          onChange={(event) => void enable(rule, event.currentTarget.checked).catch(notifyError)}
        />
      ),
    },
    {
      key: 'name',
      title: words.name,
      order: ({ Name }) => Name,
      cell: ({ Name, Configured }) => (
        <span class="row-inline wrapping">
          <strong>{Name}</strong>
          {Configured === true && (
            <span class="badge" title={words.configuredHint}>
              {words.configured}
            </span>
          )}
        </span>
      ),
    },
    { key: 'when', title: words.when, cell: (rule) => <When of={rule} /> },
    {
      key: 'to',
      title: words.to,
      cell: ({ To }) => (
        <span class="row">
          {listed(To).map((name) => (
            <strong key={name}>{name}</strong>
          ))}
        </span>
      ),
    },
    { key: 'manner', title: '', cell: (rule) => <Manner of={rule} /> },
    ...(study === undefined
      ? []
      : [
          {
            key: 'trial',
            title: words.thisStudy,
            cell: ({ Name }: Rule) => <TrialCell of={trials.value?.get(Name)} />,
          },
        ]),
    ...(writes
      ? [
          {
            key: 'actions',
            title: '',
            cell: (rule: Rule) => (
              <div class="row end-row">
                {rule.Configured !== true && (
                  <button
                    type="button"
                    class="button small icon-only"
                    title={t.common.edit}
                    aria-label={`${t.common.edit} ${rule.Name}`}
                    onClick={() => setEdited({ rule, isNew: false })}
                  >
                    <Icon of={Pencil} size={14} />
                  </button>
                )}
                <button
                  type="button"
                  class="button small icon-only"
                  title={words.duplicate}
                  aria-label={`${words.duplicate} ${rule.Name}`}
                  onClick={() => setEdited({ rule: { ...rule, Name: words.copyName(rule.Name) }, isNew: true })}
                >
                  <Icon of={CopyPlus} size={14} />
                </button>
                {rule.Configured !== true && (
                  <button
                    type="button"
                    class="button small icon-only danger"
                    title={t.common.delete}
                    aria-label={`${t.common.delete} ${rule.Name}`}
                    onClick={() => void drop(rule).catch(notifyError)}
                  >
                    <Icon of={Trash2} size={14} />
                  </button>
                )}
              </div>
            ),
          },
        ]
      : []),
  ];
  const add = writes && (
    <button type="button" class="button primary" onClick={() => setEdited({ rule: { Name: '', To: [] }, isNew: true })}>
      <Icon of={Plus} /> {words.add}
    </button>
  );
  return (
    <Page
      title={t.queues.title}
      actions={
        <>
          <button type="button" class="button" aria-expanded={choosing} onClick={() => setChoosing(!choosing)}>
            <Icon of={FlaskConical} /> {words.tryIt}
          </button>
          {add}
        </>
      }
    >
      <RoutingTabs />
      {choosing && (
        <section class="panel panel-body stack" aria-label={words.tryIt}>
          <p class="muted">{words.tryHint}</p>
          <StudyChoice
            onChoose={(chosen) => {
              choose(chosen);
              setChoosing(false);
            }}
          />
        </section>
      )}
      {study !== undefined && (
        <div class="notice">
          <Icon of={FlaskConical} size={18} />
          <p>
            {words.triedOn} <strong>{studyLine(study)}</strong>
          </p>
          <button type="button" class="button quiet icon-only small" onClick={() => choose(undefined)}>
            <Icon of={X} />
            <span class="sr-only">{t.errors.dismiss}</span>
          </button>
        </div>
      )}
      {trials.error !== undefined && <Failed error={trials.error} retry={trials.reload} />}
      {all.error !== undefined && <Failed error={all.error} retry={all.reload} />}
      {all.value === undefined ? (
        all.error === undefined && <Loading />
      ) : (
        <div class="panel">
          <Table
            caption={words.title}
            columns={columns}
            rows={all.value}
            keyOf={({ Name }) => Name}
            empty={
              <Empty icon={Route} title={words.none}>
                <p>{words.noneHint}</p>
                {add}
              </Empty>
            }
          />
        </div>
      )}
      {edited !== undefined && (
        <RuleForm
          {...edited}
          taken={(all.value ?? []).map(({ Name }) => Name)}
          onClose={() => setEdited(undefined)}
          onDone={all.reload}
        />
      )}
    </Page>
  );
}
