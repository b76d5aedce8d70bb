/**
 * Owns THE error table: each name with its Orthanc status number, message, HTTP status and DIMSE status, and the one
 * error class that the whole program throws. Numbers and messages are those that Orthanc's clients compare.
 */

interface ErrorRow {
  /** `OrthancStatus` of the JSON error body. */
  readonly orthanc: number;
  /** `Message` and `OrthancError` of the JSON error body. */
  readonly message: string;
  readonly http: number;
  /** Status of a C-STORE response (PS3.4 §B.2.3); 0110H "processing failure" unless a better one exists. */
  readonly dimse: number;
}

const row = (orthanc: number, message: string, http = 500, dimse = 0x0110): ErrorRow => ({
  orthanc,
  message,
  http,
  dimse,
});

/** Every error that a client can meet, by name. */
export const ERRORS = {
  InternalError: row(-1, 'Internal error'),
  NotImplemented: row(2, 'Not implemented yet', 501),
  ParameterOutOfRange: row(3, 'Parameter out of range', 400),
  NotEnoughMemory: row(4, 'The server hosting Orthanc is running out of memory', 500, 0xa700),
  BadParameterType: row(5, 'Bad type for a parameter', 400),
  BadSequenceOfCalls: row(6, 'Bad sequence of calls', 400),
  InexistentItem: row(7, 'Accessing an inexistent item', 404),
  BadRequest: row(8, 'Bad request', 400),
  NetworkProtocol: row(9, 'Error in the network protocol'),
  Database: row(11, 'Error with the database engine'),
  UriSyntax: row(12, 'Badly formatted URI', 400),
  InexistentFile: row(13, 'Inexistent file', 404),
  CannotWriteFile: row(14, 'Cannot write to file', 500, 0xa700),
  BadFileFormat: row(15, 'Bad file format', 400, 0xc000),
  Timeout: row(16, 'Timeout'),
  UnknownResource: row(17, 'Unknown resource', 404),
  IncompatibleDatabaseVersion: row(18, 'Incompatible version of the database'),
  FullStorage: row(19, 'The file storage is full', 507, 0xa700),
  CorruptedFile: row(20, 'Corrupted file (e.g. inconsistent MD5 hash)'),
  InexistentTag: row(21, 'Inexistent tag', 404),
  ReadOnly: row(22, 'Cannot modify a read-only data structure'),
  IncompatibleImageFormat: row(23, 'Incompatible format of the images'),
  IncompatibleImageSize: row(24, 'Incompatible size of the images'),
  UnknownDicomTag: row(27, 'Unknown DICOM tag', 500),
  BadJson: row(28, 'Cannot parse a JSON document', 400),
  Unauthorized: row(29, 'Bad credentials were provided to an HTTP request', 401),
  NotAcceptable: row(34, 'Cannot send a response which is acceptable according to the Accept HTTP header', 406),
  NullPointer: row(35, 'Cannot handle a NULL pointer'),
  DatabaseUnavailable: row(36, 'The database is currently not available (probably a transient situation)', 503, 0xa700),
  CanceledJob: row(37, 'This job was canceled'),
  BadRange: row(41, 'Incorrect range request', 416),
  Revision: row(43, 'A bad revision number was provided, which might indicate conflict between multiple writers', 409),
  ForbiddenAccess: row(45, 'Access to a resource is forbidden', 403),
  DuplicateResource: row(46, 'Duplicate resource', 409),
  NoPresentationContext: row(2015, 'DicomUserConnection: No acceptable presentation context for modality'),
  FindUnavailable: row(2016, 'DicomUserConnection: The C-FIND command is not supported by the remote SCP'),
  MoveUnavailable: row(2017, 'DicomUserConnection: The C-MOVE command is not supported by the remote SCP'),
  CreateDicomOverrideTag: row(2020, 'Trying to override a value inherited from a parent module', 400),
  CreateDicomUseContent: row(2021, 'Use "Content" to inject an image into a new DICOM instance', 400),
  CreateDicomNoPayload: row(2022, 'No payload is present for one instance in the series', 400),
  CreateDicomUseDataUriScheme: row(
    2023,
    'The payload of the DICOM instance must be specified according to Data URI scheme',
    400,
  ),
  CreateDicomBadParent: row(2024, 'Trying to attach a new DICOM instance to an inexistent resource', 400),
  CreateDicomParentIsInstance: row(
    2025,
    'Trying to attach a new DICOM instance to an instance (must be a series, study or patient)',
    400,
  ),
  GetUnavailable: row(2045, 'DicomUserConnection: The C-GET command is not supported by the remote SCP'),
  /** Ours: a bounded queue is full; the caller retries. */
  Busy: row(36, 'The server is busy, try again later', 503, 0xa700),
} as const satisfies Record<string, ErrorRow>;

export type ErrorName = keyof typeof ERRORS;

/** What {@link IsenError} takes besides its name and details. */
export interface IsenErrorOptions extends ErrorOptions {
  /** HTTP status that differs from the table's for this one case. */
  readonly http?: number;
}

/** The one error class. `details` is shown to the client (`Details` of the JSON body): no patient data in it. */
export class IsenError extends Error {
  override readonly name = 'IsenError';
  readonly code: ErrorName;
  readonly details: string | undefined;
  readonly http: number;

  constructor(code: ErrorName, details?: string, options: IsenErrorOptions = {}) {
    super(details === undefined ? ERRORS[code].message : `${ERRORS[code].message}: ${details}`, options);
    this.code = code;
    this.details = details;
    this.http = options.http ?? ERRORS[code].http;
  }

  get orthancStatus(): number {
    return ERRORS[this.code].orthanc;
  }

  get dimseStatus(): number {
    return ERRORS[this.code].dimse;
  }
}

/** Whether an engine is away: its connection says so once, and nobody else needs to. */
export function isAway(thrown: unknown): boolean {
  return thrown instanceof IsenError && thrown.code === 'DatabaseUnavailable';
}

/** Any thrown thing as an {@link IsenError}; what is not one becomes InternalError with the original as `cause`. */
export function asIsenError(thrown: unknown): IsenError {
  if (thrown instanceof IsenError) return thrown;
  return new IsenError('InternalError', undefined, { cause: thrown });
}

/** The Error inside any thrown thing; not everything that is thrown is one. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(typeof thrown === 'string' ? thrown : 'unknown failure');
}
