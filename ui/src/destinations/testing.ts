/** Owns testing whether a destination answers: C-ECHO, /system of a peer, a test of a webhook. */

import { ApiError } from '../api.ts';
import { type Destinations, echo, peerSystem, testWebhook } from '../api/destinations.ts';
import { t } from '../texts.ts';

/** What a test found. */
export interface Found {
  readonly good: boolean;
  /** In words where it is good, else the server's reason. */
  readonly text: string;
}

/** The reason that the server gave for a failure, or undefined where it failed for another one. */
export function reasonOf(thrown: unknown): string | undefined {
  return thrown instanceof ApiError && thrown.said !== '' && thrown.status !== 403 ? thrown.said : undefined;
}

async function asked(kind: Destinations, name: string): Promise<Found> {
  const words = t.destinations;
  switch (kind) {
    case 'modalities':
      await echo(name);
      return { good: true, text: words.echoDone };
    case 'peers': {
      const { Name = '', Version = '', Isen } = await peerSystem(name);
      return { good: true, text: words.peerIs(Name, Isen === undefined ? `Orthanc ${Version}` : `Isen ${Isen}`) };
    }
    case 'webhooks': {
      const status = await testWebhook(name);
      return status < 300
        ? { good: true, text: words.webhookAnswered(status) }
        : { good: false, text: `HTTP status ${status}` };
    }
  }
}

/** Asks one. Throws ApiError where the question itself was refused. */
export async function testDestination(kind: Destinations, name: string): Promise<Found> {
  try {
    return await asked(kind, name);
  } catch (thrown) {
    const reason = reasonOf(thrown);
    if (reason === undefined) throw thrown;
    return { good: false, text: reason };
  }
}
