/**
 * Owns the way to a webhook: what it is told, how that is signed, and one HTTP connection that is kept alive, over which changes are told
 * one after another.
 */

import { createHmac } from 'node:crypto';
import type { Change } from '../database/database.ts';
import { LEVEL } from '../dicom/levels.ts';
import { IsenError } from '../errors.ts';
import type { HttpClient, HttpConnection, HttpRequest } from '../outgoing.ts';
import type { Ready } from './feed.ts';
import { type Line, type Outcome, unsent } from './line.ts';
import { outcomeOf } from './peer-line.ts';
import { checkAllowed } from './peers.ts';
import type { Webhook } from './webhooks.ts';

/** The receiver says that it does not want to be told any more. */
const GONE = 410;

/** What a webhook is told of one change. */
function bodyOf(webhook: string, { seq, type, level, id, date }: Change): string {
  const Change = {
    ChangeType: type,
    Date: date,
    ID: id,
    Path: `/${LEVEL[level].path}/${id}`,
    ResourceType: level,
    Seq: seq,
  };
  return JSON.stringify({ Webhook: webhook, Change });
}

/**
 * A POST of `body`. Its `Isen-Signature` is `t=<seconds since the epoch>,v1=<HMAC-SHA256 of "<t>.<body>" with the secret, in hex>`, so that
 * nobody else can send one, nor send an old one again unnoticed.
 */
export function requestOf({ name, secret }: Webhook, id: string, body: string): HttpRequest {
  const bytes = Buffer.from(body);
  const time = Math.floor(Date.now() / 1000);
  const signature = createHmac('sha256', secret).update(`${time}.`).update(bytes).digest('hex');
  return {
    method: 'POST',
    path: '',
    headers: {
      'content-type': 'application/json',
      'isen-webhook': name,
      'isen-delivery': id,
      ...(secret !== '' && { 'isen-signature': `t=${time},v1=${signature}` }),
    },
    body: async function* () {
      yield bytes;
    },
    size: bytes.length,
  };
}

/** Opens a connection. Throws NetworkProtocol; ForbiddenAccess where requests may not go there. */
export async function openWebhookLine(webhook: Webhook, client: HttpClient, allowed: readonly string[]): Promise<Line> {
  checkAllowed(webhook, allowed);
  return new WebhookLine(webhook, await client.connect(webhook));
}

class WebhookLine implements Line {
  readonly #webhook: Webhook;
  readonly #connection: HttpConnection;
  readonly #ended = new AbortController();

  constructor(webhook: Webhook, connection: HttpConnection) {
    this.#webhook = webhook;
    this.#connection = connection;
  }

  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  carries(): boolean {
    return true;
  }

  async send({ entry, order }: Ready): Promise<Outcome> {
    if (order.change === undefined) return unsent(new IsenError('BadFileFormat', 'the entry tells of no change'), true);
    const body = bodyOf(this.#webhook.name, order.change);
    const answer = await this.#connection.request(requestOf(this.#webhook, entry.id, body));
    // What a receiver cannot take today, its next version may.
    return { ...outcomeOf(answer, Buffer.byteLength(body)), final: answer.status === GONE };
  }

  async release(): Promise<void> {
    this.#ended.abort();
    await this.#connection.close();
  }

  abort(): void {
    this.#ended.abort();
    this.#connection.abort();
  }
}
