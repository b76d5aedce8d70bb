/** Owns long JSON answers: arrays and objects sent piece by piece, in the pace of the client, in bounded memory. */

import { jsonText } from './answers.ts';

const encoder = new TextEncoder();
/** Bytes (roughly) that are gathered before a chunk goes out. */
const CHUNK = 64 * 1024;

/**
 * A body made of `pieces` as the client takes it: nothing is produced ahead of its reading, and `pieces` is ended when it
 * leaves. An error after the first piece can only break the connection off, and does.
 */
export function streamText(pieces: AsyncIterator<string, void>): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        let text = '';
        while (text.length < CHUNK) {
          const next = await pieces.next();
          if (next.done === true) {
            if (text !== '') controller.enqueue(encoder.encode(text));
            controller.close();
            return;
          }
          text += next.value;
        }
        controller.enqueue(encoder.encode(text));
      },
      async cancel() {
        await pieces.return?.();
      },
    },
    { highWaterMark: 0 },
  );
}

/** The same pieces, once there is a first one: what fails before it fails the request, which can still be answered with an error. */
export async function begun(pieces: AsyncIterator<string, void>): Promise<AsyncIterator<string, void>> {
  const first = await pieces.next();
  async function* all(): AsyncGenerator<string, void> {
    for (let next = first; next.done !== true; next = await pieces.next()) yield next.value;
  }
  return all();
}

const indent = (text: string): string => `   ${text.trimEnd().replaceAll('\n', '\n   ')}`;

/** A JSON array, item by item. */
export async function* arrayText(items: AsyncIterable<unknown>): AsyncGenerator<string, void> {
  let before = '[\n';
  for await (const item of items) {
    yield `${before}${indent(jsonText(item))}`;
    before = ',\n';
  }
  yield before === '[\n' ? '[]\n' : '\n]\n';
}

/** A JSON object of members whose values are JSON text already. */
export async function* objectText(members: AsyncIterable<readonly [string, string]>): AsyncGenerator<string, void> {
  let before = '{\n';
  for await (const [key, text] of members) {
    yield `${before}   ${JSON.stringify(key)} : ${text.trimEnd()}`;
    before = ',\n';
  }
  yield before === '{\n' ? '{}\n' : '\n}\n';
}

/** Maps with at most `width` under way, in order. */
export async function* mapOrdered<Item, Result>(
  items: AsyncIterable<Item>,
  width: number,
  work: (item: Item) => Promise<Result>,
): AsyncGenerator<Result, void> {
  const waiting: Promise<Result>[] = [];
  try {
    for await (const item of items) {
      const started = work(item);
      // Whoever awaits it meets the error; until then it must not count as unhandled.
      started.catch(() => {});
      waiting.push(started);
      const oldest = waiting.length >= width ? waiting.shift() : undefined;
      if (oldest !== undefined) yield await oldest;
    }
    for (const rest of waiting) yield await rest;
  } finally {
    waiting.length = 0;
  }
}
