/** Owns routing: it follows the log of changes and queues what the rules say, for modalities and peers. */

import { randomUUID } from 'node:crypto';
import type { Changes } from '../changes/changes.ts';
import type { Change, Database, FindRequest, Found } from '../database/database.ts';
import { LEVEL, LEVELS, type Level } from '../dicom/levels.ts';
import { asIsenError, IsenError } from '../errors.ts';
import type { Headers } from '../ingest/header.ts';
import type { Ingest } from '../ingest/ingest.ts';
import { log } from '../log.ts';
import type { Modalities } from '../scu/modality.ts';
import { alone } from './lease.ts';
import { LogFollower } from './log-follower.ts';
import { type Destination, entryPriority, type Order, queueOf } from './order.ts';
import type { Peers } from './peers.ts';
import { FOLLOWED, type NewEntry, type Queue } from './queue.ts';
import { type Facts, readRule, reasonsAgainst, type Rule } from './rules.ts';

/** The property of the index that holds the rules that were set over the REST API, by name. */
const PROPERTY = 'Routes';

/** The property that new identifiers are made from, with the name of their rule: who knows a rule cannot tell what was whose. */
const SECRET = 'RoutesSecret';

/** Instances asked about together. */
const PAGE = 1000;

export interface RouterOptions {
  /** `Routes`: rules by name, or a list of rules with their names. */
  readonly configured: Readonly<Record<string, unknown>> | readonly unknown[];
  readonly database: Pick<Database, 'find' | 'property' | 'shared'>;
  readonly changes: Changes;
  readonly queue: Queue;
  readonly modalities: Pick<Modalities, 'get'>;
  readonly peers: Pick<Peers, 'get'>;
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
  /** Whether a rule is one of the configuration, which only whoever writes that can change. */
  isConfigured(name: string): boolean;
  /** Adds or replaces a rule, for what comes from now on. Throws ParameterOutOfRange, BadFileFormat; ForbiddenAccess for one of the configuration. */
  put(name: string, description: unknown): Promise<void>;
  /** Whether it was there. Throws ForbiddenAccess for one of the configuration. */
  remove(name: string): Promise<boolean>;
  /**
   * Asks a rule about a stored instance, as if it had just come: the one of that name, or the one that `description` is, which is not stored.
   * Throws InexistentItem, UnknownResource, and as {@link put} for a description that is none.
   */
  test(name: string, instance: string, description?: unknown): Promise<RuleTest>;
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
  /** The rules that were set, and the text they were read from. */
  #set: { readonly text: string; readonly rules: ReadonlyMap<string, Rule> } = { text: '{}', rules: new Map() };
  readonly #follower: LogFollower;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: RouterOptions) {
    this.#options = options;
    this.#configured = new Map(
      namedRules(options.configured).map(([name, rule]) => [name, readRule(name, rule)] as const),
    );
    const { changes, queue, database, apply } = options;
    this.#follower = new LogFollower({
      name: FOLLOWED.routing,
      changes,
      queue,
      database,
      apply,
      isWanted: async () => (await this.list()).some(({ enabled }) => enabled),
      entries: (page) => this.#entries(page),
    });
  }

  async open(): Promise<void> {
    for (const rule of this.#configured.values()) await this.#checkTargets(rule);
    await this.#follower.open();
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

  isConfigured(name: string): boolean {
    return this.#configured.has(name);
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

  async test(name: string, instance: string, description?: unknown): Promise<RuleTest> {
    const rule = description === undefined ? await this.get(name) : readRule(name, description);
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

  caughtUp(): Promise<void> {
    return this.#follower.caughtUp();
  }

  async close(): Promise<void> {
    await this.#turn;
    await this.#follower.close();
  }

  async #checkTargets({ name, to }: Rule): Promise<void> {
    for (const target of to) {
      if ((await this.#destination(target)) !== undefined) continue;
      const unknown = `there is no modality and no peer ${JSON.stringify(target)}`;
      throw new IsenError('ParameterOutOfRange', `Route ${name}: To: ${unknown}`);
    }
  }

  /** Whom a rule means: a modality, or the peer of that name where there is no such modality. */
  async #destination(name: string): Promise<Destination | undefined> {
    if ((await this.#options.modalities.get(name)) !== undefined) return { kind: 'modality', name };
    return (await this.#options.peers.get(name)) === undefined ? undefined : { kind: 'peer', name };
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
      const value = JSON.stringify(Object.fromEntries([...rules].map(([key, rule]) => [key, rule.description])));
      const setting = async (): Promise<void> => {
        await this.#options.apply({ kind: 'property', name: PROPERTY, value });
      };
      const isFirst = !before.some(({ enabled }) => enabled) && after.some(({ enabled }) => enabled);
      await (isFirst ? this.#follower.begin(setting) : setting());
      this.#follower.wake();
    };
    const done = this.#turn.then(async () => alone(this.#options.queue, 'routes', changing));
    this.#turn = done.catch(() => {});
    return done;
  }

  /** Made when the first rule needs it. */
  async #secret(): Promise<string> {
    const { apply, database, queue } = this.#options;
    const there = await database.property(SECRET);
    if (there !== undefined) return there;
    return alone(queue, SECRET, async () => {
      const known = await database.property(SECRET);
      const value = known ?? randomUUID();
      if (known === undefined) await apply({ kind: 'property', name: SECRET, value });
      return value;
    });
  }

  /** What a page of the log leads to. */
  async *#entries(changes: readonly Change[]): AsyncGenerator<readonly NewEntry[], void> {
    const rules = (await this.list()).filter(({ enabled }) => enabled);
    const queues = new Map<string, string>();
    for (const target of new Set(rules.flatMap(({ to }) => to))) {
      // One that is gone was most likely a modality: there it fails, for people to see.
      queues.set(target, queueOf((await this.#destination(target)) ?? { kind: 'modality', name: target }));
    }
    const secret = rules.some(({ modification }) => modification !== undefined) ? await this.#secret() : '';
    const ways: Ways = { queues, secret };
    yield await this.#arrivals(rules, changes, ways);
    for (const change of changes) {
      const concerned = rules.filter((rule) => change.type !== 'NewInstance' && rule.events.has(change.type));
      if (concerned.length > 0) yield* this.#others(concerned, change, ways);
    }
  }

  /** The entries of all new instances of a page. */
  async #arrivals(all: readonly Rule[], changes: readonly Change[], ways: Ways): Promise<readonly NewEntry[]> {
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
        if (await applies(rule, facts)) entries.push(...entriesOf(rule, ways, id, String(seq)));
      }
    }
    return entries;
  }

  /** The entries of all instances of a resource that something happened to, page by page. */
  async *#others(rules: readonly Rule[], change: Change, ways: Ways): AsyncGenerator<readonly NewEntry[], void> {
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
          if (await applies(rule, facts)) entries.push(...entriesOf(rule, ways, instance.id, revision, true));
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

interface Ways {
  /** Queues by the names that rules say. */
  readonly queues: ReadonlyMap<string, string>;
  readonly secret: string;
}

function entriesOf(
  rule: Rule,
  { queues, secret }: Ways,
  instance: string,
  revision: string,
  remembered = false,
): NewEntry[] {
  const { modification } = rule;
  return rule.to.map((target) => ({
    queue: queues.get(target) ?? queueOf({ kind: 'modality', name: target }),
    id: `${rule.name} ${instance} ${revision}`,
    group: '',
    priority: entryPriority(rule.priority, false),
    due: 0,
    value: {
      instance,
      route: rule.name,
      ...(rule.transcode !== undefined && { transcode: rule.transcode }),
      ...(modification !== undefined && { modification: { ...modification, seed: `${secret} ${rule.name}` } }),
      ...(remembered && { remembered }),
    } satisfies Order,
  }));
}
