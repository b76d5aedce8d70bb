/** Owns `/tools/create-dicom`: an instance, or a series of them, out of tags and pictures or documents. */

import { randomUUID } from 'node:crypto';
import { z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { Budget } from '../budget.ts';
import type { Operation } from '../database/database.ts';
import { ENCODING_TERM } from '../dicom/charset.ts';
import { generateUid } from '../dicom/ids.ts';
import { checkValue, type JsonValue } from '../dicom/json-value.ts';
import { LEVEL, LEVELS, type Level } from '../dicom/levels.ts';
import type { Body } from '../dicom/modification.ts';
import { MODULE } from '../dicom/module.ts';
import { tagOf } from '../dicom/path.ts';
import { IsenError } from '../errors.ts';
import type { CreateTask } from '../imaging/create.ts';
import type { StoredFile } from '../ingest/header.ts';
import type { Stored } from '../ingest/ingest.ts';
import { storeMade } from '../ingest/made.ts';
import { receptionOf } from './access.ts';
import { json } from './answers.ts';
import { bodyText, parseJson } from './body.ts';
import { Values } from './modify.ts';
import type { Environment, Routes } from './routes.ts';
import { ResourceId } from './schemas.ts';
import type { Services } from './services.ts';
import { answerOf } from './upload.ts';

/** Bytes of a body: it may hold many pictures. */
const LARGEST_BODY = 64 << 20;

/** Values in it: some more for each picture of a long series, and no file has as many elements. */
const MOST_VALUES = 50_000;

/** Bodies that are in memory together, and what becomes of them. */
const bodies = new Budget(256 << 20);

const CHARACTER_SET = '0008,0005';
const PIXEL_DATA = '7fe0,0010';

/** Dates with their times; each is that of the creation where nothing else says it. */
const ACQUISITION = ['0008,0012', '0008,0013', '0008,0022', '0008,0032', '0008,0023', '0008,0033'];
const SERIES = ['0008,0021', '0008,0031'];
const STUDY = ['0008,0020', '0008,0030'];

/** What a body may set without `Force` although it is there: every other tag of the parent is the parent's. */
const FREE: ReadonlySet<string> = new Set([LEVEL.Patient.key, ...ACQUISITION, ...SERIES, ...STUDY]);

/** The tags of one instance on the way, and how the body wants its values to be read. */
type Draft = Omit<CreateTask, 'tags' | 'content'> & { readonly tags: Map<string, JsonValue>; readonly force: boolean };

interface FullElement {
  readonly Type: string;
  readonly Value: string | null;
}

/** Throws BadRequest for a field of another type. */
function flagOf(body: Body, name: string, initial: boolean): boolean {
  const value = body[name] ?? initial;
  if (typeof value !== 'boolean') throw new IsenError('BadRequest');
  return value;
}

/** Sets the tags of a body. Throws CreateDicomOverrideTag, CreateDicomUseContent, UnknownDicomTag, BadParameterType. */
function inject(draft: Draft, given: unknown): void {
  if (!isObject(given)) throw new IsenError('BadRequest');
  for (const [name, value] of Object.entries(given)) {
    const tag = tagOf(name);
    if (tag === CHARACTER_SET) continue;
    if (!draft.force && !FREE.has(tag) && draft.tags.has(tag)) throw new IsenError('CreateDicomOverrideTag', name);
    if (tag === PIXEL_DATA) throw new IsenError('CreateDicomUseContent');
    checkValue(tag, value);
    draft.tags.set(tag, value);
  }
}

const isObject = (value: unknown): value is Body =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** What makes an instance one of its own. */
const identifiers = (): [string, string][] => [
  [LEVEL.Patient.key, randomUUID()],
  ...(['Study', 'Series', 'Instance'] as const).map((level): [string, string] => [LEVEL[level].key, generateUid()]),
];

/** A parent with one of its instances. Throws CreateDicomBadParent, CreateDicomParentIsInstance. */
async function parentOf({ database }: Services, id: unknown): Promise<{ level: Level; file: StoredFile }> {
  for (const level of LEVELS) {
    const [found] = await database.find({ level, id: String(id), instance: true });
    if (found === undefined) continue;
    if (level === 'Instance') throw new IsenError('CreateDicomParentIsInstance');
    if (found.instance !== undefined) return { level, file: found.instance };
  }
  throw new IsenError('CreateDicomBadParent');
}

/** The values that an instance has from its parent and what that belongs to, and their character set. */
async function inherited(
  { headers }: Services,
  level: Level,
  file: StoredFile,
): Promise<{ tags: [string, string][]; characterSet: string | undefined }> {
  const tags: [string, string][] = [];
  for (const each of LEVELS.slice(0, LEVELS.indexOf(level) + 1)) {
    const request = { format: 'Full', ignoreLength: [...MODULE[each]] } as const;
    const module = JSON.parse(await headers.module(file, each, request)) as Record<string, FullElement>;
    for (const [tag, { Type: type, Value: value }] of Object.entries(module))
      if (type === 'String' || type === 'Null') tags.push([tag, value ?? '']);
  }
  const set = JSON.parse(await headers.tags(file, { format: 'Short', only: [CHARACTER_SET] })) as Record<
    string,
    string
  >;
  return { tags, characterSet: set[CHARACTER_SET] };
}

async function draftOf(services: Services, body: Body): Promise<Draft> {
  const { Tags: tags, Parent: parent, PrivateCreator: privateCreator = '' } = body;
  if (!isObject(tags)) throw new IsenError('BadRequest');
  const { SpecificCharacterSet: wanted = ENCODING_TERM[services.config.DefaultEncoding] } = tags;
  const found = parent === undefined ? undefined : await parentOf(services, parent);
  const above = found && (await inherited(services, found.level, found.file));
  if (typeof privateCreator !== 'string' || typeof wanted !== 'string') throw new IsenError('BadRequest');
  const [date = '', time = ''] = new Date().toISOString().replace(/[-:]/g, '').slice(0, -1).split('T');
  // A series has its own date where it is new, and so has a study.
  const below = found === undefined ? 0 : LEVELS.indexOf(found.level) + 1;
  const dates = [...ACQUISITION, ...(below < 3 ? SERIES : []), ...(below < 2 ? STUDY : [])];
  const draft: Draft = {
    tags: new Map([
      ...identifiers(),
      ...(above?.tags ?? []),
      ...dates.map((tag, index): [string, string] => [tag, index % 2 === 0 ? date : `${time}000`]),
    ]),
    characterSet: above?.characterSet ?? wanted,
    interpretBinary: flagOf(body, 'InterpretBinaryTags', true),
    privateCreator,
    encapsulate: flagOf(body, 'Encapsulate', false),
    force: flagOf(body, 'Force', false),
  };
  inject(draft, tags);
  return draft;
}

/** The form of old: the body is the tags, Pixel Data the payload. */
function draftOfOld(body: Body): { draft: Draft; content: unknown } {
  const { PixelData: content, ...tags } = body;
  const draft: Draft = {
    tags: new Map(identifiers()),
    characterSet: '',
    interpretBinary: true,
    privateCreator: '',
    encapsulate: false,
    force: true,
  };
  inject(draft, tags);
  return { draft, content };
}

/** Adds the route of this file. */
export function addCreate(routes: Routes): void {
  const { services } = routes;
  const store = async (context: Context<Environment>, draft: Draft, content?: string): Promise<Stored> => {
    const { tags, characterSet, interpretBinary, privateCreator, encapsulate } = draft;
    const bytes = await services.creator.create({
      tags: Object.fromEntries(tags),
      characterSet,
      interpretBinary,
      privateCreator,
      encapsulate,
      ...(content !== undefined && { content }),
    });
    return storeMade(services.ingest, bytes, receptionOf(context.env.incoming));
  };

  /** One instance for each payload, in order. What is stored already goes again when one fails. */
  const storeSeries = async (context: Context<Environment>, base: Draft, payloads: readonly unknown[]) => {
    const made: Stored[] = [];
    base.tags.set('0020,1002', String(payloads.length)).set('0020,0105', '1');
    try {
      for (const [index, each] of payloads.entries()) {
        const tags = new Map(base.tags);
        const draft = { ...base, tags };
        tags.set(LEVEL.Instance.key, generateUid());
        if (isObject(each) && each['Content'] === undefined) throw new IsenError('CreateDicomNoPayload');
        if (isObject(each) && each['Tags'] !== undefined) inject(draft, each['Tags']);
        const content = isObject(each) ? each['Content'] : each;
        if (typeof content !== 'string') throw new IsenError('CreateDicomUseDataUriScheme');
        tags.set('0020,0013', String(index + 1)).set('0054,1330', String(index + 1));
        made.push(await store(context, draft, content));
      }
    } catch (thrown) {
      const deletions = made
        .filter(({ status }) => status === 'Success')
        .map(({ ids }): Operation => ({ kind: 'delete', level: 'Instance', id: ids.Instance }));
      if (deletions.length > 0) await services.ingest.applyAll(deletions);
      throw thrown;
    }
    const id = made[0]?.ids.Series ?? '';
    return json({ ID: id, Path: `/${LEVEL.Series.path}/${id}`, Status: 'Success' });
  };

  const create = async (context: Context<Environment>): Promise<Response> => {
    let body: unknown;
    try {
      body = parseJson(await bodyText(context, LARGEST_BODY), MOST_VALUES);
    } catch (thrown) {
      throw thrown instanceof IsenError ? thrown : new IsenError('BadRequest', undefined, { cause: thrown });
    }
    if (!isObject(body)) throw new IsenError('BadRequest');
    const { draft, content } =
      body['Tags'] === undefined
        ? draftOfOld(body)
        : { draft: await draftOf(services, body), content: body['Content'] };
    if (Array.isArray(content) && content.length > 0) return storeSeries(context, draft, content as unknown[]);
    if (content !== undefined && typeof content !== 'string' && !Array.isArray(content))
      throw new IsenError('CreateDicomUseDataUriScheme');
    return json(answerOf(await store(context, draft, typeof content === 'string' ? content : undefined)));
  };

  const Payload = z.string().openapi({
    description: 'A data URI in base64: PNG, JPEG, PAM, PDF, STL, OBJ or MTL',
  });
  routes.add(
    {
      method: 'post',
      path: '/tools/create-dicom',
      tag: 'Tools',
      summary: 'Makes and stores an instance, or a series of them',
      body: {
        'application/json': z.object({
          Tags: Values,
          Content: z
            .union([Payload, z.array(z.union([Payload, z.object({ Content: Payload, Tags: Values.optional() })]))])
            .optional(),
          Parent: ResourceId.optional().openapi({ description: 'A patient, study or series that it becomes one of' }),
          Force: z.boolean().optional().openapi({ description: 'Lets tags of the parent and identifiers be set' }),
          Encapsulate: z.boolean().optional().openapi({ description: 'JPEG baseline stays what it is' }),
          InterpretBinaryTags: z.boolean().optional().openapi({ description: 'Data URIs in tags mean their bytes' }),
          PrivateCreator: z
            .string()
            .optional()
            .openapi({ description: 'Whose dictionary says the VR of private tags' }),
        }),
      },
      writes: true,
      answers: {
        200: {
          description: 'The instance, or the series',
          type: 'application/json',
          schema: z.looseObject({ ID: ResourceId, Path: z.string(), Status: z.string() }),
        },
      },
    },
    async (context) => {
      const declared = Number(context.req.header('content-length') ?? LARGEST_BODY);
      return bodies.with(2 * Math.min(declared, LARGEST_BODY), () => create(context));
    },
  );
}
