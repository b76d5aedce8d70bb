/** Owns the routes of the web interface itself: who asks and what they may do, signing in and out, other viewers. */

import { z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { IsenError } from '../errors.ts';
import { verifyPassword } from '../password.ts';
import { onlyReads, userOf } from './access.ts';
import { json } from './answers.ts';
import { bodyText, parseJson } from './body.ts';
import type { Environment, Routes } from './routes.ts';
import { isOfScript, type Sessions } from './sessions.ts';

const PATH = '/ui/session';

/** What strangers may ask as well: it says nothing that the door does not say. */
export function isOpen(url: string): boolean {
  return /^\/(app\/explorer\.html|ui\/session)?(\?|$)/.test(url);
}

const Credentials = z.object({ User: z.string(), Password: z.string(), Remember: z.boolean().default(false) });

const SessionAnswer = z
  .object({
    AuthenticationEnabled: z.boolean(),
    ReadOnly: z.boolean(),
    User: z.string().nullable(),
    Version: z.string().nullable(),
  })
  .openapi('Session');

const ViewersAnswer = z.array(z.object({ Name: z.string(), Url: z.string() })).openapi('Viewers');

/** Adds the routes of this file. */
export function addSession(routes: Routes, sessions: Sessions): void {
  const { config, version } = routes.services;
  const tag = 'Web interface';
  const answers = { 200: { description: 'The session', type: 'application/json', schema: SessionAnswer } };

  const show = (user: string | undefined, readOnly: boolean, cookie: string | undefined): Response => {
    const body: z.output<typeof SessionAnswer> = {
      AuthenticationEnabled: config.AuthenticationEnabled,
      ReadOnly: readOnly,
      User: user === '' ? null : (user ?? null),
      Version: user === undefined ? null : version,
    };
    return json(body, { 'Cache-Control': 'no-store', ...(cookie !== undefined && { 'Set-Cookie': cookie }) });
  };

  /** A page of another site could sign a person in as somebody else, or out. */
  const checkOrigin = (context: Context<Environment>): void => {
    if (!isOfScript(context.env.incoming)) {
      throw new IsenError('ForbiddenAccess', 'the header X-Requested-With is missing');
    }
  };

  routes.add(
    { method: 'get', path: PATH, tag, summary: 'Who asks, and whether they may change anything', answers },
    async (context) => {
      const { incoming } = context.env;
      const readOnly = config.ReadOnly || onlyReads(config, incoming);
      return show(userOf(incoming), readOnly, await sessions.prolong(incoming));
    },
  );
  routes.add(
    {
      method: 'post',
      path: PATH,
      tag,
      summary: 'Signs in: the answer carries a cookie for browsers',
      headers: { 'x-requested-with': 'Any value: forms of other sites cannot send it' },
      body: { 'application/json': Credentials },
      reads: true,
      answers,
    },
    async (context) => {
      checkOrigin(context);
      const given = Credentials.safeParse(parsed(await bodyText(context, 16 * 1024)));
      if (!given.success) throw new IsenError('BadRequest', 'User and Password are expected');
      const { User, Password, Remember } = given.data;
      const isRight = config.AuthenticationEnabled && (await verifyPassword(config.RegisteredUsers, User, Password));
      if (!isRight) throw new IsenError('Unauthorized');
      const readOnly = config.ReadOnly || config.ReadOnlyUsers.includes(User);
      return show(User, readOnly, await sessions.begin(User, Remember, context.env.incoming));
    },
  );
  routes.add(
    {
      method: 'delete',
      path: PATH,
      tag,
      summary: 'Signs out: takes the cookie back',
      headers: { 'x-requested-with': 'Any value: forms of other sites cannot send it' },
      reads: true,
      answers: { 200: { description: 'Done', type: 'application/json', schema: z.object({}) } },
    },
    async (context) => {
      checkOrigin(context);
      return json({}, { 'Set-Cookie': await sessions.end(context.env.incoming) });
    },
  );
  routes.add(
    {
      method: 'get',
      path: '/ui/viewers',
      tag,
      summary: 'Other viewers (option `Viewers`): names, and addresses with {StudyInstanceUID} and its like',
      answers: { 200: { description: 'The viewers', type: 'application/json', schema: ViewersAnswer } },
    },
    () => json(Object.entries(config.Viewers).map(([Name, Url]) => ({ Name, Url }))),
  );
  if (!config.OrthancExplorerEnabled) return;
  for (const [path, to] of [
    ['/', 'ui/app/'],
    ['/app/explorer.html', '../ui/app/'],
  ] as const) {
    routes.add(
      {
        method: 'get',
        path,
        tag,
        summary: 'Leads to the web interface',
        answers: { 302: { description: 'Its address, relative to this one' } },
      },
      () => new Response(null, { status: 302, headers: { Location: to } }),
    );
  }
}

/** A JSON text, or undefined. */
function parsed(text: string): unknown {
  try {
    return parseJson(text);
  } catch {
    return undefined;
  }
}
