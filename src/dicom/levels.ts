/**
 * Owns the four levels of the DICOM information model (PS3.3 §7) as Orthanc names them, and what hangs on a level as
 * data: its path in the REST API, its parent and child, its unique key, its main DICOM tags.
 */

/** From the root down. */
export const LEVELS = ['Patient', 'Study', 'Series', 'Instance'] as const;

export type Level = (typeof LEVELS)[number];

interface LevelRow {
  /** First segment of the REST path, and the name of the child list in the parent's JSON when capitalised. */
  readonly path: string;
  readonly parent: Level | undefined;
  readonly child: Level | undefined;
  /** Name of the child list in this level's JSON answer. */
  readonly children: string | undefined;
  /** Tag of the attribute that identifies a resource of this level, `gggg,eeee`. */
  readonly key: string;
  /**
   * Tags kept in the index, `gggg,eeee` in ascending order; `MainDicomTagsSignature` is these joined by `;`. See {@link keepBesides}.
   */
  readonly mainDicomTags: readonly string[];
}

/** What Orthanc keeps of every resource in its index; `gggg,eeee` in ascending order. */
const BUILT_IN: Readonly<Record<Level, readonly string[]>> = {
  Patient: ['0010,0010', '0010,0020', '0010,0030', '0010,0040', '0010,1000'],
  Study: [
    '0008,0020',
    '0008,0030',
    '0008,0050',
    '0008,0080',
    '0008,0090',
    '0008,0201',
    '0008,1030',
    '0020,000d',
    '0020,0010',
    '0032,1032',
    '0032,1060',
  ],
  Series: [
    '0008,0021',
    '0008,0031',
    '0008,0060',
    '0008,0070',
    '0008,0201',
    '0008,1010',
    '0008,103e',
    '0008,1070',
    '0018,0010',
    '0018,0015',
    '0018,0024',
    '0018,1030',
    '0018,1090',
    '0018,1400',
    '0020,000e',
    '0020,0011',
    '0020,0037',
    '0020,0105',
    '0020,1002',
    '0040,0244',
    '0040,0245',
    '0040,0254',
    '0040,0275',
    '0054,0081',
    '0054,0101',
    '0054,1000',
  ],
  Instance: [
    '0008,0012',
    '0008,0013',
    '0008,0018',
    '0020,0012',
    '0020,0013',
    '0020,0032',
    '0020,0037',
    '0020,0100',
    '0020,4000',
    '0028,0008',
    '0054,1330',
  ],
};

let current = BUILT_IN;

/**
 * Has tags (`gggg,eeee`) kept in the index besides the built-in ones (`ExtraMainDicomTags`), in place of those of an earlier call. Before
 * anything is read, and in each thread that reads for the index.
 */
export function keepBesides(extra: Readonly<Partial<Record<Level, readonly string[]>>>): void {
  current = Object.fromEntries(
    LEVELS.map((level) => [level, [...new Set([...BUILT_IN[level], ...(extra[level] ?? [])])].sort()]),
  ) as unknown as Record<Level, readonly string[]>;
}

/** Whether a level has more main tags than the built-in ones. */
export const hasMore = (level: Level): boolean => current[level].length > BUILT_IN[level].length;

/** One row a level. */
export const LEVEL: Readonly<Record<Level, LevelRow>> = {
  Patient: {
    path: 'patients',
    parent: undefined,
    child: 'Study',
    children: 'Studies',
    key: '0010,0020',
    get mainDicomTags() {
      return current.Patient;
    },
  },
  Study: {
    path: 'studies',
    parent: 'Patient',
    child: 'Series',
    children: 'Series',
    key: '0020,000d',
    get mainDicomTags() {
      return current.Study;
    },
  },
  Series: {
    path: 'series',
    parent: 'Study',
    child: 'Instance',
    children: 'Instances',
    key: '0020,000e',
    get mainDicomTags() {
      return current.Series;
    },
  },
  Instance: {
    path: 'instances',
    parent: 'Series',
    child: undefined,
    children: undefined,
    key: '0008,0018',
    get mainDicomTags() {
      return current.Instance;
    },
  },
};
