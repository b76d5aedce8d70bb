/**
 * Owns what was dropped or chosen: files, and folders that are walked while their files are sent, so that only folders and the batch that
 * the browser just gave are in memory.
 */

/** A file with its place below what was dropped. */
export interface Found {
  readonly path: string;
  readonly file: File;
}

/** What can be gone through once. A file that cannot be read is there with its error. */
export interface Source {
  /** Counts its files, calling `counted` for each lot, without opening one. */
  count(counted: (more: number) => void, signal: AbortSignal): Promise<void>;
  files(signal: AbortSignal): AsyncGenerator<Found | { readonly path: string; readonly error: unknown }>;
}

/** Files of a form. */
export function chosenFiles(list: readonly File[]): Source {
  return {
    async count(counted) {
      counted(list.length);
    },
    async *files() {
      for (const file of list) yield { path: file.webkitRelativePath || file.name, file };
    },
  };
}

async function read(reader: FileSystemDirectoryReader): Promise<readonly FileSystemEntry[]> {
  return new Promise((resolve, reject) => {
    reader.readEntries(resolve, reject);
  });
}

async function open(entry: FileSystemFileEntry): Promise<File> {
  return new Promise((resolve, reject) => {
    entry.file(resolve, reject);
  });
}

/** Every file below, folder after folder; a folder that cannot be read is there with its error. */
async function* walk(
  entries: readonly FileSystemEntry[],
  signal: AbortSignal,
): AsyncGenerator<FileSystemFileEntry | { readonly fullPath: string; readonly error: unknown }> {
  const folders: FileSystemDirectoryEntry[] = [];
  const split = function* (batch: readonly FileSystemEntry[]) {
    for (const entry of batch) {
      if (entry.isFile) yield entry as FileSystemFileEntry;
      else folders.push(entry as FileSystemDirectoryEntry);
    }
  };
  yield* split(entries);
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    const reader = folder.createReader();
    try {
      for (let batch = await read(reader); batch.length > 0; batch = await read(reader)) {
        if (signal.aborted) return;
        yield* split(batch);
      }
    } catch (error) {
      yield { fullPath: folder.fullPath, error };
    }
  }
}

/** What a drop brings. To be called in the event itself: it is empty afterwards. */
export function dropped(transfer: DataTransfer): Source {
  const entries = [...transfer.items]
    .filter((item) => item.kind === 'file')
    .map((item) => item.webkitGetAsEntry())
    .filter((entry) => entry !== null);
  return {
    async count(counted, signal) {
      for await (const entry of walk(entries, signal)) if (!('error' in entry)) counted(1);
    },
    async *files(signal) {
      for await (const entry of walk(entries, signal)) {
        const path = entry.fullPath.replace(/^\//, '');
        if ('error' in entry) yield { path, error: entry.error };
        else {
          try {
            yield { path, file: await open(entry) };
          } catch (error) {
            yield { path, error };
          }
        }
      }
    },
  };
}
