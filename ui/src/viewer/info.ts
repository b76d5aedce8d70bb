/**
 * Owns what the viewer knows of one frame: its tags as the server's simplified JSON has them, with the functional groups of enhanced
 * images (PS3.3 §C.7.6.16) in the places where other images have the same things.
 */

import { type Plane, planeOf } from './geometry.ts';
import type { Voi } from './level.ts';

/** A data set in the simplified JSON: text (values separated by `\`) or the items of a sequence, by keyword. */
export type Tags = Readonly<Record<string, unknown>>;

/** A VOI window in values of the modality (PS3.3 §C.11.2.1.2). */
export interface Window {
  readonly center: number;
  readonly width: number;
  /** Window Center & Width Explanation, `''` where there is none. */
  readonly name: string;
}

/** Where distances of {@link FrameInfo.spacing} hold: in the patient, on the detector, or in a calibrated region of an ultrasound. */
export type SpacingKind = 'patient' | 'detector' | 'region';

export interface FrameInfo {
  readonly rows: number;
  readonly columns: number;
  readonly bitsStored: number;
  readonly signed: boolean;
  readonly photometric: string;
  readonly slope: number;
  readonly intercept: number;
  /** A table or the functional groups say how stored values become values of the modality: the server does it. */
  readonly tabled: boolean;
  /** Of the values, `HU`; `''` where nobody says. */
  readonly unit: string;
  readonly windows: readonly Window[];
  readonly voi: Voi;
  /** Millimetres between rows and between columns. */
  readonly spacing: readonly [number, number] | undefined;
  readonly spacingKind: SpacingKind | undefined;
  /** Height over width of a pixel, where there is no spacing. */
  readonly aspect: number;
  readonly plane: Plane | undefined;
  /** Millimetres. */
  readonly thickness: number | undefined;
  readonly location: number | undefined;
  readonly frameOfReference: string;
  readonly instanceNumber: number | undefined;
  /** Frames per second that the file asks for. */
  readonly rate: number | undefined;
  /** Texts of the header. */
  readonly texts: Readonly<Record<HeaderText, string>>;
}

/** Keywords of what is written over the image. */
const HEADER_TEXTS = [
  'PatientName',
  'PatientID',
  'PatientBirthDate',
  'PatientSex',
  'StudyDate',
  'StudyTime',
  'StudyDescription',
  'AccessionNumber',
  'InstitutionName',
  'Modality',
  'SeriesNumber',
  'SeriesDescription',
  'SOPInstanceUID',
  'StudyInstanceUID',
  'SeriesInstanceUID',
  'ImageLaterality',
  'ViewPosition',
] as const;
type HeaderText = (typeof HEADER_TEXTS)[number];

const text = (tags: Tags, keyword: string): string => {
  const value = tags[keyword];
  return typeof value === 'string' ? value.trim() : '';
};

/** The numbers of an element; what is none is left out. */
export function numbers(tags: Tags, keyword: string): number[] {
  const value = text(tags, keyword);
  if (value === '') return [];
  return value
    .split('\\')
    .map((part) => (part.trim() === '' ? Number.NaN : Number(part)))
    .filter(Number.isFinite);
}

const items = (tags: Tags | undefined, keyword: string): readonly Tags[] => {
  const value = tags?.[keyword];
  return Array.isArray(value) ? (value as Tags[]) : [];
};

/** The first of these data sets that has the element. */
const scopeWith = (scopes: readonly Tags[], keyword: string): Tags =>
  scopes.find((scope) => text(scope, keyword) !== '') ?? {};

const positivePair = ([a, b]: readonly number[]): readonly [number, number] | undefined =>
  a !== undefined && b !== undefined && a > 0 && b > 0 ? [a, b] : undefined;

/** Spacing of ultrasound regions (PS3.3 §C.8.5.5) where all that are measured in centimetres have the same. */
function regionSpacing(tags: Tags): readonly [number, number] | undefined {
  const regions = items(tags, 'SequenceOfUltrasoundRegions').filter(
    (region) =>
      text(region, 'PhysicalUnitsXDirection') === '3' &&
      text(region, 'PhysicalUnitsYDirection') === '3' &&
      text(region, 'RegionSpatialFormat') === '1',
  );
  const pairs = regions.map((region) =>
    positivePair([
      Math.abs(numbers(region, 'PhysicalDeltaY')[0] ?? 0) * 10,
      Math.abs(numbers(region, 'PhysicalDeltaX')[0] ?? 0) * 10,
    ]),
  );
  const [first] = pairs;
  const isSame = pairs.every((pair) => pair?.[0] === first?.[0] && pair?.[1] === first?.[1]);
  return isSame ? first : undefined;
}

function spacingOf(
  tags: Tags,
  measures: readonly Tags[],
): { spacing: FrameInfo['spacing']; spacingKind: FrameInfo['spacingKind'] } {
  const patient = positivePair(numbers(scopeWith([...measures, tags], 'PixelSpacing'), 'PixelSpacing'));
  if (patient !== undefined) return { spacing: patient, spacingKind: 'patient' };
  const detector = positivePair(numbers(tags, 'ImagerPixelSpacing'));
  if (detector !== undefined) return { spacing: detector, spacingKind: 'detector' };
  const region = regionSpacing(tags);
  return { spacing: region, spacingKind: region && 'region' };
}

function windowsOf(scopes: readonly Tags[]): Window[] {
  const scope = scopeWith(scopes, 'WindowCenter');
  const widths = numbers(scope, 'WindowWidth');
  const names = text(scope, 'WindowCenterWidthExplanation').split('\\');
  return numbers(scope, 'WindowCenter').flatMap((center, index) => {
    const width = widths[index];
    return width === undefined || width <= 0 ? [] : [{ center, width, name: names[index]?.trim() ?? '' }];
  });
}

function rateOf(tags: Tags): number | undefined {
  const [time] = numbers(tags, 'FrameTime');
  const [rate] = [
    ...numbers(tags, 'RecommendedDisplayFrameRate'),
    ...numbers(tags, 'CineRate'),
    ...(time === undefined || time <= 0 ? [] : [1000 / time]),
  ];
  return rate !== undefined && rate > 0 ? Math.min(60, Math.max(1, Math.round(rate))) : undefined;
}

function unitOf(tags: Tags): string {
  const type = text(tags, 'RescaleType');
  if (type !== '' && type !== 'US') return type;
  // The Standard has no other for CT (PS3.3 §C.8.2.1).
  if (text(tags, 'Modality') === 'CT' && text(tags, 'RescaleIntercept') !== '') return 'HU';
  const units = text(tags, 'Units');
  return units === 'BQML' ? 'Bq/ml' : units === 'CNTS' ? 'counts' : units;
}

/** Whether the instance has pixels that could be shown. */
export function hasPixels(tags: Tags): boolean {
  return numbers(tags, 'Rows').length > 0 && numbers(tags, 'Columns').length > 0;
}

/** How many frames the instance has. */
export function frameCount(tags: Tags): number {
  const [frames = 1] = numbers(tags, 'NumberOfFrames');
  return Number.isInteger(frames) && frames > 0 ? Math.min(frames, MOST_FRAMES) : 1;
}

/** What a wrong Number of Frames may make the viewer believe at most. */
const MOST_FRAMES = 100_000;

/** What the data set says of frame `frame`, counted from 0. */
export function infoOf(tags: Tags, frame = 0): FrameInfo {
  const groups = [
    ...items(tags, 'PerFrameFunctionalGroupsSequence').slice(frame, frame + 1),
    ...items(tags, 'SharedFunctionalGroupsSequence').slice(0, 1),
  ];
  const macro = (keyword: string): Tags[] => groups.flatMap((group) => items(group, keyword).slice(0, 1));
  const measures = macro('PixelMeasuresSequence');
  const voi = [...macro('FrameVOILUTSequence'), tags];
  const position = scopeWith([...macro('PlanePositionSequence'), tags], 'ImagePositionPatient');
  const orientation = scopeWith([...macro('PlaneOrientationSequence'), tags], 'ImageOrientationPatient');
  const transformation = macro('PixelValueTransformationSequence');
  const [rows = 0] = numbers(tags, 'Rows');
  const [columns = 0] = numbers(tags, 'Columns');
  const [slope = 1] = numbers(tags, 'RescaleSlope');
  const [intercept = 0] = numbers(tags, 'RescaleIntercept');
  const aspect = positivePair(numbers(tags, 'PixelAspectRatio'));
  const voiFunction = text(scopeWith(voi, 'VOILUTFunction'), 'VOILUTFunction');
  return {
    rows,
    columns,
    bitsStored: numbers(tags, 'BitsStored')[0] ?? 8,
    signed: numbers(tags, 'PixelRepresentation')[0] === 1,
    photometric: text(tags, 'PhotometricInterpretation'),
    slope: slope === 0 ? 1 : slope,
    intercept,
    tabled: transformation.length > 0 || items(tags, 'ModalityLUTSequence').length > 0,
    unit: unitOf({ ...tags, ...transformation.at(0) }),
    windows: windowsOf(voi),
    voi: voiFunction === 'SIGMOID' || voiFunction === 'LINEAR_EXACT' ? voiFunction : 'LINEAR',
    ...spacingOf(tags, measures),
    aspect: aspect === undefined ? 1 : aspect[0] / aspect[1],
    plane: planeOf(numbers(position, 'ImagePositionPatient'), numbers(orientation, 'ImageOrientationPatient')),
    thickness: numbers(scopeWith([...measures, tags], 'SliceThickness'), 'SliceThickness')[0],
    location: numbers(tags, 'SliceLocation')[0],
    frameOfReference: text(tags, 'FrameOfReferenceUID'),
    instanceNumber: numbers(tags, 'InstanceNumber')[0],
    rate: rateOf(tags),
    texts: Object.fromEntries(HEADER_TEXTS.map((keyword) => [keyword, text(tags, keyword)])) as Record<
      HeaderText,
      string
    >,
  };
}
