/** Owns a rule as it is typed, and how it becomes one that the API takes. */

import { type Change, listed, type Rule, type When } from '../api/routes.ts';
import { t } from '../texts.ts';
import { lineOf, valuesOf } from './rule-words.ts';
import type { TagRow } from './tag-rows.tsx';

/** Conditions that are typed as lists of values. */
export const LISTS = ['CallingAet', 'CalledAet', 'RemoteIp', 'HttpUser', 'Labels'] as const;
export type ListName = (typeof LISTS)[number];

/** What may be done with the copies that are sent. */
export const CHANGES = ['none', 'Anonymize', 'Modify'] as const;

/** How the copies that are sent are changed. */
export interface ChangeDraft {
  readonly kind: (typeof CHANGES)[number];
  readonly level: string;
  readonly replace: readonly TagRow[];
  readonly remove: string;
  readonly keep: string;
  /** Options that have no field. */
  readonly others: Readonly<Record<string, unknown>>;
}

/** A rule as it is typed. */
export interface RuleDraft {
  readonly name: string;
  readonly enabled: boolean;
  readonly events: readonly string[];
  readonly levels: readonly string[];
  readonly lists: Readonly<Record<ListName, string>>;
  readonly tags: readonly TagRow[];
  readonly to: readonly string[];
  readonly priority: string;
  readonly transcode: string;
  readonly change: ChangeDraft;
}

/** A value of `Replace` as it is typed: text, or the JSON of a sequence. */
const replacement = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));

function replacedBy(text: string): unknown {
  if (!/^\s*[[{]/.test(text)) return text;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

function changeDraft({ Anonymize, Modify }: Rule): ChangeDraft {
  const kind = Anonymize !== undefined ? 'Anonymize' : Modify !== undefined ? 'Modify' : 'none';
  const { Level = '', Replace = {}, Remove = [], Keep = [], ...others } = Anonymize ?? Modify ?? {};
  return {
    kind,
    level: Level,
    replace: Object.entries(Replace).map(([tag, value]) => [tag, replacement(value)] as const),
    remove: lineOf(Remove),
    keep: lineOf(Keep),
    others,
  };
}

/** The draft of a rule. */
export function draftOf(rule: Rule): RuleDraft {
  const { When: when = {} } = rule;
  return {
    name: rule.Name,
    enabled: rule.Enabled ?? true,
    events: listed(when.Event),
    levels: listed(when.Level),
    lists: Object.fromEntries(LISTS.map((each) => [each, lineOf(listed(when[each]))])) as Record<ListName, string>,
    tags: Object.entries(when.Tags ?? {}).map(([tag, value]) => [tag, listed(value).join('\\')] as const),
    to: listed(rule.To),
    priority: String(rule.Priority ?? 0),
    transcode: rule.Transcode ?? '',
    change: changeDraft(rule),
  };
}

function whenOf({ events, levels, lists, tags }: RuleDraft): When | undefined {
  const given = tags.filter(([tag]) => tag.trim() !== '');
  const when = {
    ...(events.length > 0 && { Event: events }),
    ...(levels.length > 0 && { Level: levels }),
    ...Object.fromEntries(
      LISTS.flatMap((each) => {
        const values = valuesOf(lists[each]);
        return values === undefined ? [] : [[each, values]];
      }),
    ),
    ...(given.length > 0 && { Tags: Object.fromEntries(given.map(([tag, value]) => [tag.trim(), value])) }),
  };
  return Object.keys(when).length === 0 ? undefined : when;
}

/** What the copies are changed by. */
function changeOf({ kind, level, replace, remove, keep, others }: ChangeDraft): Partial<Rule> {
  if (kind === 'none') return {};
  const given = replace.filter(([tag]) => tag.trim() !== '');
  const [removed, kept] = [valuesOf(remove), valuesOf(keep)];
  const change: Change = {
    ...others,
    ...(level !== '' && { Level: level }),
    ...(given.length > 0 && {
      Replace: Object.fromEntries(given.map(([tag, value]) => [tag.trim(), replacedBy(value)])),
    }),
    ...(removed !== undefined && { Remove: removed }),
    ...(kept !== undefined && { Keep: kept }),
  };
  return { [kind]: change };
}

/** The rule that a draft is. Throws Error that says what is missing. */
export function ruleOf(draft: RuleDraft): Rule {
  if (draft.to.length === 0) throw new Error(t.rules.toMissing);
  const priority = Number(draft.priority);
  if (!Number.isInteger(priority) || Math.abs(priority) > 1000) throw new Error(t.rules.priorityWrong);
  const when = whenOf(draft);
  return {
    Name: draft.name,
    ...(when !== undefined && { When: when }),
    To: draft.to,
    ...(priority !== 0 && { Priority: priority }),
    ...(draft.transcode !== '' && { Transcode: draft.transcode }),
    ...changeOf(draft.change),
    ...(!draft.enabled && { Enabled: false }),
  };
}
