/** Owns the order of the slices of a series: through space where its images are parallel, else by their numbers. */

import { z } from '@hono/zod-openapi';
import type { Found } from '../database/database.ts';
import { IsenError } from '../errors.ts';
import { json } from './answers.ts';
import { findOne } from './resources.ts';
import type { Routes } from './routes.ts';

type Vector = readonly [number, number, number];

/** Images of which the order is asked for at most: all of them are held at once. */
export const MOST_INSTANCES = 100_000;
/** How far the cosine of the angle between two parallel planes may be from 1. */
const PARALLEL = 0.001;

interface Slice {
  readonly id: string;
  readonly frames: number;
  readonly index: number | undefined;
  readonly position: Vector | undefined;
  readonly normal: Vector | undefined;
}

function numbers(value: string | undefined, count: number): number[] | undefined {
  const parts = value?.split('\\').map((part) => Number(part.trim() === '' ? Number.NaN : part));
  return parts?.length === count && parts.every(Number.isFinite) ? parts : undefined;
}

const dot = (a: Vector, b: Vector): number => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];

/** Normal of the plane of Image Orientation (Patient) (PS3.3 §C.7.6.2.1.1), of length 1. */
function normalOf(orientation: string | undefined): Vector | undefined {
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = numbers(orientation, 6) ?? [];
  const cross: Vector = [b * f - c * e, c * d - a * f, a * e - b * d];
  const length = Math.sqrt(dot(cross, cross));
  return length < 1e-6 ? undefined : [cross[0] / length, cross[1] / length, cross[2] / length];
}

function sliceOf({ id, tags, metadata }: Found): Slice {
  const index = Number(metadata['IndexInSeries']?.value ?? Number.NaN);
  const frames = Number(tags['0028,0008'] ?? 1);
  const [x, y, z_] = numbers(tags['0020,0032'], 3) ?? [];
  return {
    id,
    frames: Number.isInteger(frames) && frames > 0 ? frames : 1,
    index: Number.isInteger(index) ? index : undefined,
    position: x === undefined || y === undefined || z_ === undefined ? undefined : [x, y, z_],
    normal: normalOf(tags['0020,0037']),
  };
}

/** Sorted by `key`, or undefined where a slice has none or two have the same. */
function sortedBy(slices: readonly Slice[], key: (slice: Slice) => number | undefined): Slice[] | undefined {
  const keyed: { slice: Slice; at: number }[] = [];
  for (const slice of slices) {
    const at = key(slice);
    if (at === undefined) return undefined;
    keyed.push({ slice, at });
  }
  keyed.sort((a, b) => a.at - b.at);
  const distinct = keyed.every(({ at }, index) => index === 0 || at !== keyed[index - 1]?.at);
  return distinct ? keyed.map(({ slice }) => slice) : undefined;
}

/**
 * The instances of a series in order. A volume has more than one, parallel, each at a place of its own along their normal.
 * Throws CorruptedFile where neither places nor numbers tell them apart.
 */
export function orderSlices(instances: readonly Found[]): { type: 'Volume' | 'Sequence'; slices: readonly Slice[] } {
  const slices = instances.map(sliceOf);
  const normal = slices[0]?.normal;
  if (normal !== undefined && slices.length > 1) {
    const volume = sortedBy(slices, ({ position, normal: own }) =>
      position !== undefined && own !== undefined && Math.abs(Math.abs(dot(own, normal)) - 1) < PARALLEL
        ? dot(position, normal)
        : undefined,
    );
    if (volume !== undefined) return { type: 'Volume', slices: volume };
  }
  const sequence = slices.length > 1 ? sortedBy(slices, ({ index }) => index) : slices;
  if (sequence === undefined) throw new IsenError('CorruptedFile', 'Unable to order the slices of this series');
  return { type: 'Sequence', slices: sequence };
}

/** Adds the route of this file. */
export function addSlices(routes: Routes): void {
  const { services } = routes;
  routes.add(
    {
      method: 'get',
      path: '/series/{id}/ordered-slices',
      tag: 'Series',
      summary: 'The slices of a series in order',
      answers: {
        200: {
          description: 'Their files, frames, and both in short',
          type: 'application/json',
          schema: z.object({
            Dicom: z.array(z.string()),
            Slices: z.array(z.string()),
            SlicesShort: z.array(z.array(z.union([z.string(), z.number()]))),
            Type: z.enum(['Volume', 'Sequence']),
          }),
        },
      },
    },
    async (context) => {
      const of = await findOne(services, 'Series', context.req.param('id') ?? '', { idsOnly: true });
      const instances = await services.database.find({ level: 'Instance', of, limit: MOST_INSTANCES });
      const { type, slices } = orderSlices(instances);
      return json({
        Dicom: slices.map(({ id }) => `/instances/${id}/file`),
        Slices: slices.flatMap(({ id, frames }) =>
          Array.from({ length: frames }, (_, frame) => `/instances/${id}/frames/${frame}`),
        ),
        SlicesShort: slices.map(({ id, frames }) => [id, 0, frames]),
        Type: type,
      });
    },
  );
}
