/** Owns directions and planes in the patient's coordinates (PS3.3 §C.7.6.2): millimetres, x to the left, y to the back, z to the head. */

export type Vector = readonly [number, number, number];

/** Where the pixels of an image lie. */
export interface Plane {
  /** Of the centre of the first pixel. */
  readonly position: Vector;
  /** Along a row, of length 1. */
  readonly row: Vector;
  /** Down a column, of length 1. */
  readonly column: Vector;
}

/** Sine and cosine that still count as parallel: 0.1 degrees would be 0.0017. */
const PARALLEL = 0.001;
/** Distances between slices may differ by this share of the usual one before a volume made of them would be wrong. */
const UNEVEN = 0.1;
/** Slices nearer than this are at one place, in millimetres. */
const SAME_PLACE = 0.001;

export const dot = (a: Vector, b: Vector): number => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];

export const cross = (a: Vector, b: Vector): Vector => [
  a[1] * b[2] - a[2] * b[1],
  a[2] * b[0] - a[0] * b[2],
  a[0] * b[1] - a[1] * b[0],
];

const subtract = (a: Vector, b: Vector): Vector => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];

/** The same direction with length 1; undefined for a vector that has none. */
export function unit(vector: Vector): Vector | undefined {
  const length = Math.hypot(...vector);
  return length < 1e-6 ? undefined : [vector[0] / length, vector[1] / length, vector[2] / length];
}

/** The plane of Image Position and Image Orientation (Patient); undefined where they are not six and three sound numbers. */
export function planeOf(position: readonly number[], orientation: readonly number[]): Plane | undefined {
  const [x, y, z] = position;
  const [a, b, c, d, e, f] = orientation;
  if (x === undefined || y === undefined || z === undefined) return undefined;
  if (a === undefined || b === undefined || c === undefined) return undefined;
  if (d === undefined || e === undefined || f === undefined) return undefined;
  const row = unit([a, b, c]);
  const column = unit([d, e, f]);
  if (row === undefined || column === undefined || Math.abs(dot(row, column)) > 0.01) return undefined;
  return { position: [x, y, z], row, column };
}

const normalOf = (plane: Plane): Vector => cross(plane.row, plane.column);

/** Whether all planes look the same way. */
export function areParallel(planes: readonly Plane[]): boolean {
  const [first] = planes;
  if (first === undefined) return false;
  return planes.every(
    (plane) => 1 - dot(plane.row, first.row) < PARALLEL && 1 - dot(plane.column, first.column) < PARALLEL,
  );
}

/** How far each plane is along their common normal, in millimetres. */
export function depths(planes: readonly Plane[]): number[] {
  const [first] = planes;
  if (first === undefined) return [];
  const normal = normalOf(first);
  return planes.map((plane) => dot(subtract(plane.position, first.position), normal));
}

/** Whether no two of these depths are the same. */
export function areDistinct(depthsOf: readonly number[]): boolean {
  const sorted = depthsOf.toSorted((a, b) => a - b);
  return sorted.every((depth, index) => index === 0 || depth - (sorted[index - 1] as number) > SAME_PLACE);
}

/** The usual distance between neighbours of these depths, in order; undefined where they differ too much. */
export function evenDistance(depthsOf: readonly number[]): number | undefined {
  const distances = depthsOf.slice(1).map((depth, index) => Math.abs(depth - (depthsOf[index] as number)));
  const usual = distances.toSorted((a, b) => a - b)[Math.floor(distances.length / 2)];
  if (usual === undefined || usual <= SAME_PLACE) return undefined;
  return distances.every((distance) => Math.abs(distance - usual) <= usual * UNEVEN) ? usual : undefined;
}

/** What the patient's side is called in a direction (PS3.3 §C.7.6.1.1.1): `L`, `PL`; the strongest first, at most two. */
export function letters(direction: Vector): string {
  const names = [
    ['R', 'L'],
    ['A', 'P'],
    ['F', 'H'],
  ] as const;
  return direction
    .map((part, axis) => ({ part, name: names[axis as 0 | 1 | 2][part < 0 ? 0 : 1] }))
    .filter(({ part }) => Math.abs(part) > 0.2)
    .toSorted((a, b) => Math.abs(b.part) - Math.abs(a.part))
    .slice(0, 2)
    .map(({ name }) => name)
    .join('');
}
