/**
 * Owns webhooks: URLs that are told of changes. It follows the log of changes and queues a delivery for each change that a webhook wants;
 * like everything that is sent, deliveries survive crashes, are tried again, and end as dead letters for people.
 */

import { z } from 'zod';
import type { Changes } from '../changes/changes.ts';
import { CHANGE_TYPES, type ChangeType, type Database } from '../database/database.ts';
import { matchesWildcard } from '../database/find.ts';
import { IsenError } from '../errors.ts';
import type { Ingest } from '../ingest/ingest.ts';
import type { HttpAnswer, HttpClient, HttpTarget } from '../outgoing.ts';
import { checkName, describeSending, readSending, SENDING, SENDING_OPTIONS } from '../scu/modalities.ts';
import type { Sending } from '../scu/modality.ts';
import type { Target } from './line.ts';
import { LogFollower } from './log-follower.ts';
import { entryPriority, type Order, queueOf } from './order.ts';
import { checkAllowed, isSameServer, keptHeaders, readHeaders, readTimeout } from './peers.ts';
import { FOLLOWED, type NewEntry, type Queue } from './queue.ts';
import { type Notation, type Source, storedRegister } from './register.ts';
import { openWebhookLine, requestOf } from './webhook-line.ts';

/** How a webhook's queue is drained unless it says otherwise. */
const WEBHOOK_SENDING: Sending = { ...SENDING, maximumAssociations: 2 };

/** A webhook as clients write it. */
export const WebhookSchema = z.strictObject({
  Url: z.string().max(8192),
  /** Types of changes, with `*` and `?`. */
  Events: z.array(z.string().min(1).max(64)).min(1).max(64).optional(),
  /** What bodies are signed with. */
  Secret: z.string().max(1024).nullable().optional(),
  HttpHeaders: z.record(z.string(), z.string().nullable()).optional(),
  Timeout: z.number().optional(),
  Enabled: z.boolean().optional(),
  ...Object.fromEntries(Object.keys(SENDING_OPTIONS).map((name) => [name, z.unknown().optional()])),
});

/** One webhook. */
export interface Webhook extends HttpTarget {
  readonly name: string;
  readonly enabled: boolean;
  readonly events: ReadonlySet<ChangeType>;
  /** Empty: nothing is signed. */
  readonly secret: string;
  readonly sending: Sending;
  readonly source: Source;
  /** As it was written. */
  readonly description: Readonly<Record<string, unknown>>;
}

export interface WebhooksOptions {
  readonly configured: Readonly<Record<string, unknown>>;
  /** `OutgoingHttpAllowed`. */
  readonly allowed: readonly string[];
  readonly database: Pick<Database, 'property' | 'shared'>;
  readonly changes: Changes;
  readonly queue: Queue;
  readonly client: HttpClient;
  readonly apply: Ingest['apply'];
}

export interface Webhooks {
  /** Sorted by name. */
  list(): Promise<readonly Webhook[]>;
  get(name: string): Promise<Webhook | undefined>;
  /**
   * Adds or replaces one, for what happens from now on; without `Secret`, or with null, one that is there keeps its own, as long as the
   * URL is of the same server: another one must not get what that one takes as signed for it. Throws ParameterOutOfRange,
   * BadFileFormat; ForbiddenAccess for one of the configuration, and for a URL that is not allowed.
   */
  put(name: string, description: unknown): Promise<void>;
  /** Whether it was there; what it has queued fails. Throws ForbiddenAccess for one of the configuration. */
  remove(name: string): Promise<boolean>;
  /** Sends a signed body that says that it is a test, at once, and answers what came back. Throws InexistentItem, NetworkProtocol. */
  test(name: string): Promise<HttpAnswer>;
  /** A webhook as its queue sees it. */
  target(name: string): Promise<Target | undefined>;
  /** Resolves when all that is in the log now was looked at. Throws Busy where that takes long. */
  caughtUp(): Promise<void>;
  close(): Promise<void>;
}

const bad = (name: string, problem: string): IsenError =>
  new IsenError('ParameterOutOfRange', `Webhook ${name}: ${problem}`);

function readWebhook(name: string, description: unknown, source: Source): Webhook {
  checkName(name);
  const parsed = WebhookSchema.safeParse(description);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw bad(name, `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'an object is expected'}`);
  }
  const { Url, Events = ['*'], Secret, HttpHeaders, Timeout, Enabled = true } = parsed.data;
  if (!/^https?:\/\//i.test(Url) || !URL.canParse(Url)) throw bad(name, 'Url: an http or https URL is expected');
  if (new URL(Url).username !== '' || new URL(Url).password !== '') throw bad(name, 'Url: without user and password');
  const events = new Set<ChangeType>();
  for (const each of Events) {
    const found = CHANGE_TYPES.filter((type) => matchesWildcard(type, each));
    if (found.length === 0) throw bad(name, `Events: ${JSON.stringify(each)} is none of ${CHANGE_TYPES.join(', ')}`);
    for (const event of found) events.add(event);
  }
  const fields: Readonly<Record<string, unknown>> = parsed.data;
  return {
    name,
    url: Url,
    enabled: Enabled,
    events,
    secret: Secret ?? '',
    headers: readHeaders(HttpHeaders),
    timeout: readTimeout(Timeout),
    sending: readSending(fields, WEBHOOK_SENDING),
    source,
    description: fields,
  };
}

/** A description in which headers whose value is null have the one that they had. */
function kept(description: unknown, known: Webhook | undefined): unknown {
  const parsed = WebhookSchema.safeParse(description);
  if (!parsed.success || parsed.data.HttpHeaders === undefined) return description;
  const { Url, HttpHeaders } = parsed.data;
  const before = isSameServer(Url, known?.url) ? (known?.headers ?? {}) : {};
  return { ...parsed.data, HttpHeaders: keptHeaders(HttpHeaders, before) };
}

const NOTATION: Notation<Webhook> = { read: readWebhook, describe: ({ description }) => description };

/** What clients are shown: no secret, and of headers their names. */
export function showWebhook({ url, enabled, events, secret, headers, timeout, sending }: Webhook): object {
  return {
    Enabled: enabled,
    Events: [...events],
    HttpHeaders: Object.keys(headers ?? {}),
    ...(secret !== '' && { Secret: null }),
    Timeout: timeout,
    Url: url,
    ...Object.fromEntries(describeSending(sending, WEBHOOK_SENDING)),
  };
}

/** Starts following. Throws what a webhook of the configuration throws that is none. */
export async function openWebhooks(options: WebhooksOptions): Promise<Webhooks> {
  const { configured: descriptions, allowed, database, changes, queue, client, apply } = options;
  const configured = new Map(
    Object.entries(descriptions).map(([name, each]) => [name, readWebhook(name, each, 'configuration')] as const),
  );
  const set = storedRegister({ property: 'Webhooks', notation: NOTATION, database, apply, queue });
  const get = async (name: string): Promise<Webhook | undefined> => configured.get(name) ?? set.get(name);
  const list = async (): Promise<readonly Webhook[]> => {
    const all = new Map([...(await set.list()).map((each) => [each.name, each] as const), ...configured]);
    return [...all.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  };
  const isWanted = async (): Promise<boolean> => (await list()).some(({ enabled }) => enabled);
  const checkSettable = (name: string): void => {
    if (configured.has(name))
      throw new IsenError('ForbiddenAccess', `the webhook ${name} is one of the configuration file`);
  };
  const follower = new LogFollower({
    name: FOLLOWED.webhooks,
    changes,
    queue,
    database,
    apply,
    isWanted,
    async *entries(page) {
      const webhooks = (await list()).filter(({ enabled }) => enabled);
      yield page.flatMap((change) =>
        webhooks.flatMap(({ name, events }): readonly NewEntry[] =>
          events.has(change.type)
            ? [
                {
                  queue: queueOf({ kind: 'webhook', name }),
                  id: `${name} ${change.seq}`,
                  group: '',
                  priority: entryPriority(0, false),
                  due: 0,
                  value: { instance: change.id, change } satisfies Order,
                },
              ]
            : [],
        ),
      );
    },
  });
  await follower.open();
  return {
    list,
    get,
    async put(name, description) {
      checkSettable(name);
      const known = await set.get(name);
      const given = readWebhook(name, kept(description, known), 'rest');
      checkAllowed(given, allowed);
      const Secret = given.description['Secret'] ?? (isSameServer(given.url, known?.url) ? known?.secret : undefined);
      const setting = () => set.put(name, { ...given.description, ...(Secret !== undefined && { Secret }) });
      await (given.enabled && !(await isWanted()) ? follower.begin(setting) : setting());
      follower.wake();
    },
    async remove(name) {
      checkSettable(name);
      const known = await set.remove(name);
      follower.wake();
      return known;
    },
    async test(name) {
      const webhook = await get(name);
      if (webhook === undefined) throw new IsenError('InexistentItem', `No webhook with name: ${name}`);
      checkAllowed(webhook, allowed);
      return client.ask(webhook, requestOf(webhook, 'test', JSON.stringify({ Webhook: name, Test: true })));
    },
    async target(name) {
      const webhook = await get(name);
      if (webhook === undefined) return undefined;
      const { url, headers, timeout, secret, sending } = webhook;
      return {
        where: JSON.stringify([url, headers, timeout, secret]),
        sending,
        open: () => openWebhookLine(webhook, client, allowed),
      };
    },
    caughtUp: () => follower.caughtUp(),
    close: () => follower.close(),
  };
}
