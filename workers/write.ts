/** The thread that holds SQLite's one write connection. One task is one transaction, or several for associations that are lent to it. */

import Piscina from 'piscina';
import { answering } from '../src/answer.ts';
import { attendNone, AttendingThread } from '../src/database/sqlite/attendance.ts';
import { asDatabaseError } from '../src/database/sqlite/connection.ts';
import { takeIn } from '../src/database/sqlite/intake.ts';
import { decodeOperations, type WriteAnswer, type WriterData, type WriteTask } from '../src/database/sqlite/task.ts';
import { keepBesides } from '../src/dicom/levels.ts';
import { Writer } from '../src/database/sqlite/writer.ts';
import { beNice, NICE } from '../src/priority.ts';

beNice(NICE.commit);

const data = Piscina.workerData as WriterData;
keepBesides(data.kept);

let writer: Writer | undefined;
let attending: AttendingThread | undefined;

function open(): Writer {
  writer ??= new Writer(data);
  return writer;
}

function attend(task: Extract<WriteTask, { kind: 'attend' }>): WriteAnswer {
  try {
    attending ??= new AttendingThread(data.bell ?? -1);
  } catch {
    return attendNone(task);
  }
  return attending.attend(open(), task);
}

function write(task: WriteTask): WriteAnswer {
  switch (task.kind) {
    case 'open':
      open();
      return undefined;
    case 'commit':
      return open().commit(decodeOperations(task.operations));
    case 'take-in':
      return takeIn(open(), task.batch, task.arrivals);
    case 'attend':
      return attend(task);
    case 'checkpoint':
      open().checkpoint();
      return undefined;
    case 'close':
      attending?.close();
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
