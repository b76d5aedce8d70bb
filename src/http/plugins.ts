/** Owns the routes of plugins. None can be loaded; listed is what is built in and in use, under the names that clients know. */

import { z } from '@hono/zod-openapi';
import type { Config } from '../config.ts';
import { empty, json, text } from './answers.ts';
import { flag, type Routes } from './routes.ts';

/** What is a plugin of the reference server and built in here: whether it is in use, and what it is. */
const BUILT_IN: Readonly<Record<string, { readonly used: (config: Config) => boolean; readonly description: string }>> =
  {
    'aws-s3-storage': {
      used: ({ S3, AwsS3Storage }) => S3 !== null || AwsS3Storage !== null,
      description: 'Keeps the files in a bucket of an S3-compatible object storage.',
    },
    'postgresql-index': {
      used: ({ PostgreSQL }) => PostgreSQL?.EnableIndex === true,
      description: 'Keeps the index in PostgreSQL.',
    },
    worklists: {
      used: ({ Worklists }) => Worklists.Enable,
      description: 'Answers modality worklists from the files of a folder.',
    },
  };

const Plugin = z.object({
  Description: z.string(),
  ExtendsOrthancExplorer: z.boolean(),
  ID: z.string(),
  Version: z.string(),
});

/** Scripts that plugins add to the reference's web interface: none. */
const EXPLORER = '// Nothing is added to the web interface\n';

/** Adds the routes of this file. */
export function addPlugins(routes: Routes): void {
  const { config, version } = routes.services;
  const tag = 'System';
  const used = Object.entries(BUILT_IN)
    .filter(([, { used }]) => used(config))
    .map(([ID, { description: Description }]) => ({
      Description,
      ExtendsOrthancExplorer: false,
      ID,
      Version: version,
    }));
  routes.add(
    {
      method: 'get',
      path: '/plugins',
      tag,
      summary: 'What plugins of the reference server do and is built in here, as far as it is in use',
      query: { expand: flag() },
      answers: {
        200: {
          description: 'Their names, or what they are',
          type: 'application/json',
          schema: z.array(z.union([z.string(), Plugin])),
        },
      },
    },
    (_, { expand }) => json(expand ? used : ['explorer.js', ...used.map(({ ID }) => ID)].sort()),
  );
  routes.add(
    {
      method: 'get',
      path: '/plugins/explorer.js',
      tag,
      summary: 'Scripts that plugins add to the web interface: none',
      answers: { 200: { description: 'A script', type: 'application/javascript' } },
    },
    () => text(EXPLORER, {}, 'application/javascript'),
  );
  routes.add(
    {
      method: 'get',
      path: '/plugins/{id}',
      tag,
      summary: 'One of what is built in',
      answers: {
        200: {
          description: 'Name and description',
          type: 'application/json',
          schema: Plugin,
        },
        404: { description: 'There is no such plugin' },
      },
    },
    (context) => {
      const found = used.find(({ ID }) => ID === context.req.param('id'));
      return found === undefined ? empty(404) : json(found);
    },
  );
}
