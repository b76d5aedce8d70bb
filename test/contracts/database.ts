/** Owns the contract of the `database` port: the same suite for every backend. */

import { test } from 'node:test';
import type { Database, DatabaseLimits } from '../../src/database/database.ts';
import { addingContract } from './adding.ts';
import { deletingContract } from './deleting.ts';
import { findingContract } from './finding.ts';
import { type Check, population } from './population.ts';
import { searchingContract } from './searching.ts';
import { storingContract } from './storing.ts';
import { workingContract } from './working.ts';

export const UNLIMITED: DatabaseLimits = {
  maximumStorageSize: 0,
  maximumPatientCount: 0,
  mode: 'Recycle',
  stableAge: 60_000,
};

/** Opens a backend on the data set `name`; the same name again is the same data. */
export type OpenDatabase = (name: string, limits: DatabaseLimits) => Promise<Database>;

/** Tests of a backend, by name. */
export function databaseContract(backend: string, open: OpenDatabase): void {
  let count = 0;
  const check: Check = (name, body, limits = {}, operations = population) => {
    test(`${backend}: ${name}`, async (context) => {
      const key = `contract${count++}`;
      let database = await open(key, { ...UNLIMITED, ...limits });
      const reopen = async (): Promise<Database> => {
        await database.close();
        database = await open(key, { ...UNLIMITED, ...limits });
        return database;
      };
      try {
        if (operations.length > 0) await database.commit(operations);
        await body(database, reopen, context);
      } finally {
        await database.close();
      }
    });
  };
  storingContract(check);
  findingContract(check);
  searchingContract(check);
  deletingContract(check);
  addingContract(check);
  workingContract(check);
}
