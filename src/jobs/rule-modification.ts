/** Owns how a rule says what is changed in what it sends: as the bodies of `/modify` and `/anonymize` do. */

import { z } from 'zod';
import { tagName } from '../dicom/dictionary.ts';
import { LEVELS } from '../dicom/levels.ts';
import { IsenError } from '../errors.ts';
import { type Asked, requestOf } from '../imaging/modify.ts';

/** A name that is none would let images leave as they are. */
export const ModificationSchema = z.strictObject({
  /** At which level it is done: what is below gets new UIDs. */
  Level: z.enum(LEVELS).optional(),
  Replace: z.record(z.string(), z.unknown()).optional(),
  Remove: z.array(z.string()).optional(),
  Keep: z.array(z.string()).optional(),
  RemovePrivateTags: z.boolean().optional(),
  KeepPrivateTags: z.boolean().optional(),
  PrivateCreator: z.string().optional(),
  DicomVersion: z.string().optional(),
  Force: z.boolean().optional(),
});

/** Characters of a modification as JSON: every entry of a queue carries it. */
const LONGEST = 65_536;

/** What may not be the same in all instances, or is agreed upon before they are changed. */
const UNCHANGEABLE: ReadonlySet<string> = new Set(['0008,0016', '0008,0018']);

/** What is asked of every instance. Throws ParameterOutOfRange, and what reading it throws. */
export function modificationOf(what: 'Modify' | 'Anonymize', given: z.output<typeof ModificationSchema>): Asked {
  const { Level: level = 'Instance', ...body } = given;
  if (JSON.stringify(body).length > LONGEST) throw new IsenError('ParameterOutOfRange', 'it is too long');
  const asked: Asked = { body, level, ...(what === 'Anonymize' && { patientName: '' }) };
  for (const { path, action } of requestOf(asked).rules) {
    if (path.steps.length === 0 && UNCHANGEABLE.has(path.tag) && action !== 'keep')
      throw new IsenError('ParameterOutOfRange', `${tagName(path.tag)} cannot be chosen`);
  }
  return asked;
}
