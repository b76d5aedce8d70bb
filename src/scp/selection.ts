/** Owns what the identifier of a C-MOVE or C-GET names (PS3.4 §C.4.2.1.4): the instances, page by page. */

import type { Constraint, Database, Found } from '../database/database.ts';
import { type Identifier, textIn } from '../dicom/identifier.ts';
import { LEVEL, LEVELS, type Level } from '../dicom/levels.ts';
import { IsenError } from '../errors.ts';
import type { FeedSource } from '../jobs/feed.ts';
import { ContextSet } from '../scu/contexts.ts';
import { levelOf } from './search.ts';

/** Instances that one statement reads. */
const PAGE = 500;

/** What sending a selection needs of the server. */
export interface SelectionRoom extends Pick<FeedSource, 'storage' | 'transcoder'> {
  readonly database: Pick<Database, 'find'>;
}

/** The instances of a retrieval, as they are while they are read. */
export class Selection {
  readonly #database: Pick<Database, 'find'>;
  readonly #where: readonly Constraint[];

  /** Throws BadRequest for an identifier without a level, or without the unique key of its level. */
  constructor(database: Pick<Database, 'find'>, identifier: Identifier) {
    const level = levelOf(identifier);
    if (level === undefined)
      throw new IsenError('BadRequest', 'Query/Retrieve Level (0008,0052) is not one of the four');
    this.#database = database;
    this.#where = uniqueConstraints(level, identifier);
  }

  async *instances(): AsyncGenerator<Found, void> {
    for await (const page of this.pages()) yield* page;
  }

  async *pages(): AsyncGenerator<readonly Found[], void> {
    for (let after: string | undefined; ; ) {
      const page: readonly Found[] = await this.#database.find({
        level: 'Instance',
        where: this.#where,
        limit: PAGE,
        ...(after !== undefined && { after }),
      });
      yield page;
      after = page.at(-1)?.id;
      if (page.length < PAGE) return;
    }
  }

  /** How many there are, and what they need of associations: as many sets of contexts as it takes. */
  async survey(targets: readonly string[]): Promise<{ readonly count: number; readonly sets: readonly ContextSet[] }> {
    const sets: ContextSet[] = [];
    let count = 0;
    for await (const { metadata } of this.instances()) {
      count += 1;
      const kind = {
        sopClassUid: metadata['SopClassUid']?.value ?? '',
        transferSyntax: metadata['TransferSyntax']?.value ?? '',
      };
      if (kind.sopClassUid === '' || sets.some((set) => set.add(kind))) continue;
      const set = new ContextSet(targets);
      set.add(kind);
      sets.push(set);
    }
    return { count, sets };
  }
}

/** Conditions on the unique keys of the level and of those above it; each may list several. */
function uniqueConstraints(level: Level, identifier: Identifier): readonly Constraint[] {
  return LEVELS.slice(0, LEVELS.indexOf(level) + 1).flatMap((each): Constraint[] => {
    const tag = LEVEL[each].key;
    const value = textIn(identifier, tag)?.trim() ?? '';
    if (value === '') {
      if (each === level) throw new IsenError('BadRequest', `the unique key (${tag}) of the level is missing`);
      return [];
    }
    return [{ tag, caseSensitive: each === 'Patient', match: 'list', values: value.split('\\') }];
  });
}
