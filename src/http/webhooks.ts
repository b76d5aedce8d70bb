/** Owns the routes of the webhooks. */

import { z } from '@hono/zod-openapi';
import { IsenError } from '../errors.ts';
import { showWebhook, type Webhook, WebhookSchema } from '../jobs/webhooks.ts';
import { json, text } from './answers.ts';
import { bodyText } from './body.ts';
import { jsonBody } from './modalities.ts';
import { flag, type Routes } from './routes.ts';
import type { Services } from './services.ts';

/** Characters of an answer to a test that are shown. */
const SHOWN = 1000;

/** The webhook of a URL. Throws InexistentItem. */
export async function findWebhook({ webhooks }: Services, name: string): Promise<Webhook> {
  const webhook = await webhooks.get(name);
  if (webhook === undefined) throw new IsenError('InexistentItem', `No webhook with name: ${name}`);
  return webhook;
}

const WebhookBody = WebhookSchema.openapi('Webhook');
const WebhookShown = z
  .looseObject({
    Enabled: z.boolean(),
    Events: z.array(z.string()),
    HttpHeaders: z.array(z.string()),
    Secret: z.null().optional(),
    Timeout: z.number(),
    Url: z.string(),
    Configured: z.literal(true).optional(),
  })
  .openapi('WebhookShown', { description: 'Without its secret, and of its headers their names' });

/** As it is shown: without its secret, of headers the names; whether it is one of the configuration, not to be changed here. */
const show = (webhook: Webhook): object => ({
  ...showWebhook(webhook),
  ...(webhook.source === 'configuration' && { Configured: true }),
});

/** Adds the routes of this file. */
export function addWebhooks(routes: Routes): void {
  const { services } = routes;
  const { webhooks } = services;
  const tag = 'Webhooks';
  const path = '/webhooks/{id}';

  routes.add(
    {
      method: 'get',
      path: '/webhooks',
      tag,
      summary: 'The webhooks: URLs that are told of changes',
      query: { expand: flag() },
      answers: {
        200: {
          description: 'Their names, or their configurations by name',
          type: 'application/json',
          schema: z.union([z.array(z.string()), z.record(z.string(), WebhookShown)]),
        },
      },
    },
    async (_, { expand }) => {
      const all = await webhooks.list();
      if (!expand) return json(all.map(({ name }) => name));
      return json(Object.fromEntries(all.map((webhook) => [webhook.name, show(webhook)])));
    },
  );
  routes.add(
    {
      method: 'get',
      path,
      tag,
      summary: 'One webhook',
      answers: { 200: { description: 'Without its secret', type: 'application/json', schema: WebhookShown } },
    },
    async (context) => json(show(await findWebhook(services, context.req.param('id') ?? ''))),
  );
  routes.add(
    {
      method: 'put',
      path,
      tag,
      summary:
        'Adds or changes a webhook, for what happens from now on; one that is there keeps its secret without `Secret`, and headers whose value is null, as long as the URL is of the same server',
      body: { 'application/json': WebhookBody },
      answers: { 200: { description: 'Done', type: 'text/plain' } },
    },
    async (context) => {
      await webhooks.put(context.req.param('id') ?? '', jsonBody(await bodyText(context)));
      return text('');
    },
  );
  routes.add(
    {
      method: 'delete',
      path,
      tag,
      summary: 'Removes a webhook; what waits for it fails',
      answers: { 200: { description: 'Done', type: 'text/plain' } },
    },
    async (context) => {
      const name = context.req.param('id') ?? '';
      if (!(await webhooks.remove(name))) throw new IsenError('InexistentItem', `No webhook with name: ${name}`);
      return text('');
    },
  );
  routes.add(
    {
      method: 'post',
      path: `${path}/test`,
      tag,
      summary: 'Sends a signed body that says that it is a test, and waits for the answer',
      answers: {
        200: {
          description: 'What came back',
          type: 'application/json',
          schema: z.object({ Status: z.number(), Body: z.string() }),
        },
      },
    },
    async (context) => {
      const { status, body } = await webhooks.test(context.req.param('id') ?? '');
      return json({ Status: status, Body: body.slice(0, SHOWN) });
    },
  );
}
