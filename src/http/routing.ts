/** Owns the routes of the routing rules. */

import { z } from '@hono/zod-openapi';
import { IsenError } from '../errors.ts';
import { type Rule, RuleSchema } from '../jobs/rules.ts';
import { json, text } from './answers.ts';
import { bodyText } from './body.ts';
import { jsonBody } from './modalities.ts';
import { checkId } from './resources.ts';
import { flag, type Routes } from './routes.ts';

const RuleBody = RuleSchema.openapi('Route');

const RuleAnswer = RuleBody.extend({
  Configured: z
    .literal(true)
    .optional()
    .openapi({ description: 'One of the configuration file, not to be changed here' }),
}).openapi('ShownRoute');

/** Adds the routes of this file. */
export function addRouting(routes: Routes): void {
  const { router } = routes.services;
  const tag = 'Routing';
  const path = '/routes/{name}';
  const describe = ({ name, description, enabled }: Rule): Readonly<Record<string, unknown>> => ({
    ...description,
    Enabled: enabled,
    ...(router.isConfigured(name) && { Configured: true }),
  });

  routes.add(
    {
      method: 'get',
      path: '/routes',
      tag,
      summary: 'The routing rules',
      query: { expand: flag() },
      answers: {
        200: {
          description: 'Their names, or the rules',
          type: 'application/json',
          schema: z.union([z.array(z.string()), z.array(RuleAnswer)]),
        },
      },
    },
    async (_, { expand }) => {
      const rules = await router.list();
      return json(expand ? rules.map(describe) : rules.map(({ name }) => name));
    },
  );
  routes.add(
    {
      method: 'get',
      path,
      tag,
      summary: 'One routing rule',
      answers: { 200: { description: 'The rule', type: 'application/json', schema: RuleAnswer } },
    },
    async (context) => {
      const rule = await router.get(context.req.param('name') ?? '');
      if (rule === undefined) throw unknown(context.req.param('name') ?? '');
      return json(describe(rule));
    },
  );
  routes.add(
    {
      method: 'put',
      path,
      tag,
      summary: 'Adds or changes a routing rule, for what comes from now on',
      body: { 'application/json': RuleBody },
      writes: true,
      answers: { 200: { description: 'Done', type: 'text/plain' } },
    },
    async (context) => {
      await router.put(context.req.param('name') ?? '', jsonBody(await bodyText(context)));
      return text('');
    },
  );
  routes.add(
    {
      method: 'delete',
      path,
      tag,
      summary: 'Removes a routing rule; what it has queued is sent all the same',
      writes: true,
      answers: { 200: { description: 'Done', type: 'text/plain' } },
    },
    async (context) => {
      const name = context.req.param('name') ?? '';
      if (!(await router.remove(name))) throw unknown(name);
      return text('');
    },
  );
  routes.add(
    {
      method: 'post',
      path: `${path}/test`,
      tag,
      summary: 'Whether a rule would apply to a stored instance, and why not',
      reads: true,
      body: {
        'text/plain': z.string(),
        'application/json': z.object({
          ID: z.string(),
          Route: RuleBody.optional().openapi({ description: 'A rule to try in its place, which is not stored' }),
        }),
      },
      answers: {
        200: {
          description: 'As if the instance had just come',
          type: 'application/json',
          schema: z.object({ Matches: z.boolean(), Reasons: z.array(z.string()), To: z.array(z.string()) }),
        },
      },
    },
    async (context) => {
      const { id, route } = askedOf(await bodyText(context));
      const { matches, reasons, to } = await router.test(context.req.param('name') ?? '', checkId(id), route);
      return json({ Matches: matches, Reasons: reasons, To: to });
    },
  );
}

const unknown = (name: string): IsenError => new IsenError('InexistentItem', `No route with name: ${name}`);

/** The id in a body: as text, as JSON text, or as `{ "ID" }`; and the `Route` beside it. */
function askedOf(body: string): { readonly id: string; readonly route?: unknown } {
  const text = body.trim();
  if (!/^["{]/.test(text)) return { id: text };
  const value = jsonBody(text);
  if (typeof value !== 'object' || value === null) return { id: typeof value === 'string' ? value : '' };
  const { ID, Route } = value as { readonly ID?: unknown; readonly Route?: unknown };
  return { id: typeof ID === 'string' ? ID : '', ...(Route !== undefined && { route: Route }) };
}
