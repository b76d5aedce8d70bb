/**
 * Owns the images of a series in the order in which people look at them: through space where they are parallel, else by their
 * numbers. What the index knows comes first, so that the first image need not wait for the headers of all.
 */

import { get } from '../api.ts';
import { areDistinct, areParallel, depths, evenDistance, type Plane } from './geometry.ts';
import { type FrameInfo, frameCount, hasPixels, infoOf, type Tags } from './info.ts';

/** One picture of a series. */
export interface Frame {
  /** The name of the picture for the renderer. */
  readonly imageId: string;
  /** Orthanc's id of the instance. */
  readonly instance: string;
  /** Of the instance, counted from 0. */
  readonly number: number;
}

/** The part that is used of `GET /series/{id}/instances`. */
interface Listed {
  readonly ID: string;
  readonly MainDicomTags: Tags;
}

/** Why a series cannot be cut in other planes. */
export type NoVolume = 'few' | 'colour' | 'planes' | 'sizes' | 'uneven';

/** Says that the series has nothing that a viewport could show. */
export class NoPictures extends Error {
  override readonly name = 'NoPictures';
  /** An instance of the series, whose page shows it another way. */
  readonly instance: string | undefined;

  constructor(instance: string | undefined) {
    super('no pictures');
    this.instance = instance;
  }
}

const imageIdOf = (instance: string, number: number): string => `isen:${instance}:${number}`;

/** Instances in order, by what the index says of them. */
function ordered(listed: readonly Listed[]): Listed[] {
  const planes = listed.map(({ MainDicomTags }) => infoOf(MainDicomTags).plane);
  const whole = planes.filter((plane) => plane !== undefined);
  if (whole.length === listed.length && areParallel(whole)) {
    const along = depths(whole);
    if (areDistinct(along)) {
      return listed
        .map((instance, index) => ({ instance, depth: along[index] as number }))
        .toSorted((a, b) => a.depth - b.depth)
        .map(({ instance }) => instance);
    }
  }
  const numberOf = ({ MainDicomTags }: Listed): number => Number(MainDicomTags['InstanceNumber'] ?? Number.NaN);
  return listed.toSorted((a, b) => {
    const difference = numberOf(a) - numberOf(b);
    return Number.isNaN(difference) ? a.ID.localeCompare(b.ID) : difference || a.ID.localeCompare(b.ID);
  });
}

/** The order of the frames of one instance: through space where their planes say so, else as they are stored. */
function orderedFrames(tags: Tags): number[] {
  const frames = Array.from({ length: frameCount(tags) }, (_, number) => number);
  const planes = tags['PerFrameFunctionalGroupsSequence'] === undefined ? [] : frames.map((n) => infoOf(tags, n).plane);
  const whole = planes.filter((plane) => plane !== undefined);
  if (whole.length !== frames.length || !areParallel(whole)) return frames;
  const along = depths(whole);
  return areDistinct(along) ? frames.toSorted((a, b) => (along[a] as number) - (along[b] as number)) : frames;
}

/** A series as it is shown. */
export class Stack {
  readonly series: string;
  readonly frames: readonly Frame[];
  readonly #infos = new Map<string, FrameInfo>();
  readonly #listed: ReadonlyMap<string, Tags>;
  readonly #first: Tags;
  readonly #places: ReadonlyMap<string, number>;
  #details: Promise<void> | undefined;

  constructor(series: string, listed: readonly Listed[], first: Tags) {
    this.series = series;
    this.#listed = new Map(listed.map(({ ID, MainDicomTags }) => [ID, MainDicomTags]));
    this.#first = first;
    this.frames = listed.flatMap(({ ID, MainDicomTags }, index) =>
      orderedFrames(index === 0 ? first : MainDicomTags).map((number) => ({
        imageId: imageIdOf(ID, number),
        instance: ID,
        number,
      })),
    );
    this.#places = new Map(this.frames.map(({ imageId }, index) => [imageId, index]));
    const head = listed[0]?.ID ?? '';
    for (const { imageId, instance, number } of this.frames) {
      if (instance === head) this.#infos.set(imageId, infoOf(first, number));
    }
  }

  /** Where a picture stands; -1 where it is of another series. */
  indexOf(imageId: string): number {
    return this.#places.get(imageId) ?? -1;
  }

  /** What is known of a frame by now: until its header is here, what the first one says with the place that the index has. */
  info({ imageId, instance, number }: Frame): FrameInfo {
    const known = this.#infos.get(imageId);
    if (known !== undefined) return known;
    return infoOf({ ...this.#first, ...this.#listed.get(instance) }, number);
  }

  /** What the header of a frame says. Throws ApiError. */
  async header(frame: Frame): Promise<FrameInfo> {
    if (!this.#infos.has(frame.imageId)) await this.headers();
    return this.info(frame);
  }

  /** Fetches the headers of all frames, once. Throws ApiError. */
  async headers(): Promise<void> {
    this.#details ??= this.#fetchHeaders().catch((thrown: unknown) => {
      this.#details = undefined;
      throw thrown;
    });
    await this.#details;
  }

  async #fetchHeaders(): Promise<void> {
    if (this.frames.every(({ imageId }) => this.#infos.has(imageId))) return;
    const all = await get<Record<string, Tags>>(`series/${this.series}/instances-tags`, { query: { simplify: true } });
    for (const { imageId, instance, number } of this.frames) {
      const tags = all[instance];
      if (tags !== undefined) this.#infos.set(imageId, infoOf(tags, number));
    }
  }

  /** The distance between the slices in millimetres where they make up a volume, else why they do not. Asks for {@link headers}. */
  async volume(): Promise<number | NoVolume> {
    await this.headers();
    const infos = this.frames.map((frame) => this.info(frame));
    const [first] = infos;
    if (first === undefined || infos.length < LEAST_SLICES) return 'few';
    if (!first.photometric.startsWith('MONOCHROME')) return 'colour';
    const planes: Plane[] = infos.flatMap(({ plane }) => plane ?? []);
    if (planes.length !== infos.length || first.spacing === undefined || !areParallel(planes)) return 'planes';
    const isSame = infos.every(
      ({ rows, columns, spacing }) =>
        rows === first.rows &&
        columns === first.columns &&
        spacing?.[0] === first.spacing?.[0] &&
        spacing?.[1] === first.spacing?.[1],
    );
    if (!isSame) return 'sizes';
    return evenDistance(depths(planes)) ?? 'uneven';
  }
}

/** Fewer slices make no volume worth cutting. */
const LEAST_SLICES = 4;

/** The pictures of a series. Throws ApiError, NoPictures. */
export async function openStack(series: string, signal: AbortSignal): Promise<Stack> {
  const listed = ordered(await get<Listed[]>(`series/${series}/instances`, { query: { expand: true }, signal }));
  const [head] = listed;
  if (head === undefined) throw new NoPictures(undefined);
  const first = await get<Tags>(`instances/${head.ID}/simplified-tags`, { signal });
  if (!hasPixels(first)) throw new NoPictures(head.ID);
  return new Stack(series, listed, first);
}
