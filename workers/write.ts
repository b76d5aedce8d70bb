/** The thread that holds SQLite's one write connection. One task is one transaction. */

import Piscina from 'piscina';
import { answering } from '../src/answer.ts';
import { asDatabaseError } from '../src/database/sqlite/connection.ts';
import { decodeOperations, type WriterData, type WriteTask } from '../src/database/sqlite/task.ts';
import { Writer } from '../src/database/sqlite/writer.ts';
import { beNice, NICE } from '../src/priority.ts';

beNice(NICE.commit);

let writer: Writer | undefined;

function open(): Writer {
  writer ??= new Writer(Piscina.workerData as WriterData);
  return writer;
}

function write(task: WriteTask): ReturnType<Writer['commit']> | undefined {
  switch (task.kind) {
    case 'open':
      open();
      return undefined;
    case 'commit':
      return open().commit(decodeOperations(task.operations));
    case 'checkpoint':
      open().checkpoint();
      return undefined;
    case 'close':
      writer?.close();
      writer = undefined;
      return undefined;
  }
}

export default answering((task: WriteTask) => {
  try {
    return write(task);
  } catch (thrown) {
    throw asDatabaseError(thrown);
  }
});
