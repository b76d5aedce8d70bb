/**
 * Owns how a route is declared: one description says its path, parameters and answers, checks the requests and becomes
 * the OpenAPI document, so that the three cannot disagree.
 */

import { OpenAPIHono, z } from '@hono/zod-openapi';
import type { HttpBindings } from '@hono/node-server';
import type { Context } from 'hono';
import { asIsenError, IsenError } from '../errors.ts';
import { recordRequest } from '../metrics.ts';
import { onlyReads } from './access.ts';
import { type JsonBody, type KeptAnswers, keepAnswers } from './answers.ts';
import type { Services } from './services.ts';

/** Bindings of the Node adapter: `c.env.incoming` is the raw request. */
export interface Environment {
  Bindings: HttpBindings;
}

export type Method = 'get' | 'post' | 'put' | 'delete';

/** One query parameter after another; every schema takes a string or nothing. */
export type QueryShape = Readonly<Record<string, z.ZodType>>;

/** One answer: its status, what it means and its body. No `type` is an empty body; of several it has one, and `schema` is of the first. */
export interface AnswerDescription {
  readonly description: string;
  readonly type?: string | readonly string[];
  readonly schema?: z.ZodType;
}

export interface Route<Query extends QueryShape> {
  readonly method: Method;
  /** OpenAPI style: `/studies/{id}/metadata/{name}`. */
  readonly path: string;
  /** Family in the document. */
  readonly tag: string;
  readonly summary: string;
  readonly query?: Query;
  /** Headers that the route reads, for the document. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Media types of the request body with what they hold. */
  readonly body?: Readonly<Record<string, z.ZodType>>;
  /** Changes what is stored: refused where the server is `ReadOnly`. */
  readonly writes?: true;
  /** Changes and sends nothing, although it is no GET: open to users who only read. */
  readonly reads?: true;
  /** Besides the errors that every route shares. */
  readonly answers: Readonly<Record<number, AnswerDescription>>;
}

/** What a handler gets besides the context: the checked query. */
export type Checked<Query extends QueryShape> = { [Key in keyof Query]: z.output<Query[Key]> };

export type Handler<Query extends QueryShape> = (
  context: Context<Environment>,
  query: Checked<Query>,
) => Response | Promise<Response>;

/** The table of routes of one server. */
export interface Routes {
  readonly services: Services;
  readonly app: OpenAPIHono<Environment>;
  /** For answers that follow from the index alone. */
  readonly kept: KeptAnswers;
  /** Registers a route: served, documented and listed for `Allow`. */
  add<const Query extends QueryShape = Record<never, never>>(route: Route<Query>, handler: Handler<Query>): void;
  /**
   * What registered routes answer to a plain GET, without a query, by their path (`/studies/{id}`): for the shortest way there is to such
   * an answer. JSON text that may be kept, of the resource of a public id; undefined where there is none, and the route is to answer.
   */
  readonly plain: Map<string, (id: string) => Promise<string | undefined>>;
  /**
   * What registered routes that only read answer to a POST, without a query, by their path: for the shortest way as well. 200 with JSON;
   * throws what the route throws.
   */
  readonly posts: Map<string, (exchange: HttpBindings) => Promise<JsonBody>>;
  /** Methods that exist at a path, in Orthanc's order; empty for an unknown path. */
  methodsAt(path: string): readonly string[];
  /** Every registered `METHOD path`. */
  readonly registered: readonly string[];
}

/** Schema of Orthanc's error body. */
export const ErrorBody = z
  .object({
    Details: z.string().optional(),
    HttpError: z.string(),
    HttpStatus: z.number(),
    Message: z.string(),
    Method: z.string(),
    OrthancError: z.string(),
    OrthancStatus: z.number(),
    Uri: z.string(),
  })
  .openapi('Error');

/** A flag of the query: `?expand` and `?expand=true` say yes; `initial` is what its absence says. */
export const flag = (initial = false) =>
  z
    .string()
    .optional()
    .transform((value) => (value === undefined ? initial : !/^(0|false)$/i.test(value)))
    .openapi({ type: 'boolean', default: initial });

/** A number of the query, of which Orthanc ignores what is not a number. */
export const LenientNumber = z
  .string()
  .optional()
  .transform((value) => (value !== undefined && /^-?\d{1,15}$/.test(value) ? Number(value) : undefined))
  .openapi({ type: 'integer' });

/** An optional text of the query. */
export const Text = z.string().max(8192).optional();

/** A last parameter named `path` takes the rest of the path, slashes included. */
const openEnded = (path: string): boolean => path.endsWith('/{path}');

/** What checks the query of a request against its schema. */
function checker(query: z.ZodType): (context: Context<Environment>) => unknown {
  const absent = query.safeParse({});
  const initial = absent.success ? Object.freeze(absent.data) : undefined;
  return (context) => {
    if (initial !== undefined && !context.req.url.includes('?')) return initial;
    const given = query.safeParse(context.req.query());
    if (given.success) return given.data;
    const problem = given.error.issues[0];
    throw new IsenError('BadParameterType', `${problem?.path.join('.') ?? 'query'}: ${problem?.message ?? ''}`);
  };
}

/** Times that a file may be exchanged between looking it up and opening it. */
const MOST_LOOKS = 64;

/**
 * Asks again where a file was not there: one that is being overwritten has another name by now, and its resource was there all the
 * time. What is missing twice is lost.
 */
export async function lookingAgain<Result>(work: () => Promise<Result>): Promise<Result> {
  let missing: string | undefined;
  for (let looks = 1; ; looks += 1) {
    try {
      return await work();
    } catch (thrown) {
      if (!(thrown instanceof IsenError && thrown.code === 'InexistentFile')) throw thrown;
      // The message names the file.
      if (looks === MOST_LOOKS || thrown.message === missing) throw thrown;
      missing = thrown.message;
    }
  }
}

const ORDER: readonly Method[] = ['get', 'post', 'put', 'delete'];

/** An empty table over a new application. */
export function createRoutes(services: Services): Routes {
  const app = new OpenAPIHono<Environment>({ strict: true });
  const registered: string[] = [];
  const methods = new Map<string, { pattern: RegExp; methods: Set<Method> }>();
  return {
    services,
    app,
    kept: keepAnswers(services.database),
    plain: new Map(),
    posts: new Map(),
    registered,
    add(route, handler) {
      const shape = route.query ?? {};
      const names = Object.keys(shape);
      const query = z.object(shape);
      const check = checker(query);
      const parameters = [...route.path.matchAll(/\{(\w+)\}/g)].map((match) => match[1] ?? '');
      app.openAPIRegistry.registerPath({
        method: route.method,
        path: route.path,
        tags: [route.tag],
        summary: route.summary,
        request: {
          ...(parameters.length > 0 && {
            params: z.object(Object.fromEntries(parameters.map((name) => [name, z.string()]))),
          }),
          ...(names.length > 0 && { query }),
          ...(route.headers && {
            headers: z.object(
              Object.fromEntries(
                Object.entries(route.headers).map(([name, description]) => [
                  name,
                  z.string().optional().openapi({ description }),
                ]),
              ),
            ),
          }),
          ...(route.body && {
            body: {
              content: Object.fromEntries(Object.entries(route.body).map(([type, schema]) => [type, { schema }])),
            },
          }),
        },
        responses: {
          ...Object.fromEntries(
            Object.entries(route.answers).map(([status, { description, type, schema }]) => [
              status,
              {
                description,
                ...(type && {
                  content: Object.fromEntries(
                    [type].flat().map((each, at) => [each, { schema: (at === 0 && schema) || z.unknown() }]),
                  ),
                }),
              },
            ]),
          ),
          default: { description: 'An error', content: { 'text/plain': { schema: ErrorBody } } },
        },
      });
      const pattern = route.path.replace(/\{(\w+)\}$/, openEnded(route.path) ? ':$1{.+}' : ':$1');
      const { config } = services;
      const readOnly = route.writes === true && config.ReadOnly;
      const isLooking = route.method === 'get' || route.reads === true;
      app.on(route.method.toUpperCase(), pattern.replaceAll(/\{(\w+)\}/g, ':$1'), async (context) => {
        const started = performance.now();
        let status = 500;
        try {
          if (readOnly || (!isLooking && onlyReads(config, context.env?.incoming))) {
            throw new IsenError('ReadOnly', undefined, { http: 403 });
          }
          const query = check(context) as never;
          const answer = await (route.method === 'get'
            ? lookingAgain(async () => handler(context, query))
            : handler(context, query));
          status = answer.status;
          return answer;
        } catch (thrown) {
          status = asIsenError(thrown).http;
          throw thrown;
        } finally {
          recordRequest(route.path, context.req.method, status, (performance.now() - started) / 1000);
        }
      });
      registered.push(`${route.method.toUpperCase()} ${route.path}`);
      const key = route.path.replaceAll(/\{\w+\}/g, '{}');
      const entry = methods.get(key) ?? {
        pattern: new RegExp(
          `^${key
            .replaceAll('.', '\\.')
            .replace(/\{\}$/, openEnded(route.path) ? '.+' : '[^/]+')
            .replaceAll('{}', '[^/]+')}$`,
        ),
        methods: new Set<Method>(),
      };
      entry.methods.add(route.method);
      methods.set(key, entry);
    },
    methodsAt(path) {
      const found = new Set<Method>();
      for (const entry of methods.values()) {
        if (entry.pattern.test(path)) for (const method of entry.methods) found.add(method);
      }
      return ORDER.filter((method) => found.has(method)).map((method) => method.toUpperCase());
    },
  };
}
