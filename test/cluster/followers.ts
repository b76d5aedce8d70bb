/** Owns readers of /changes that check what they read: each number follows the last one, whatever happens to their node. */

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { isPassing, type Node, passingFault } from './nodes.ts';

interface Change {
  readonly Seq: number;
  readonly ChangeType: string;
  readonly ID: string;
}

export interface Page {
  readonly Changes: readonly Change[];
  readonly Done: boolean;
  readonly Last: number;
}

/** A reader that goes on until it is told to stop. */
export interface Follower {
  readonly name: string;
  /** The last Seq that it saw: it saw all up to there. */
  readonly last: number;
  /** Stops, and throws what it found wrong. */
  stop(): Promise<void>;
}

/** Milliseconds that a page may take. */
const DEADLINE = 30_000;

class Reading {
  last = 0;
  readonly #name: string;

  constructor(name: string) {
    this.#name = name;
  }

  take(seq: number): void {
    assert.equal(seq, this.last + 1, `${this.#name}: ${seq} came after ${this.last}`);
    this.last = seq;
  }
}

function begin(name: string, reading: Reading, round: (signal: AbortSignal) => Promise<void>): Follower {
  const stop = new AbortController();
  const { signal } = stop;
  const running = (async () => {
    while (!signal.aborted) {
      await round(signal).catch((thrown: unknown) => {
        if (signal.aborted || isPassing(thrown)) return;
        throw thrown;
      });
      await sleep(20);
    }
  })();
  // It is looked at in the end; until then it must not count as unhandled.
  running.catch(() => {});
  return {
    name,
    get last() {
      return reading.last;
    },
    async stop() {
      stop.abort();
      await running;
    },
  };
}

/** Asks for page after page. */
export function poll(node: Node, limit: number): Follower {
  const name = `polling ${node.name} by ${limit}`;
  const reading = new Reading(name);
  return begin(name, reading, async (signal) => {
    const { status, body } = await node.get(`/changes?since=${reading.last}&limit=${limit}`, {
      signal: AbortSignal.any([signal, AbortSignal.timeout(DEADLINE)]),
    });
    if (status !== 200) throw passingFault(status);
    for (const { Seq } of (body as Page).Changes) reading.take(Seq);
  });
}

/** Reads the live stream, and goes on from the last event when it ends. */
export function listen(node: Node): Follower {
  const name = `listening to ${node.name}`;
  const reading = new Reading(name);
  return begin(name, reading, async (signal) => {
    const answer = await fetch(`${node.url}/changes`, {
      headers: {
        Authorization: node.authorization,
        Accept: 'text/event-stream',
        'Last-Event-ID': String(reading.last),
      },
      signal,
    });
    if (answer.status !== 200) {
      await answer.arrayBuffer();
      throw passingFault(answer.status);
    }
    const decoder = new TextDecoder();
    let text = '';
    for await (const chunk of answer.body ?? []) {
      text += decoder.decode(chunk as Uint8Array, { stream: true });
      const lines = text.split('\n');
      text = lines.pop() ?? '';
      for (const line of lines) if (line.startsWith('id: ')) reading.take(Number(line.slice(4)));
    }
  });
}

/** The whole log as one node shows it. */
export async function readLog(node: Node): Promise<readonly Change[]> {
  const changes: Change[] = [];
  for (;;) {
    const { status, body } = await node.get(`/changes?since=${changes.at(-1)?.Seq ?? 0}&limit=1000`);
    assert.equal(status, 200, `the log of ${node.name}`);
    const page = body as Page;
    changes.push(...page.Changes);
    if (page.Done) return changes;
  }
}
