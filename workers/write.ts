/** The thread that holds SQLite's one write connection. One task is one transaction. */

import Piscina from 'piscina';
import { asDatabaseError } from '../src/database/sqlite/connection.ts';
import { decodeOperations, type WriteAnswer, type WriterData, type WriteTask } from '../src/database/sqlite/task.ts';
import { Writer } from '../src/database/sqlite/writer.ts';

let writer: Writer | undefined;

function open(): Writer {
  const { path, limits } = Piscina.workerData as WriterData;
  writer ??= new Writer(path, limits);
  return writer;
}

export default function write(task: WriteTask): WriteAnswer {
  try {
    switch (task.kind) {
      case 'open':
        open();
        return { kind: 'done' };
      case 'commit':
        return { kind: 'committed', committed: open().commit(decodeOperations(task.operations)) };
      case 'checkpoint':
        open().checkpoint();
        return { kind: 'done' };
      case 'close':
        writer?.close();
        writer = undefined;
        return { kind: 'done' };
    }
  } catch (thrown) {
    const { code, details } = asDatabaseError(thrown);
    return { kind: 'failed', error: { code, details } };
  }
}
