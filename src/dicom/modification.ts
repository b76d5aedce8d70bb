/** Owns what the bodies of `/modify` and `/anonymize` ask for: their fields, and the safety checks of each level. */

import { IsenError } from '../errors.ts';
import { tagName } from './dictionary.ts';
import { checkValue, type JsonValue } from './json-value.ts';
import { LEVEL, LEVELS, type Level } from './levels.ts';
import type { Modification, Rule } from './modify.ts';
import { parsePath } from './path.ts';
import { PROFILE_VERSIONS, PROFILES, type ProfileVersion } from './profiles.ts';
import { EXPLICIT_LITTLE_ENDIAN, transferSyntax } from './transfer-syntaxes.ts';
import type { MappedLevel } from './uid-map.ts';

/** The body of a request, or a part of it: JSON. */
export type Body = Readonly<Record<string, unknown>>;

/** What one request asks of every instance. */
export interface Request extends Modification {
  /** UID of the transfer syntax of the results; absent where they keep their own. */
  readonly transcode?: string;
  /** Of lossy compression, 1 to 100. */
  readonly quality?: number;
  readonly keepSource: boolean;
  readonly keepLabels: boolean;
  /** Whether the identifiers themselves are chosen or kept, so that results may be instances that are there already. */
  readonly force: boolean;
}

/** The tags that place an instance among the others. */
const IDENTIFIERS: ReadonlyMap<string, Level> = new Map(LEVELS.map((level) => [LEVEL[level].key, level]));

function booleanOf(body: Body, name: string, initial: boolean): boolean {
  const value = body[name];
  if (value === undefined) return initial;
  if (typeof value !== 'boolean') throw new IsenError('BadFileFormat', `Member "${name}" should be a Boolean value`);
  return value;
}

function stringOf(body: Body, name: string): string | undefined {
  const value = body[name];
  if (value === undefined || typeof value === 'string') return value;
  throw new IsenError('BadFileFormat', `String value expected in field: ${name}`);
}

/** Whether the sources stay. Throws BadFileFormat, in the reference's words: a slip must not delete them. */
export function keepsSource(body: Body, initial: boolean): boolean {
  const value = body['KeepSource'];
  if (value === undefined) return initial;
  if (typeof value !== 'boolean') throw new IsenError('BadFileFormat', 'Boolean value expected in field: KeepSource');
  return value;
}

/** The paths of a list. Throws BadRequest for what is none. */
function pathsOf(body: Body, name: string): readonly string[] {
  const value = body[name] ?? [];
  if (!Array.isArray(value) || !value.every((each): each is string => typeof each === 'string'))
    throw new IsenError('BadRequest');
  return value;
}

function rulesOf(body: Body, force: boolean): Rule[] {
  const check = (rule: Rule, done: string): Rule => {
    if (!force && rule.path.steps.length === 0 && IDENTIFIERS.has(rule.path.tag)) {
      const name = tagName(rule.path.tag);
      throw new IsenError(
        'BadRequest',
        `Marking tag "${name}" as to be ${done} requires the "Force" option to be set to true`,
      );
    }
    return rule;
  };
  const replace = body['Replace'] ?? {};
  if (typeof replace !== 'object' || replace === null || Array.isArray(replace)) throw new IsenError('BadRequest');
  const rules = [
    ...pathsOf(body, 'Remove').map((path) => check({ path: parsePath(path), action: 'remove' }, 'removed')),
    ...Object.entries(replace).flatMap(([name, value]): Rule[] => {
      const path = parsePath(name);
      checkValue(path.tag, value);
      // File Meta Information is the writer's.
      if (path.steps.length === 0 && path.tag < '0008,0000') return [];
      return [check({ path, action: { replace: value } }, 'replaced')];
    }),
    ...pathsOf(body, 'Keep').map((path) => check({ path: parsePath(path), action: 'keep' }, 'kept')),
  ];
  for (const tag of IDENTIFIERS.keys()) {
    if (rules.findLast(({ path }) => path.steps.length === 0 && path.tag === tag)?.action === 'remove')
      throw new IsenError('BadRequest', `An instance cannot be without ${tagName(tag)}`);
  }
  return rules;
}

function common(body: Body): Omit<Request, keyof Modification | 'keepSource'> {
  const transcode = stringOf(body, 'Transcode');
  if (transcode !== undefined && transferSyntax(transcode) === undefined)
    throw new IsenError('ParameterOutOfRange', `Unknown transfer syntax: ${transcode.slice(0, 64)}`);
  const quality = body['LossyQuality'];
  if (quality !== undefined && !(Number.isInteger(quality) && Number(quality) >= 1 && Number(quality) <= 100))
    throw new IsenError('BadFileFormat', 'Field "LossyQuality" must be an integer from 1 to 100');
  return {
    ...(transcode !== undefined && { transcode: transcode || EXPLICIT_LITTLE_ENDIAN }),
    ...(quality !== undefined && { quality: Number(quality) }),
    keepLabels: booleanOf(body, 'KeepLabels', false),
    force: booleanOf(body, 'Force', false),
  };
}

function creatorOf(body: Body): { privateCreator?: string } {
  const privateCreator = stringOf(body, 'PrivateCreator');
  return privateCreator === undefined ? {} : { privateCreator };
}

/**
 * Reads the body of `/modify` at a level.
 * @throws {IsenError} BadFileFormat, BadRequest, BadParameterType, ParameterOutOfRange, UnknownDicomTag as the reference does.
 */
export function parseModification(body: Body, level: Level): Request {
  const removePrivateTags = booleanOf(body, 'RemovePrivateTags', false);
  const keepSource = keepsSource(body, true);
  const all = common(body);
  const rules = rulesOf(body, all.force);
  const named = rules.some(
    ({ path, action }) => path.steps.length === 0 && path.tag === LEVEL.Patient.key && action !== 'remove',
  );
  if (level === 'Patient' && !named)
    throw new IsenError('BadRequest', 'When modifying a patient, her PatientID is required to be modified');
  return { ...all, ...creatorOf(body), removePrivateTags, keepSource, rules };
}

/** DICOM code of the Basic Application Confidentiality Profile (PS3.16 CID 7050). */
const METHOD_CODE: JsonValue = [
  {
    CodeValue: '113100',
    CodingSchemeDesignator: 'DCM',
    CodeMeaning: 'Basic Application Confidentiality Profile',
  },
];

const NO_STEPS = { steps: [] };

/**
 * Reads the body of `/anonymize`. `patientName` is the one that patients get where the body says none.
 * @throws {IsenError} as {@link parseModification}; ParameterOutOfRange for an edition that is not known.
 */
export function parseAnonymization(body: Body, patientName: string): Request {
  const version = body['DicomVersion'] ?? PROFILE_VERSIONS.at(-1);
  if (typeof version !== 'string') throw new IsenError('BadFileFormat');
  if (!isVersion(version)) {
    const which = `Unknown specific version of the DICOM standard: ${version.slice(0, 64)}`;
    throw new IsenError('ParameterOutOfRange', which);
  }
  const removePrivateTags = !booleanOf(body, 'KeepPrivateTags', false);
  const keepSource = keepsSource(body, true);
  const all = common(body);
  const asked = rulesOf(body, all.force);
  const method = version === '2008' ? '' : ' Basic Profile';
  // Whoever reads the code relies on the whole profile.
  const isWhole = asked.length === 0 && removePrivateTags;
  const own: [string, JsonValue][] = [
    ['0010,0010', patientName],
    ['0012,0062', 'YES'],
    ['0012,0063', `Isen - PS 3.15-${version} Table E.1-1${method}${isWhole ? '' : ', customized'}`],
    ...(isWhole ? [['0012,0064', METHOD_CODE] as [string, JsonValue]] : []),
  ];
  const rules = [...own.map(([tag, replace]): Rule => ({ path: { ...NO_STEPS, tag }, action: { replace } })), ...asked];
  return { ...all, ...creatorOf(body), removePrivateTags, keepSource, rules, profile: PROFILES[version] };
}

const isVersion = (text: string): text is ProfileVersion => PROFILE_VERSIONS.some((version) => version === text);

/** What becomes of the UIDs of each level below patients when instances are changed at `level`. */
export function levelsMapped(
  request: Request,
  level: Level,
): { readonly level: Exclude<Level, 'Patient'>; readonly becomes: MappedLevel['becomes'] }[] {
  const from = request.profile === undefined ? LEVELS.indexOf(level) : 0;
  return (['Study', 'Series', 'Instance'] as const).map((each) => {
    const rule = request.rules.findLast(
      ({ path, action }) => path.steps.length === 0 && path.tag === LEVEL[each].key && action !== 'remove',
    );
    if (rule === undefined) return { level: each, becomes: LEVELS.indexOf(each) >= from ? 'new' : 'same' };
    const { action } = rule;
    return {
      level: each,
      becomes: typeof action === 'object' && typeof action.replace === 'string' ? { uid: action.replace } : 'same',
    };
  });
}
