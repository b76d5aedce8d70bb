/** Owns the routes of what people mark resources with: labels, and the protection of patients against recycling. */

import { z } from '@hono/zod-openapi';
import { LEVEL, LEVELS, type Level } from '../dicom/levels.ts';
import { IsenError } from '../errors.ts';
import { empty, json, text } from './answers.ts';
import { bodyBoolean } from './body.ts';
import { checkId, findOne } from './resources.ts';
import type { Routes } from './routes.ts';

const JSON_TYPE = 'application/json';

const LABEL = /^[A-Za-z0-9_-]{1,64}$/;

/** Throws ParameterOutOfRange, in the reference's words, for what cannot be a label. */
function checkLabel(label: string): string {
  if (LABEL.test(label)) return label;
  const rule =
    "A label must be a non-empty, alphanumeric string, possibly with '_' or '-' characters, with maximum 64 characters";
  throw new IsenError('ParameterOutOfRange', `${rule}, but got: ${label.slice(0, 256)}`);
}

function addLevel(routes: Routes, level: Level): void {
  const { services } = routes;
  const { path } = LEVEL[level];
  const tag = path[0]?.toUpperCase() + path.slice(1);
  const all = `/${path}/{id}/labels`;
  const none = { 200: { description: 'Done', type: 'text/plain' } };
  routes.add(
    {
      method: 'get',
      path: all,
      tag,
      summary: `The labels of a ${level.toLowerCase()}`,
      answers: { 200: { description: 'The labels', type: JSON_TYPE, schema: z.array(z.string()) } },
    },
    async (context) => json((await findOne(services, level, context.req.param('id') ?? '')).labels),
  );
  routes.add(
    {
      method: 'get',
      path: `${all}/{label}`,
      tag,
      summary: 'Whether a label is there',
      answers: { ...none, 404: { description: 'It is not there' } },
    },
    async (context) => {
      const { labels } = await findOne(services, level, context.req.param('id') ?? '');
      return labels.includes(checkLabel(context.req.param('label') ?? '')) ? text('') : empty(404);
    },
  );
  for (const [method, present] of [
    ['put', true],
    ['delete', false],
  ] as const) {
    routes.add(
      {
        method,
        path: `${all}/{label}`,
        tag,
        summary: present ? 'Adds a label' : 'Removes a label',
        writes: true,
        answers: none,
      },
      async (context) => {
        const label = checkLabel(context.req.param('label') ?? '');
        const id = checkId(context.req.param('id') ?? '');
        await services.ingest.apply({ kind: 'label', level, id, label, present });
        return text('');
      },
    );
  }
}

function addProtection(routes: Routes): void {
  const { services } = routes;
  const path = '/patients/{id}/protected';
  routes.add(
    {
      method: 'get',
      path,
      tag: 'Patients',
      summary: 'Whether a patient is protected against recycling',
      answers: { 200: { description: '`1` or `0`', type: 'text/plain' } },
    },
    async (context) => {
      const found = await findOne(services, 'Patient', context.req.param('id') ?? '');
      return text(found.isProtected ? '1' : '0');
    },
  );
  routes.add(
    {
      method: 'put',
      path,
      tag: 'Patients',
      summary: 'Protects a patient against recycling, or ends that',
      writes: true,
      body: { 'text/plain': z.enum(['0', '1']) },
      answers: { 200: { description: 'Done', type: 'text/plain' } },
    },
    async (context) => {
      const wanted = await bodyBoolean(context);
      const id = checkId(context.req.param('id') ?? '');
      await services.ingest.apply({ kind: 'protect', id, protected: wanted });
      return text('');
    },
  );
}

/** Adds the routes of this file. */
export function addLabels(routes: Routes): void {
  for (const level of LEVELS) addLevel(routes, level);
  addProtection(routes);
}
