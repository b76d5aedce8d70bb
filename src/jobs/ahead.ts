/** Owns work that is done ahead of who takes its results, in order and as far as there is room. */

/**
 * The results of `work` in the order of the items. While one is taken, work on the next goes on as far as `room` lets it: it answers how
 * to give the room of an item back (once its result was taken and done with), or undefined where there is none. An item that nothing is
 * ahead of is worked on in any case.
 */
export async function* ahead<Item, Result>(
  items: AsyncIterable<Item>,
  room: (item: Item, ahead: number) => (() => void) | undefined,
  work: (item: Item) => Promise<Result>,
): AsyncGenerator<Result, void> {
  const source = items[Symbol.asyncIterator]();
  const waiting: { readonly result: Promise<Result>; readonly giveBack: () => void }[] = [];
  try {
    let next = await source.next();
    for (;;) {
      while (next.done !== true) {
        const giveBack = room(next.value, waiting.length);
        if (giveBack === undefined && waiting.length > 0) break;
        const result = work(next.value);
        // Whoever awaits it meets the error; until then it must not count as unhandled.
        result.catch(() => {});
        waiting.push({ result, giveBack: giveBack ?? (() => {}) });
        next = await source.next();
      }
      const first = waiting.shift();
      if (first === undefined) return;
      try {
        yield await first.result;
      } finally {
        first.giveBack();
      }
    }
  } finally {
    // What is under way ends by itself, and takes room until then.
    for (const { result, giveBack } of waiting) result.then(giveBack, giveBack);
    await source.return?.();
  }
}
