/** Owns what a retrieval from a modality names: the unique keys of each resource, and the model that they are asked in (PS3.4 §C.4.2.1). */

import { type Identifier, type Key, textIn } from '../dicom/identifier.ts';
import { LEVEL, LEVELS, type Level } from '../dicom/levels.ts';
import { MODELS } from '../dicom/models.ts';
import { IsenError } from '../errors.ts';

const QUERY_RETRIEVE_LEVEL = '0008,0052';

/** Query/Retrieve Level (0008,0052) of a level. */
export function levelKey(level: Level): Key {
  return { tag: QUERY_RETRIEVE_LEVEL, vr: 'CS', value: level === 'Instance' ? 'IMAGE' : level.toUpperCase() };
}

/** The model in which a level is asked: patients are not in Study Root. */
export const modelOf = (level: Level): (typeof MODELS)[keyof typeof MODELS] =>
  level === 'Patient' ? MODELS.Patient : MODELS.Study;

/** The level that a name of the REST API means (`Study`, `study`, `Studies`; `Image` is an instance). Throws ParameterOutOfRange. */
export function levelNamed(name: string): Level {
  const wanted = name.toLowerCase();
  const level = LEVELS.find((each) => wanted === each.toLowerCase() || wanted === LEVEL[each].path);
  if (level !== undefined) return level;
  if (wanted === 'image' || wanted === 'images') return 'Instance';
  throw new IsenError('ParameterOutOfRange');
}

/** The identifier of a retrieval: the unique keys of the level and, in Study Root, of those above it. Throws BadRequest where one misses. */
export function retrieveKeys(level: Level, found: Identifier): Identifier {
  const above = level === 'Patient' ? ['Patient' as const] : LEVELS.slice(1, LEVELS.indexOf(level) + 1);
  const keys = above.map((each): Key => {
    const tag = LEVEL[each].key;
    const value = textIn(found, tag) ?? '';
    if (value === '') throw new IsenError('BadRequest');
    return { tag, vr: each === 'Patient' ? 'LO' : 'UI', value };
  });
  return [levelKey(level), ...keys].sort((a, b) => (a.tag < b.tag ? -1 : 1));
}

/** What a job says that it retrieves: all four identifying attributes of a level that the resource has. */
export function shownKeys(level: Level, found: Identifier): Identifier {
  const tags = [
    '0010,0020',
    ...(level === 'Patient' ? [] : ['0008,0050']),
    ...LEVELS.slice(1, LEVELS.indexOf(level) + 1).map((each) => LEVEL[each].key),
  ];
  const keys = found.filter(({ tag }) => tags.includes(tag));
  return [levelKey(level), ...keys].sort((a, b) => (a.tag < b.tag ? -1 : 1));
}
