/**
 * Owns the table of options: each of Orthanc's options and of ours once, with its type, default and meaning. The typed
 * configuration, its parsing and its errors (config.ts) and docs/options.md all come from these rows.
 */

import { z } from 'zod';
import { isUsablePassword } from './password.ts';

/**
 * What becomes of an option. `read`: the program uses it (a test looks for its reader). `ignored`: accepted so that a
 * configuration written for Orthanc loads, but nothing here corresponds.
 */
export type OptionStatus = 'read' | 'ignored';

/** One row of {@link OPTIONS}. */
export interface Option<S extends z.ZodType = z.ZodType, T extends OptionStatus = OptionStatus> {
  readonly status: T;
  readonly schema: S;
  /** The values allowed, in words: shown in the documentation and in errors. */
  readonly allowed: string;
  readonly default: z.output<S>;
  /** The default in words, where it follows from other options. */
  readonly defaultMeaning?: string;
  readonly meaning: string;
  /** A file or folder: in a configuration file it is relative to that file's folder. */
  readonly path?: true;
  /** Members of an object that are such a file or folder. */
  readonly paths?: readonly string[];
  /** Never shown in an error or a log. */
  readonly secret?: true;
}

function flag<T extends OptionStatus>(status: T, initial: boolean, meaning: string) {
  return { status, schema: z.boolean(), allowed: 'true or false', default: initial, meaning };
}

function text<T extends OptionStatus>(status: T, initial: string, meaning: string) {
  return { status, schema: z.string(), allowed: 'a string', default: initial, meaning };
}

function path<T extends OptionStatus>(status: T, initial: string, meaning: string) {
  return { status, schema: z.string(), allowed: 'a path', default: initial, meaning, path: true as const };
}

function whole<T extends OptionStatus>(status: T, initial: number, meaning: string, least = 0, most = 2 ** 31 - 1) {
  const allowed = most === 2 ** 31 - 1 ? `a whole number from ${least}` : `a whole number from ${least} to ${most}`;
  return { status, schema: z.number().int().min(least).max(most), allowed, default: initial, meaning };
}

function choice<T extends OptionStatus, const V extends readonly [string, ...string[]]>(
  status: T,
  values: V,
  initial: V[number],
  meaning: string,
) {
  const allowed = values.map((value) => `"${value}"`).join(', ');
  return {
    status,
    schema: z.enum(values),
    allowed,
    default: initial,
    meaning,
  };
}

/** An AE title (PS3.5 §6.2): up to 16 characters, no backslash, not only spaces. */
const title = z.string().regex(/^(?=.*[^ ])[\x20-\x5b\x5d-\x7e]{1,16}$/);
const port = z.number().int().min(0).max(65535);
const object = z.record(z.string(), z.unknown());
const strings = z.array(z.string());
/** Numbers below 1024 are the server's own, for metadata and attachments alike. */
const userCode = z.number().int().min(1024).max(65535);

/** An address that a browser opens, not a script. */
const leadsElsewhere = (address: string): boolean =>
  URL.canParse(address) && ['http:', 'https:', 'weasis:'].includes(new URL(address).protocol);

const ENCODINGS = [
  'Ascii',
  'Utf8',
  'Latin1',
  'Latin2',
  'Latin3',
  'Latin4',
  'Latin5',
  'Cyrillic',
  'Windows1251',
  'Arabic',
  'Greek',
  'Hebrew',
  'Thai',
  'Japanese',
  'Chinese',
  'JapaneseKanji',
  'Korean',
  'SimplifiedChinese',
] as const;

/** Where the index is kept in PostgreSQL, with the keys of the reference server's plugin, and `Url` and `Schema`. */
const postgreSql = z.strictObject({
  Url: z.string().optional(),
  ConnectionUri: z.string().optional(),
  Host: z.string().default('localhost'),
  Port: port.default(5432),
  Database: z.string().default('orthanc'),
  Username: z.string().default('orthanc'),
  Password: z.string().default(''),
  EnableSsl: z.boolean().default(false),
  EnableIndex: z.boolean().default(true),
  EnableStorage: z.literal(false).default(false),
  /** Of the tables, made when it is not there. */
  Schema: z
    .string()
    .regex(/^[a-z_][a-z0-9_]{0,62}$/)
    .default('isen'),
  MaximumConnectionRetries: z.number().int().min(0).default(10),
  /** Seconds. */
  ConnectionRetryInterval: z.number().int().min(0).max(3600).default(5),
  IndexConnectionsCount: z.number().int().min(1).max(1000).default(20),
  // Several servers may always share the index, and each transaction chooses its mode.
  Lock: z.boolean().optional(),
  TransactionMode: z.string().optional(),
});

/** Where several servers share the log of changes and the queues. */
const redis = z.strictObject({
  Url: z
    .string()
    .regex(/^rediss?:\/\//)
    .default('redis://localhost:6379'),
  /** Begins every key; its hash tag keeps them in one slot of a Redis Cluster. */
  Prefix: z
    .string()
    .regex(/^[^\s:]{1,64}$/)
    .default('{isen}'),
  Username: z.string().optional(),
  Password: z.string().optional(),
  EnableTls: z.boolean().default(false),
  /** File of the authorities (PEM) that the server's certificate may come from. */
  TlsTrustedCertificates: z.string().optional(),
  /** `host:port` each. */
  Sentinels: z.array(z.string().regex(/^[^\s]+:\d{1,5}$/)).default([]),
  SentinelName: z.string().default('mymaster'),
  SentinelPassword: z.string().optional(),
  /** Some of the nodes of a Redis Cluster, `host:port` each. */
  Nodes: z.array(z.string().regex(/^[^\s]+:\d{1,5}$/)).default([]),
});

/** A bucket, with our own keys. */
const bucket = z.strictObject({
  Bucket: z.string().min(3),
  Endpoint: z.url().optional(),
  Region: z.string().min(1).default('us-east-1'),
  AccessKey: z.string().optional(),
  SecretKey: z.string().optional(),
  VirtualAddressing: z.boolean().default(false),
  Prefix: z
    .string()
    .regex(/^[^/].*$|^$/)
    .default(''),
  /** Seconds. */
  ConnectionTimeout: z.number().int().min(1).max(300).default(5),
  RequestTimeout: z.number().int().min(1).max(3600).default(60),
});

/** The same with the keys of the reference server's plugin. */
const awsBucket = z
  .object({
    BucketName: z.string().min(3),
    Region: z.string().min(1).default('us-east-1'),
    AccessKey: z.string().optional(),
    SecretKey: z.string().optional(),
    Endpoint: z.string().optional(),
    RootPath: z.string().default(''),
    VirtualAddressing: z.boolean().default(true),
    ConnectionTimeout: z.number().int().min(1).max(300).default(30),
    RequestTimeout: z.number().int().min(1).max(3600).default(1200),
  })
  .transform(({ BucketName, RootPath, Endpoint, ...rest }) =>
    bucket.parse({
      ...rest,
      Bucket: BucketName,
      Prefix: RootPath.replace(/^\/+/, ''),
      ...(Endpoint === undefined || Endpoint === ''
        ? {}
        : { Endpoint: /^https?:/.test(Endpoint) ? Endpoint : `https://${Endpoint}` }),
    }),
  );

/** Every option, in the order of the documentation. */
export const OPTIONS = {
  Name: text('read', 'Isen', 'Name of this server, shown by /system and by user interfaces.'),
  StorageDirectory: path('read', 'IsenStorage', 'Folder that holds the DICOM files and attachments.'),
  IndexDirectory: {
    ...path('read', '', 'Folder that holds the SQLite index.'),
    defaultMeaning: 'the value of StorageDirectory',
  },
  PostgreSQL: {
    status: 'read' as const,
    schema: postgreSql.nullable(),
    allowed:
      'an object: Url ("postgresql://user:password@host:port/database?sslmode=…"), or Host, Port, Database, Username, Password and EnableSsl; Schema (lower case letters, digits and underscores); MaximumConnectionRetries, ConnectionRetryInterval in seconds, IndexConnectionsCount from 1',
    default: null,
    meaning:
      "Keeps the index in PostgreSQL instead of SQLite. Keys of the reference server's plugin are understood; the files stay where they are without it, so EnableStorage must be false.",
    secret: true as const,
  },
  Redis: {
    status: 'read' as const,
    schema: redis.nullable(),
    allowed:
      'an object: Url ("redis://user:password@host:port/database", "rediss://…" for TLS), or Username, Password and EnableTls beside it; TlsTrustedCertificates (a PEM file); Sentinels (["host:port", …]) with SentinelName and SentinelPassword; Nodes (["host:port", …]) of a Redis Cluster; Prefix of every key',
    default: null,
    meaning:
      'Keeps the queues and the log of changes in Redis (6.2 or later), so that every server that names it works on the same jobs and shows the same changes. SaveJobs is true then.',
    paths: ['TlsTrustedCertificates'],
    secret: true as const,
  },
  S3: {
    status: 'read' as const,
    schema: bucket.nullable(),
    allowed:
      "an object: Bucket, Endpoint (a URL; without it Amazon), Region, AccessKey and SecretKey (without them the environment's), VirtualAddressing, Prefix, ConnectionTimeout and RequestTimeout in seconds",
    default: null,
    meaning:
      'Keeps the DICOM files and attachments in a bucket of an S3-compatible object storage instead of StorageDirectory.',
    secret: true as const,
  },
  AwsS3Storage: {
    status: 'read' as const,
    schema: awsBucket.nullable(),
    allowed:
      "an object with the keys of the reference server's plugin: BucketName, Region, AccessKey, SecretKey, Endpoint…",
    default: null,
    meaning: 'The same as S3, in the words of a configuration written for the reference server.',
    secret: true as const,
  },
  NodeName: {
    ...text(
      'read',
      '',
      'Name of this server among those that share its storage, the same after each restart. Of servers that share a folder each needs one.',
    ),
    defaultMeaning: 'the name of the machine with S3, none with a folder',
  },
  MaximumStorageSize: whole('read', 0, 'Most disk space the attachments may take, in MB. 0 means no limit.'),
  MaximumPatientCount: whole('read', 0, 'Most patients that may be stored. 0 means no limit.'),
  MaximumStorageMode: choice(
    'read',
    ['Recycle', 'Reject'],
    'Recycle',
    'What happens when a limit is reached: "Recycle" deletes the patients that were touched longest ago (never protected ones), "Reject" refuses new instances.',
  ),
  MinimumFreeDiskMB: whole(
    'read',
    512,
    'Uploads are refused while the disk of the storage has less free space than this, in MB. 0 turns the check off.',
  ),
  OverwriteInstances: {
    status: 'read' as const,
    schema: z
      .union([z.boolean(), z.enum(['Never', 'Always', 'IfChanged'])])
      .transform((value) => (value === true ? 'Always' : value === false ? 'Never' : value)),
    allowed: '"Never", "Always", "IfChanged", or true (Always) or false (Never)',
    default: 'Never' as const,
    meaning: 'Whether an instance that is stored already is replaced when it arrives again.',
  },
  StableAge: whole(
    'read',
    60,
    'Seconds without a new instance after which a patient, study or series counts as stable; up to a tenth more while many come, one at most.',
  ),
  SyncStorageArea: flag(
    'read',
    true,
    'Whether files are flushed to the disk before an upload is answered. Turning it off is faster and loses what was acknowledged last when the power fails.',
  ),
  StoreMD5ForAttachments: flag('read', true, 'Whether the MD5 of each attachment is computed and kept.'),
  StorageCompression: flag('read', false, 'Whether attachments are stored zlib-compressed.'),
  UserMetadata: {
    status: 'read' as const,
    schema: z.record(z.string(), userCode),
    allowed: 'an object of names with numbers from 1024 to 65535: { "sample": 1024 }',
    default: {},
    meaning: 'Names for user-defined metadata.',
  },
  UserContentType: {
    status: 'read' as const,
    schema: z.record(
      z.string(),
      z
        .union([userCode, z.tuple([userCode, z.string()])])
        .transform((value) =>
          typeof value === 'number'
            ? { code: value, mime: 'application/octet-stream' }
            : { code: value[0], mime: value[1] },
        ),
    ),
    allowed:
      'an object of names with a number from 1024 to 65535, or with a number and a MIME type: { "report": [1025, "application/pdf"] }',
    default: {},
    meaning: 'Names for user-defined attachments.',
  },
  ReadOnly: flag('read', false, 'Refuses every request that would change what is stored.'),
  CheckRevisions: flag(
    'read',
    false,
    'Whether metadata and attachments carry revisions, so that two clients cannot overwrite each other unseen.',
  ),
  PatientLevelEnabled: flag('ignored', true, 'Whether the patient level is offered. It always is here.'),
  DefaultEncoding: choice(
    'read',
    ENCODINGS,
    'Latin1',
    'Character set assumed for a DICOM file that names none (Specific Character Set absent).',
  ),
  LimitFindResults: whole('read', 0, 'Most resources that one search answers above the instance level. 0: no limit.'),
  LimitFindInstances: whole('read', 0, 'Most instances that one search answers. 0: no limit.'),
  StorageAccessOnFind: choice(
    'read',
    ['Always', 'Never', 'Answers'],
    'Always',
    'Whether a search may read files for attributes that the index does not hold.',
  ),
  CaseSensitivePN: flag('read', false, 'Whether searches compare person names case-sensitively.'),
  ExtraMainDicomTags: {
    status: 'read' as const,
    schema: z.record(z.enum(['Patient', 'Study', 'Series', 'Instance']), strings.optional()),
    allowed: 'an object of "Patient", "Study", "Series", "Instance" with lists of attributes',
    default: {},
    meaning:
      'Attributes that are indexed beside the built-in ones, of what is received from now on; reconstruction (`/tools/reconstruct`) indexes those of what is there.',
  },
  Warnings: {
    status: 'ignored' as const,
    schema: z.record(z.string(), z.boolean()),
    allowed: 'an object of warning names with true or false',
    default: {
      W001_TagsBeingReadFromStorage: true,
      W002_InconsistentDicomTagsInDb: true,
      W003_DecoderFailure: true,
      W004_NoMainDicomTagsSignature: true,
      W005_RequestingTagFromLowerResourceLevel: true,
      W006_RequestingTagFromMetaHeader: true,
      W007_MissingRequestedTagsNotReadFromDisk: true,
    },
    meaning: 'Single warnings of the log, on or off.',
  },

  HttpServerEnabled: flag('read', true, 'Whether the REST API is served.'),
  HttpPort: {
    ...whole('read', 8042, 'TCP port of the REST API. 0 takes any free port.'),
    schema: port,
    allowed: 'a port from 0 to 65535',
  },
  RemoteAccessAllowed: flag(
    'read',
    false,
    'Whether other machines may connect. Unless true, every request of theirs is answered 403.',
  ),
  AuthenticationEnabled: {
    ...flag('read', false, 'Whether every request needs the name and password of a registered user (HTTP Basic).'),
    defaultMeaning: 'the value of RemoteAccessAllowed',
  },
  RegisteredUsers: {
    status: 'read' as const,
    schema: z.record(z.string().regex(/^[^:]+$/), z.string().refine(isUsablePassword)),
    allowed: 'an object of user names (without colon) with passwords, or with what `isen hash-password` prints',
    default: {},
    meaning: 'The users of the REST API.',
    secret: true as const,
  },
  ReadOnlyUsers: {
    status: 'read' as const,
    schema: strings,
    allowed: 'an array of names of RegisteredUsers',
    default: [],
    meaning: 'Users who may look, search and download, but change, send and administer nothing.',
  },
  Viewers: {
    status: 'read' as const,
    schema: z.record(z.string().min(1), z.string().refine(leadsElsewhere)),
    allowed: 'an object of names with addresses (of http, https or weasis)',
    default: {},
    meaning:
      'Other viewers that the web interface links to. In an address, {StudyInstanceUID}, {SeriesInstanceUID}, {id} (of the study) and {series} stand for what is shown.',
  },
  SslEnabled: flag('read', false, 'Whether the REST API is served over HTTPS.'),
  SslCertificate: path('read', 'certificate.pem', 'PEM file that holds the certificate and its private key.'),
  SslVerifyPeers: flag('read', false, 'Whether HTTPS clients must present a certificate.'),
  SslTrustedClientCertificates: path(
    'read',
    'trustedClientCertificates.pem',
    'PEM file of the certificates that HTTPS clients are checked against.',
  ),
  SslMinimumProtocolVersion: whole(
    'read',
    4,
    'Oldest TLS version of HTTPS: 0 to 2 is TLS 1.0, 3 is TLS 1.1, 4 is TLS 1.2, 5 and 6 are TLS 1.3.',
    0,
    6,
  ),
  SslCiphersAccepted: {
    status: 'read' as const,
    schema: strings,
    allowed: 'a list of cipher names',
    default: [],
    meaning: 'Ciphers that HTTPS accepts, as OpenSSL names them. Empty: the defaults of Node.js.',
  },
  HttpDescribeErrors: flag('read', true, 'Whether an error answers a JSON body that describes it.'),
  HttpCompressionEnabled: flag('read', false, 'Whether answers are compressed for clients that accept it.'),
  KeepAlive: flag('read', true, 'Whether connections stay open between requests.'),
  KeepAliveTimeout: whole('read', 1, 'Seconds that an idle connection stays open.', 0, 86400),
  HttpRequestTimeout: whole('read', 30, 'Seconds that a client may stay silent in the middle of a request.', 1, 86400),
  ShutdownDelay: whole(
    'read',
    0,
    'Seconds between the signal to stop and its beginning, in which /health/ready answers 503: a balancer sends requests to other servers from then on.',
    0,
    3600,
  ),
  MaximumRequestBodySizeMB: whole('read', 8192, 'Largest body of a request, in MB. 0 means no limit.'),
  MaximumInFlightMB: whole(
    'read',
    256,
    'Memory for uploads that are being received, in MB. Above it clients wait, and then are answered 503 with Retry-After.',
    64,
  ),
  MetricsEnabled: flag('read', true, 'Whether metrics are collected and shown at /tools/metrics-prometheus.'),
  RestApiWriteToFileSystemEnabled: flag('read', false, 'Whether requests may name files of the server to write to.'),
  OrthancExplorerEnabled: flag('read', true, 'Whether the web interface is served, and / leads to it.'),
  WebDavEnabled: flag('read', true, 'Whether the WebDAV server is offered.'),
  WebDavDeleteAllowed: flag('read', false, 'Whether WebDAV clients may delete.'),
  WebDavUploadAllowed: flag('read', true, 'Whether WebDAV clients may upload.'),
  ZipUseUtf8: flag('read', false, 'Whether the names of folders in archives may have letters outside ASCII.'),
  SynchronousZipStream: flag(
    'read',
    true,
    'Whether archives are streamed while they are made; otherwise each is made as a file of the storage first, and its size is known.',
  ),
  MaximumFileSizeInArchiveMB: whole(
    'read',
    4096,
    'Largest file, expanded, that is taken out of an uploaded archive, in MB: one with a larger file is refused from there on. 0 means no limit.',
  ),
  MediaArchiveSize: whole('read', 1, 'How many archives made by jobs are kept for download.'),

  DicomServerEnabled: flag('read', true, 'Whether the DICOM server (SCP) runs.'),
  DicomAet: {
    status: 'read' as const,
    schema: title,
    allowed: 'an AE title of 1 to 16 characters',
    default: 'ISEN',
    meaning: 'AE title of this server.',
  },
  DicomPort: {
    ...whole('read', 4242, 'TCP port of the DICOM server, on every interface. 0 takes any free port.'),
    schema: port,
    allowed: 'a port from 0 to 65535',
  },
  DicomCheckCalledAet: flag('read', false, 'Whether an association must call this server by its AE title.'),
  DicomCheckModalityHost: flag('read', false, 'Whether the address of a modality must be the configured one.'),
  StrictAetComparison: flag('read', false, 'Whether AE titles are compared case-sensitively.'),
  DicomModalities: {
    status: 'read' as const,
    schema: z.record(z.string(), z.union([z.array(z.unknown()).min(3), object])),
    allowed: 'an object of names with [AET, host, port] or { "AET", "Host", "Port", … }',
    default: {},
    meaning: 'The DICOM modalities that this server knows.',
  },
  Routes: {
    status: 'read' as const,
    schema: z.union([z.array(object), object]),
    allowed: 'a list of rules, each with "Name", or an object of rules by name',
    default: [],
    meaning: 'Routing rules: which instances go to which modalities. See the README.',
  },
  DicomModalitiesInDatabase: flag('read', false, 'Whether modalities set over the REST API are kept in the index.'),
  DicomAlwaysAllowEcho: flag('read', true, 'Whether modalities that are not known may send C-ECHO.'),
  DicomAlwaysAllowStore: flag('read', true, 'Whether modalities that are not known may send C-STORE.'),
  DicomAlwaysAllowFind: flag('read', false, 'Whether modalities that are not known may send C-FIND.'),
  DicomAlwaysAllowFindWorklist: flag('read', false, 'Whether modalities that are not known may query worklists.'),
  DicomAlwaysAllowGet: flag('read', false, 'Whether modalities that are not known may send C-GET.'),
  DicomAlwaysAllowMove: flag('read', false, 'Whether modalities that are not known may send C-MOVE.'),
  DicomEchoChecksFind: flag('read', false, 'Whether testing a modality also checks that it answers C-FIND.'),
  DicomDefaultRetrieveMethod: choice('read', ['C-MOVE', 'C-GET'], 'C-MOVE', 'How query results are retrieved.'),
  DicomAssociationCloseDelay: whole('read', 5, 'Seconds after which an idle outgoing association is released.'),
  DicomScpTimeout: whole('read', 30, 'Seconds of silence after which the DICOM server ends an association. 0: never.'),
  DicomScuTimeout: whole('read', 10, 'Seconds that a modality may take to answer. 0: no limit.'),
  DicomScuPreferredTransferSyntax: text('read', '1.2.840.10008.1.2.1', 'Transfer syntax proposed first when sending.'),
  MaximumPduLength: whole(
    'read',
    131072,
    'Largest PDU that is received, in bytes. Senders take less time with large ones.',
    4096,
    131072,
  ),
  AcceptedTransferSyntaxes: {
    status: 'read' as const,
    schema: z.union([z.string(), strings]),
    allowed: 'a list of transfer syntax UIDs, with * and ? as wildcards',
    default: ['1.2.840.10008.1.*'],
    meaning: 'Transfer syntaxes that the DICOM server accepts.',
  },
  AcceptedSopClasses: {
    status: 'read' as const,
    schema: strings,
    allowed: 'a list of SOP Class UIDs',
    default: [],
    meaning: 'SOP classes that the DICOM server accepts. Empty: all storage classes.',
  },
  RejectedSopClasses: {
    status: 'read' as const,
    schema: strings,
    allowed: 'a list of SOP Class UIDs',
    default: [],
    meaning: 'SOP classes that the DICOM server refuses.',
  },
  UnknownSopClassAccepted: flag('read', false, 'Whether the DICOM server accepts SOP classes that it does not know.'),
  Worklists: {
    status: 'read' as const,
    schema: z.strictObject({
      Enable: z.boolean().default(false),
      Database: z.string().default('WorklistsDatabase'),
      FilterIssuerAet: z.boolean().default(false),
      LimitAnswers: z.number().int().min(0).default(0),
    }),
    allowed: 'an object of "Enable", "Database" (a folder), "FilterIssuerAet" and "LimitAnswers"',
    paths: ['Database'],
    default: { Enable: false, Database: 'WorklistsDatabase', FilterIssuerAet: false, LimitAnswers: 0 },
    meaning:
      'The modality worklist: C-FIND over the .wl files of a folder, of which (FilterIssuerAet) a modality sees only those scheduled for its AE title. LimitAnswers 0: no limit.',
  },
  SynchronousCMove: flag('read', true, 'Whether C-MOVE is answered only when all instances are sent.'),
  QueryRetrieveSize: whole('read', 100, 'How many queries to modalities are remembered.'),
  StorageCommitmentReportsSize: whole('read', 100, 'How many storage commitment reports are remembered.'),
  TranscodeDicomProtocol: flag('read', true, 'Whether instances are transcoded for modalities that need it.'),
  IngestTranscoding: text(
    'read',
    '',
    'UID of the transfer syntax that received instances are stored in; one that it cannot hold is stored as received. Empty: all are.',
  ),
  IngestTranscodingOfCompressed: flag(
    'read',
    true,
    'Whether IngestTranscoding touches instances that are not uncompressed (implicit and explicit VR, big endian).',
  ),
  IngestTranscodingOfUncompressed: flag('read', true, 'Whether IngestTranscoding touches uncompressed instances.'),
  DicomLossyTranscodingQuality: whole(
    'read',
    90,
    'Quality of lossy transcoding where nobody asks for another.',
    1,
    100,
  ),
  TranscoderCacheSize: whole('read', 256, 'Memory for files that were transcoded last, in MB. 0: none is kept.'),
  DicomTlsEnabled: flag('read', false, 'Whether the DICOM server speaks TLS.'),
  DicomTlsCertificate: path('read', '', 'PEM file of the DICOM TLS certificate.'),
  DicomTlsPrivateKey: path('read', '', 'PEM file of the DICOM TLS private key.'),
  DicomTlsTrustedCertificates: path(
    'read',
    '',
    'PEM file of the certificates that DICOM TLS peers are checked against.',
  ),
  DicomTlsRemoteCertificateRequired: flag('read', true, 'Whether DICOM TLS clients must present a certificate.'),
  DicomTlsMinimumProtocolVersion: whole('read', 0, 'Oldest TLS version of DICOM TLS. 0: the secure default.', 0, 6),
  DicomTlsCiphersAccepted: {
    status: 'read' as const,
    schema: strings,
    allowed: 'a list of cipher names',
    default: [],
    meaning: 'Ciphers that DICOM TLS accepts. Empty: the secure defaults.',
  },

  OrthancPeers: {
    status: 'read' as const,
    schema: z.record(z.string(), z.union([z.array(z.string()).min(1), object])),
    allowed: 'an object of names with [url, user, password] or { "Url", … }',
    default: {},
    meaning: 'Other servers with the same REST API.',
    secret: true as const,
  },
  OrthancPeersInDatabase: flag('read', false, 'Whether peers set over the REST API are kept in the index.'),
  OutgoingHttpAllowed: {
    status: 'read' as const,
    schema: strings,
    allowed:
      'a list of "*" (everything), beginnings of URLs ("https://pacs.example.org/"), hosts ("pacs.example.org", "*.example.org", "pacs.example.org:8042") and addresses ("10.1.0.0/16")',
    default: ['*'],
    meaning:
      'Where peers and webhooks that are set over the REST API may be. Those of the configuration may be anywhere; redirections are never followed.',
  },
  Webhooks: {
    status: 'read' as const,
    schema: z.record(z.string(), object),
    allowed: 'an object of names with { "Url", "Secret", "Events", … }',
    default: {},
    meaning: 'URLs that are told of changes. See the README.',
    secret: true as const,
  },
  HttpTimeout: whole('read', 60, 'Seconds that another HTTP server may take to answer us.'),
  HttpProxy: { ...text('read', '', 'Proxy for outgoing HTTP.'), secret: true as const },
  HttpVerbose: flag('read', false, 'Whether outgoing HTTP is logged in detail.'),
  HttpsVerifyPeers: flag('read', true, 'Whether the certificates of other HTTPS servers are checked.'),
  HttpsCACertificates: path('read', '', 'PEM file of the authorities trusted for outgoing HTTPS.'),
  ConcurrentJobs: whole('read', 2, 'How many jobs run at once. 0: one per core.'),
  JobsHistorySize: whole('read', 10, 'How many ended jobs are remembered.'),
  SaveJobs: flag('read', true, 'Whether jobs survive a restart.'),
  StoreDicom: flag(
    'ignored',
    true,
    'Whether received DICOM files are kept, and not only indexed. They always are here: success means stored.',
  ),
  LogExportedResources: flag('read', false, 'Whether /exports lists what was sent to others.'),
  DeidentifyLogs: flag(
    'ignored',
    true,
    'Whether logs hide what identifies patients. Here they are not written into the log above the level debug, whatever this says.',
  ),
  DeidentifyLogsDicomVersion: choice(
    'ignored',
    ['2008', '2017c', '2021b', '2023b'],
    '2023b',
    'Version of the confidentiality profile that DeidentifyLogs follows. None is needed where no values are logged.',
  ),
  Dictionary: {
    status: 'read' as const,
    schema: z.record(
      z.string().regex(/^[0-9a-f]{4}[,-]?[0-9a-f]{2,4}$/i),
      z.tuple([
        z.string().regex(/^[A-Z]{2}$/),
        z.string().min(1),
        z.number().int().min(0).optional(),
        z.number().int().min(0).optional(),
        z.string().optional(),
      ]),
    ),
    allowed:
      'an object of tags with [VR, name, least values, most values (0: any number), private creator]: { "00e1,c2": ["UI", "MultiModalityName", 1, 1, "ELSCINT1"] }',
    default: {},
    meaning:
      "Additional entries of the data dictionary: they are named in answers, and requests may name them. The Standard's own stay as they are.",
  },
  DefaultPrivateCreator: text(
    'read',
    '',
    'Private creator whose dictionary names private tags where neither the file nor the request says one.',
  ),
  LoadPrivateDictionary: flag(
    'read',
    true,
    'Whether names and VRs of the private tags of known makers are used, besides those of Dictionary.',
  ),

  BuiltinDecoderTranscoderOrder: choice(
    'ignored',
    ['Before', 'After', 'Disabled'],
    'After',
    'Order of the built-in decoder and those of plugins.',
  ),
  DicomParserCacheSize: whole('ignored', 256, 'Memory of a cache of parsed files, in MB.'),
  DicomParserMemoryCapacity: whole('ignored', 256, 'Memory for parsing files, in MB.'),
  DicomParserThreadsCount: whole('ignored', 2, 'Threads that parse files.'),
  DicomThreadsCount: whole('ignored', 4, 'Threads of the DICOM server.'),
  ExecuteLuaEnabled: flag('ignored', false, 'Whether clients may run Lua scripts.'),
  HttpThreadsCount: whole('ignored', 50, 'Threads of the HTTP server.'),
  JobsEngineThreadsCount: {
    status: 'ignored' as const,
    schema: z.record(z.string(), z.number()),
    allowed: 'an object of job types with numbers',
    default: { ResourceModification: 1 },
    meaning: 'Threads of single kinds of jobs.',
  },
  Locale: text('ignored', '', 'Locale of the process.'),
  LuaHeartBeatPeriod: whole('ignored', 0, 'Seconds between calls of a Lua function.'),
  LuaScripts: {
    status: 'ignored' as const,
    schema: strings,
    allowed: 'a list of paths',
    default: [],
    meaning: 'Lua scripts to load.',
  },
  MallocArenaMax: whole('ignored', 5, 'Memory arenas of the C library.'),
  MaximumConcurrentDcmtkTranscoders: whole('ignored', 0, 'How many DCMTK transcoders run at once.'),
  MaximumStorageCacheSize: whole('ignored', 128, 'Memory of a cache of attachments, in MB.'),
  Pkcs11: {
    status: 'ignored' as const,
    schema: object,
    allowed: 'an object',
    default: {},
    meaning: 'PKCS#11 module for outgoing HTTPS.',
  },
  Plugins: {
    status: 'ignored' as const,
    schema: strings,
    allowed: 'a list of paths',
    default: [],
    meaning: 'Shared libraries to load.',
  },
  SequentialDicomReaderWindowCapacity: whole('ignored', 128, 'Memory of a read-ahead, in MB.'),
  SequentialDicomReaderWindowSize: whole('ignored', 4, 'Files of a read-ahead.'),
  StorageLoaderThreadsCount: whole('ignored', 4, 'Threads that read the storage.'),
  StorageMemoryCapacity: whole('ignored', 512, 'Memory for reading the storage, in MB.'),
  TcpNoDelay: flag('ignored', true, 'Whether TCP sends at once. It always does here.'),
  TemporaryDirectory: path('ignored', '', 'Folder for temporary files.'),
  TranscoderMemoryCapacity: whole('ignored', 256, 'Memory for transcoding, in MB.'),
  TranscoderThreadsCount: whole('ignored', 4, 'Threads that transcode.'),
} as const satisfies Record<string, Option>;

export type OptionName = keyof typeof OPTIONS;
