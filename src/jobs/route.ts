/**
 * Owns routing: it follows the log of changes from a stored position and queues what the rules say, entries and position in one
 * step, so that no crash loses or doubles any. The log is the buffer: whatever the queues cannot take yet is read again later.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import type { Changes } from '../changes/changes.ts';
import type { Change, Database, FindRequest, Found } from '../database/database.ts';
import { LEVEL, LEVELS, type Level } from '../dicom/levels.ts';
import { asIsenError, IsenError } from '../errors.ts';
import type { Headers } from '../ingest/header.ts';
import type { Ingest } from '../ingest/ingest.ts';
import { log } from '../log.ts';
import { firstOf } from '../signals.ts';
import type { Modalities } from '../scu/modality.ts';
import { alone } from './lease.ts';
import { entryPriority, modalityQueue, type Order } from './order.ts';
import type { Lease, NewEntry, Queue } from './queue.ts';
import { type Facts, readRule, reasonsAgainst, type Rule } from './rules.ts';

/** The property of the index that holds the rules that were set over the REST API, by name. */
const PROPERTY = 'Routes';

/** Name of the stored position: a Seq of the log, or {@link END} while no rule is enabled. */
const POSITION = 'routing';
const END = 'end';

/** Name of the Seq that some node waits for to be looked at: the one that follows stores its position when it is there. */
const WANTED = 'routing wanted';

/** Changes looked at together. */
const PAGE = 1000;

/** Milliseconds in which changes gather: one question to the index and one commit serve them all. */
const GATHERING = 50;

/** Changes that matched nothing after which the position is stored all the same. */
const UNMATCHED = 5000;

/** Entries added together. */
const BATCH = 5000;

/** Milliseconds that somebody waits for the following to catch up. */
const PATIENCE = 10_000;

/** Milliseconds until a failed step is tried again. */
const RETRY = 1000;

export interface RouterOptions {
  /** `Routes`: rules by name, or a list of rules with their names. */
  readonly configured: Readonly<Record<string, unknown>> | readonly unknown[];
  readonly database: Pick<Database, 'find' | 'property' | 'shared'>;
  readonly changes: Changes;
  readonly queue: Queue;
  readonly modalities: Pick<Modalities, 'get'>;
  readonly headers: Pick<Headers, 'tags'>;
  readonly apply: Ingest['apply'];
}

/** What a rule would do with an instance. */
export interface RuleTest {
  readonly matches: boolean;
  /** Why it does not. */
  readonly reasons: readonly string[];
  readonly to: readonly string[];
}

export interface Router {
  /** Sorted by name. */
  list(): Promise<readonly Rule[]>;
  get(name: string): Promise<Rule | undefined>;
  /** Adds or replaces a rule, for what comes from now on. Throws ParameterOutOfRange, BadFileFormat; ForbiddenAccess for one of the configuration. */
  put(name: string, description: unknown): Promise<void>;
  /** Whether it was there. Throws ForbiddenAccess for one of the configuration. */
  remove(name: string): Promise<boolean>;
  /** Asks a rule about a stored instance, as if it had just come. Throws InexistentItem, UnknownResource. */
  test(name: string, instance: string): Promise<RuleTest>;
  /** Resolves when all that is in the log now was looked at. Throws Busy where that takes long. */
  caughtUp(): Promise<void>;
  /** Stores the position. */
  close(): Promise<void>;
}

function namedRules(configured: RouterOptions['configured']): [string, unknown][] {
  if (!Array.isArray(configured)) return Object.entries(configured);
  return (configured as readonly unknown[]).map((rule) => {
    const name = typeof rule === 'object' && rule !== null && 'Name' in rule ? rule.Name : undefined;
    if (typeof name !== 'string') throw new IsenError('ParameterOutOfRange', 'Routes: a rule without Name');
    return [name, rule];
  });
}

/** Starts following. Throws what a rule of the configuration throws that is none. */
export async function openRouter(options: RouterOptions): Promise<Router> {
  const router = new FollowingRouter(options);
  await router.open();
  return router;
}

class FollowingRouter implements Router {
  readonly #options: RouterOptions;
  readonly #configured: ReadonlyMap<string, Rule>;
  readonly #stop = new AbortController();
  /** The rules that were set, and the text they were read from. */
  #set: { readonly text: string; readonly rules: ReadonlyMap<string, Rule> } = { text: '{}', rules: new Map() };
  /** Seq up to which the log was looked at; undefined while no rule is enabled. */
  #at: number | undefined;
  /** What the stored position says. */
  #stored: string | undefined;
  /** Of the node that follows the log. */
  #lease: Lease | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  #running: Promise<void> = Promise.resolve();
  /** Wakes the following when rules changed. */
  #changed = new AbortController();

  constructor(options: RouterOptions) {
    this.#options = options;
    this.#configured = new Map(
      namedRules(options.configured).map(([name, rule]) => [name, readRule(name, rule)] as const),
    );
  }

  async open(): Promise<void> {
    for (const rule of this.#configured.values()) await this.#checkTargets(rule);
    await this.#leads();
    this.#running = this.#run();
  }

  async list(): Promise<readonly Rule[]> {
    const text = (await this.#options.database.property(PROPERTY)) ?? '{}';
    if (text !== this.#set.text) {
      const rules = Object.entries(JSON.parse(text) as Record<string, unknown>);
      this.#set = { text, rules: new Map(rules.map(([name, rule]) => [name, readRule(name, rule)] as const)) };
    }
    const all = new Map([...this.#set.rules, ...this.#configured]);
    return [...all.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async get(name: string): Promise<Rule | undefined> {
    return (await this.list()).find((rule) => rule.name === name);
  }

  async put(name: string, description: unknown): Promise<void> {
    const rule = readRule(name, description);
    await this.#checkTargets(rule);
    await this.#change(name, (rules) => rules.set(name, rule));
  }

  async remove(name: string): Promise<boolean> {
    if ((await this.get(name)) === undefined) return false;
    await this.#change(name, (rules) => rules.delete(name));
    return true;
  }

  async test(name: string, instance: string): Promise<RuleTest> {
    const rule = await this.get(name);
    if (rule === undefined) throw new IsenError('InexistentItem', `No route with name: ${name}`);
    const request = { level: 'Instance', id: instance, ancestors: true } as const;
    const [found] = await this.#options.database.find(request);
    if (found === undefined) throw new IsenError('UnknownResource');
    const labels = await this.#labels([found]);
    const [event = 'NewInstance'] = rule.events;
    const facts = this.#facts({ type: event, level: levelOf(event) }, found, labels);
    const against = await reasonsAgainst(rule, facts, true);
    const reasons = rule.enabled ? against : ['it is not enabled', ...against];
    return { matches: reasons.length === 0, reasons, to: rule.to };
  }

  async caughtUp(): Promise<void> {
    const last = await this.#options.changes.last();
    const end = Date.now() + PATIENCE;
    while (!(await this.#hasSeen(last))) {
      if (Date.now() > end) throw new IsenError('Busy', 'the routing rules are behind with the log');
      await sleep(GATHERING);
    }
  }

  /** Whether the node that follows has looked at the log up to `seq`; another one is asked to store how far it is. */
  async #hasSeen(seq: number): Promise<boolean> {
    const { queue } = this.#options;
    if (this.#isLeading()) return this.#at === undefined || this.#at >= seq;
    const position = await queue.position(POSITION);
    if (position === undefined || position === END || Number(position) >= seq) return true;
    if (Number((await queue.position(WANTED)) ?? 0) < seq) await queue.add([], { name: WANTED, value: String(seq) });
    return false;
  }

  #isLeading(): boolean {
    return this.#lease !== undefined && !this.#lease.lost.aborted;
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    await this.#turn;
    if (this.#isLeading() && this.#at !== undefined && this.#stored !== String(this.#at))
      await this.#store(String(this.#at)).catch(() => {});
    await this.#lease?.release();
  }

  async #checkTargets({ name, to }: Rule): Promise<void> {
    for (const target of to) {
      if ((await this.#options.modalities.get(target)) === undefined)
        throw new IsenError('ParameterOutOfRange', `Route ${name}: To: there is no modality ${JSON.stringify(target)}`);
    }
  }

  /** Changes the rules that were set, one change at a time over all nodes. */
  #change(name: string, change: (rules: Map<string, Rule>) => void): Promise<void> {
    const changing = async (): Promise<void> => {
      if (this.#configured.has(name))
        throw new IsenError('ForbiddenAccess', `the route ${name} is one of the configuration file`);
      const before = await this.list();
      const rules = new Map(this.#set.rules);
      change(rules);
      const after = [...new Map([...rules, ...this.#configured]).values()];
      // Before the rules are there: from this moment on they count.
      if (!before.some(({ enabled }) => enabled)) {
        this.#stored = await this.#options.queue.position(POSITION);
        await this.#turnOver(after);
      }
      const value = JSON.stringify(Object.fromEntries([...rules].map(([key, rule]) => [key, rule.description])));
      await this.#options.apply({ kind: 'property', name: PROPERTY, value });
      this.#changed.abort();
      this.#changed = new AbortController();
    };
    const done = this.#turn.then(async () => alone(this.#options.queue, 'routes', changing));
    this.#turn = done.catch(() => {});
    return done;
  }

  /** Begins to follow at the end of the log when there is a rule to follow it for, and leaves it when there is none. */
  async #turnOver(rules: readonly Rule[]): Promise<void> {
    if (!rules.some(({ enabled }) => enabled)) {
      this.#at = undefined;
      if (this.#stored !== END) await this.#store(END);
      return;
    }
    if (this.#at !== undefined) return;
    if (this.#stored === undefined || this.#stored === END) {
      const last = await this.#options.changes.last();
      await this.#store(String(last));
      this.#at = last;
    } else this.#at = Number(this.#stored);
  }

  async #store(value: string, entries: readonly NewEntry[] = []): Promise<void> {
    await this.#options.queue.add(entries, { name: POSITION, value });
    this.#stored = value;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        if (!(await this.#leads())) {
          await sleep(RETRY, undefined, { signal }).catch(() => {});
          continue;
        }
        await this.#checkStored();
        const rules = (await this.list()).filter(({ enabled }) => enabled);
        if (rules.length === 0) await this.#turnOver([]);
        else if (this.#at === undefined) {
          // Another node set the first rule.
          this.#stored = await this.#options.queue.position(POSITION);
          await this.#turnOver(rules);
        }
        if (this.#at === undefined) await this.#sleep();
        else if (!(await this.#step(rules, this.#at))) {
          await this.#storeWanted(this.#at);
          await this.#news(this.#at);
        }
      } catch (thrown) {
        const error = asIsenError(thrown);
        if (error.code !== 'Busy' && error.code !== 'DatabaseUnavailable')
          log.jobs.error({ err: error }, 'routing is behind and tries again');
        await sleep(RETRY, undefined, { signal }).catch(() => {});
      }
    }
  }

  /** An engine that lost its last second has lost the last entries with their position: these are queued again. */
  async #checkStored(): Promise<void> {
    if (!this.#options.database.shared || this.#at === undefined) return;
    const position = await this.#options.queue.position(POSITION);
    if (position === this.#stored) return;
    log.jobs.warn(
      `routing goes back from change ${this.#stored} to ${position ?? this.#stored}: the queues lost what came after`,
    );
    // All of it is lost where there is no position any more: at least nothing is left out from here on.
    if (position === undefined) this.#at = Number(this.#stored);
    else this.#at = undefined;
  }

  /** Stores the position where another node waits for it. */
  async #storeWanted(at: number): Promise<void> {
    if (!this.#options.database.shared || this.#stored === String(at)) return;
    const wanted = Number((await this.#options.queue.position(WANTED)) ?? 0);
    if (wanted > Number(this.#stored)) await this.#store(String(at));
  }

  /** Whether this is the node that follows the log for all of them: from the position that the last one stored. */
  async #leads(): Promise<boolean> {
    if (this.#isLeading()) return true;
    this.#lease = await this.#options.queue.lease('routing', 1);
    if (this.#lease === undefined) {
      this.#at = undefined;
      return false;
    }
    this.#stored = await this.#options.queue.position(POSITION);
    this.#at = undefined;
    await this.#turnOver(await this.list());
    return true;
  }

  /** Until rules changed (of another node's changes nothing is heard: for a moment only) or it is closed. */
  async #sleep(): Promise<void> {
    const { signal, end } = firstOf([this.#stop.signal, this.#changed.signal], RETRY);
    if (!signal.aborted)
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    end();
  }

  /** Until there are changes after `since`, gathered for a moment; or as {@link #sleep}. */
  async #news(since: number): Promise<void> {
    const patience = this.#options.database.shared ? RETRY : undefined;
    const { signal, end } = firstOf([this.#stop.signal, this.#changed.signal], patience);
    const changes = this.#options.changes.follow(since, signal)[Symbol.asyncIterator]();
    await changes.next();
    await changes.return?.();
    await sleep(GATHERING, undefined, { signal }).catch(() => {});
    end();
  }

  /** One page of the log; whether there was one. */
  async #step(rules: readonly Rule[], since: number): Promise<boolean> {
    const { changes } = await this.#options.changes.since({ since, limit: PAGE });
    const last = changes.at(-1);
    if (last === undefined) return false;
    const entries: NewEntry[] = [];
    const add = async (more: readonly NewEntry[]): Promise<void> => {
      entries.push(...more);
      // What was added before a crash is added again after it: the names of the entries are the same.
      while (entries.length > BATCH) await this.#options.queue.add(entries.splice(0, BATCH));
    };
    await add(await this.#arrivals(rules, changes));
    for (const change of changes) {
      const concerned = rules.filter((rule) => change.type !== 'NewInstance' && rule.events.has(change.type));
      if (concerned.length > 0) for await (const more of this.#others(concerned, change)) await add(more);
    }
    if (entries.length > 0 || last.seq - Number(this.#stored) >= UNMATCHED)
      await this.#store(String(last.seq), entries);
    // Unless all rules went meanwhile.
    if (this.#at === since) this.#at = last.seq;
    return true;
  }

  /** The entries of all new instances of a page. */
  async #arrivals(all: readonly Rule[], changes: readonly Change[]): Promise<readonly NewEntry[]> {
    const rules = all.filter(({ events }) => events.has('NewInstance'));
    const arrivals = changes.filter(({ type }) => type === 'NewInstance');
    if (rules.length === 0 || arrivals.length === 0) return [];
    const needed = rules.some(({ needs }) => needs.facts);
    const ids = [...new Set(arrivals.map(({ id }) => id))];
    const found = needed ? await this.#options.database.find({ level: 'Instance', ids, ancestors: true }) : [];
    const labels = rules.some(({ needs }) => needs.labels) ? await this.#labels(found) : new Map();
    const byId = new Map(found.map((each) => [each.id, each]));
    const entries: NewEntry[] = [];
    for (const { id, seq } of arrivals) {
      const instance = byId.get(id);
      for (const rule of rules) {
        // Deleted already: there is nothing to be asked, and nothing to be sent.
        if (rule.needs.facts && instance === undefined) continue;
        const facts = instance && this.#facts({ type: 'NewInstance', level: 'Instance' }, instance, labels);
        if (await applies(rule, facts)) entries.push(...entriesOf(rule, id, String(seq)));
      }
    }
    return entries;
  }

  /** The entries of all instances of a resource that something happened to, page by page. */
  async *#others(rules: readonly Rule[], change: Change): AsyncGenerator<readonly NewEntry[], void> {
    const { level, id } = change;
    const of: Partial<FindRequest> = level === 'Instance' ? { id } : { of: { level, id } };
    let after: Partial<FindRequest> = {};
    for (;;) {
      const found = await this.#options.database.find({
        level: 'Instance',
        ...of,
        ...after,
        ancestors: true,
        limit: PAGE,
      });
      const labels = rules.some(({ needs }) => needs.labels) ? await this.#labels(found) : new Map();
      const entries: NewEntry[] = [];
      for (const instance of found) {
        const facts = this.#facts(change, instance, labels);
        // The revision of an instance is its file: a resource that becomes stable again sends what is new in it.
        const revision = instance.attachments.find(({ contentType }) => contentType === 1)?.uuid ?? '';
        for (const rule of rules) {
          if (await applies(rule, facts)) entries.push(...entriesOf(rule, instance.id, revision, true));
        }
      }
      yield entries;
      const last = found.at(-1);
      if (last === undefined || found.length < PAGE || level === 'Instance') return;
      after = { after: last.id };
    }
  }

  #facts({ type, level }: Pick<Change, 'type' | 'level'>, found: Found, labels: ReadonlyMap<string, Labels>): Facts {
    const { attachments, metadata, tags } = found;
    return {
      event: type,
      level,
      metadata: (name) => metadata[name]?.value,
      labels: labels.get(found.id) ?? new Set(),
      tag: (tag) => {
        for (const each of [...LEVELS].reverse()) {
          const values = each === 'Instance' ? tags : found.ancestors?.[each]?.tags;
          if (LEVEL[each].mainDicomTags.includes(tag)) return values?.[tag];
        }
        const attachment = attachments.find(({ contentType }) => contentType === 1);
        if (attachment === undefined) return undefined;
        return async () => {
          const text = await this.#options.headers.tags({ attachment, metadata }, { format: 'Short', only: [tag] });
          const value = Object.values(JSON.parse(text) as Record<string, unknown>)[0];
          return typeof value === 'string' ? value : undefined;
        };
      },
    };
  }

  /** The labels of instances and of all that they belong to; one question a level. */
  async #labels(instances: readonly Found[]): Promise<ReadonlyMap<string, Labels>> {
    const ids: Record<Level, Set<string>> = {
      Patient: new Set(),
      Study: new Set(),
      Series: new Set(),
      Instance: new Set(),
    };
    for (const { ancestors } of instances) {
      for (const level of LEVELS) {
        const id = ancestors?.[level]?.id;
        if (id !== undefined) ids[level].add(id);
      }
    }
    const labels = new Map<string, readonly string[]>();
    for (const level of LEVELS) {
      if (ids[level].size === 0) continue;
      for (const found of await this.#options.database.find({ level, ids: [...ids[level]] }))
        labels.set(found.id, found.labels);
    }
    return new Map(
      instances.map((instance) => {
        const above = LEVELS.flatMap((level) => labels.get(instance.ancestors?.[level]?.id ?? '') ?? []);
        return [instance.id, new Set([...instance.labels, ...above])] as const;
      }),
    );
  }
}

type Labels = ReadonlySet<string>;

/** The level of the resources that an event is about. */
function levelOf(event: string): Level {
  return LEVELS.find((level) => event.endsWith(level)) ?? 'Instance';
}

/** Without facts the rule needs none. */
async function applies(rule: Rule, facts: Facts | undefined): Promise<boolean> {
  if (facts === undefined) return true;
  try {
    return (await reasonsAgainst(rule, facts)).length === 0;
  } catch (thrown) {
    const error = asIsenError(thrown);
    if (error.code === 'Busy' || error.code === 'DatabaseUnavailable') throw error;
    // Its file cannot be read: nothing can be sent of it either.
    log.jobs.error({ err: error }, `route ${rule.name}: an instance cannot be asked about`);
    return false;
  }
}

function entriesOf(rule: Rule, instance: string, revision: string, remembered = false): NewEntry[] {
  return rule.to.map((target) => ({
    queue: modalityQueue(target),
    id: `${rule.name} ${instance} ${revision}`,
    group: '',
    priority: entryPriority(rule.priority, false),
    due: 0,
    value: {
      instance,
      route: rule.name,
      ...(rule.transcode !== undefined && { transcode: rule.transcode }),
      ...(remembered && { remembered }),
    } satisfies Order,
  }));
}
