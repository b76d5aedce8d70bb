/**
 * Owns the conformance statement of this very server (PS3.2): what it takes in and asks for, written from the tables that it negotiates by
 * and from its configuration.
 */

import type { Config } from '../config.ts';
import { acceptedSopClasses, acceptedTransferSyntaxes } from '../dicom/acceptance.ts';
import { REPERTOIRES } from '../dicom/charset.ts';
import { uidName } from '../dicom/dictionary.ts';
import { MODELS, STORAGE_COMMITMENT, VERIFICATION, WORKLIST_FIND } from '../dicom/models.ts';
import { STORAGE_CLASSES } from '../dicom/storage-classes.ts';
import { PLAIN_TRANSFER_SYNTAXES, TRANSFER_SYNTAXES, transferSyntax } from '../dicom/transfer-syntaxes.ts';
import { IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME } from '../dicom/write.ts';
import { ERRORS } from '../errors.ts';
import { CAPABILITIES } from '../imaging/codecs.ts';
import { text } from './answers.ts';
import type { Routes } from './routes.ts';

/** DICOM Application Context Name (PS3.7 §A.2.1). */
const APPLICATION_CONTEXT = '1.2.840.10008.3.1.1.1';
/** Media Storage Directory Storage (PS3.4 §I.4). */
const MEDIA_STORAGE_DIRECTORY = '1.2.840.10008.1.3.10';

type Row = readonly string[];

/** A heading, underlined as wide as it is. */
const heading = (title: string, line = '-'): string => `${title}\n${line.repeat(title.length)}`;

/** Rows below one another; the first names the columns. */
function table(rows: readonly Row[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: Row): string => `  ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')}`;
  const [head = [], ...rest] = rows;
  const rule = `  ${widths.map((width) => '-'.repeat(width)).join('-+-')}`;
  return [line(head), rule, ...rest.map(line)].map((each) => each.trimEnd()).join('\n');
}

const named = (uid: string): Row => [transferSyntax(uid)?.name ?? uidName(uid) ?? 'private', uid];
const byName = (uids: Iterable<string>): Row[] => [...uids].map(named).sort(([a = ''], [b = '']) => (a < b ? -1 : 1));

/** SOP classes of one operation in both information models. */
const queries = (operation: 'find' | 'move' | 'get'): readonly string[] =>
  Object.values(MODELS).map((model) => model[operation]);

/** The services besides storage: SOP classes, and in which roles. */
function services({ Worklists }: Config): readonly { uids: readonly string[]; scu: boolean; scp: boolean }[] {
  return [
    { uids: [VERIFICATION], scu: true, scp: true },
    ...(['find', 'move', 'get'] as const).map((operation) => ({ uids: queries(operation), scu: true, scp: true })),
    { uids: [WORKLIST_FIND], scu: true, scp: Worklists.Enable },
    { uids: [STORAGE_COMMITMENT], scu: true, scp: true },
  ];
}

/** Statuses of C-STORE (PS3.4 table B.2-1): those of the table of errors, and of what the command and the data set say of each other. */
function storeStatuses(): Row[] {
  const meanings = new Map<number, string[]>();
  for (const { dimse, message } of Object.values(ERRORS))
    meanings.set(dimse, [...(meanings.get(dimse) ?? []), message]);
  const hex = (status: number): string => `${status.toString(16).toUpperCase().padStart(4, '0')}H`;
  return [
    ['0000H', 'Success: the instance is durable, and in the index'],
    ['A700H', 'Refused: out of resources; try again later'],
    ['A900H', 'Error: the data set is not of the SOP class or instance that the command names'],
    ['C000H', 'Error: cannot understand'],
    ...[...meanings.keys()]
      .filter((status) => ![0xa700, 0xa900, 0xc000].includes(status))
      .map((status) => [hex(status), 'Error: processing failure; the comment says which']),
  ];
}

const yes = (is: boolean): string => (is ? 'Yes' : 'No');

/** The text of the statement. */
export function conformanceStatement(config: Config, version: string): string {
  const stored = acceptedSopClasses(config);
  const syntaxes = [
    ...acceptedTransferSyntaxes(config.AcceptedTransferSyntaxes),
    // Private ones are accepted by their names alone.
    ...[config.AcceptedTransferSyntaxes]
      .flat()
      .filter((uid) => /^[\d.]+$/.test(uid) && transferSyntax(uid) === undefined),
  ];
  const others = services(config);
  const served = config.DicomServerEnabled;
  const made = Object.entries(CAPABILITIES).flatMap(([uid, { encode }]) => (encode === undefined ? [] : [uid]));
  const unknown = config.UnknownSopClassAccepted && config.AcceptedSopClasses.length === 0;
  const parts = [
    heading('DICOM Conformance Statement of Isen', '='),
    `Isen ${version} as it is configured here, by PS3.2. Its name is "${config.Name}".`,

    heading('1 Overview'),
    'Isen stores composite instances of any kind, answers queries, sends and retrieves, and writes file-sets.',
    table([
      ['Network service', 'UID', 'User (SCU)', 'Provider (SCP)'],
      ...others.flatMap(({ uids, scu, scp }) => uids.map((uid) => [...named(uid), yes(scu), yes(scp && served)])),
      ['Storage: the SOP classes of section 4', '', yes(true), yes(served && !config.ReadOnly)],
    ]),
    table([
      ['Media storage', 'UID', 'Creator (FSC)', 'Reader (FSR)', 'Updater (FSU)'],
      [...named(MEDIA_STORAGE_DIRECTORY), 'Yes', 'No', 'No'],
    ]),

    heading('2 Implementation'),
    table([
      ['Item', 'Value'],
      ['Application Context Name', APPLICATION_CONTEXT],
      ['Implementation Class UID', IMPLEMENTATION_CLASS_UID],
      ['Implementation Version Name', IMPLEMENTATION_VERSION_NAME],
    ]),

    heading('3 Associations'),
    table([
      ['Policy', 'Value'],
      ['AE title', config.DicomAet],
      ['TCP port', served ? String(config.DicomPort) : 'none: the DICOM server is off'],
      ['TLS for those that are accepted', yes(config.DicomTlsEnabled)],
      ['Called AE title is checked', yes(config.DicomCheckCalledAet)],
      ['Largest PDU that is received, in bytes', String(config.MaximumPduLength)],
      ['Silence after which an association ends, in seconds', String(config.DicomScpTimeout)],
      ['Patience with a peer that is asked, in seconds', String(config.DicomScuTimeout)],
      ['Asynchronous operations', 'No: one operation at a time'],
      ['SCP/SCU role selection', 'Yes: for C-GET and Storage Commitment'],
      ['Extended negotiation', 'No'],
      ['User identity negotiation', 'No'],
    ]),
    'Who may ask for what is configured for each modality; of those that are not known:',
    table([
      ['Request', 'Allowed'],
      ['C-ECHO', yes(config.DicomAlwaysAllowEcho)],
      ['C-STORE', yes(config.DicomAlwaysAllowStore)],
      ['C-FIND', yes(config.DicomAlwaysAllowFind)],
      ['C-FIND of worklists', yes(config.DicomAlwaysAllowFindWorklist)],
      ['C-MOVE', yes(config.DicomAlwaysAllowMove)],
      ['C-GET', yes(config.DicomAlwaysAllowGet)],
    ]),

    heading('4 Presentation contexts that are accepted'),
    served ? 'Verification, queries, retrievals and Storage Commitment, in each of these transfer syntaxes:' : 'None.',
    ...(served
      ? [
          table([['Transfer syntax', 'UID'], ...PLAIN_TRANSFER_SYNTAXES.map(named)]),
          `Storage: ${stored.length} SOP classes${unknown ? ', and those that are in no table,' : ''} in ${syntaxes.length} transfer syntaxes:`,
          table([['Transfer syntax', 'UID'], ...byName(syntaxes)]),
          table([['SOP class', 'UID'], ...byName(stored)]),
          'A C-STORE is answered:',
          table([['Status', 'Meaning'], ...storeStatuses()]),
        ]
      : []),

    heading('5 Presentation contexts that are proposed'),
    `Storage: the SOP classes of the instances to be sent, in the transfer syntax that each is stored in (${TRANSFER_SYNTAXES.length} are known, and private ones), and where transcoding is allowed in a context more of what it can be transcoded to without loss.`,
    table([['Transfer syntax that can be made', 'UID'], ...byName(made)]),
    `C-GET proposes ${STORAGE_CLASSES.size} SOP classes of storage at most, with the role of SCP.`,

    heading('6 Media'),
    'File-sets are written as ZIP archives (/media): a DICOMDIR, and the files below IMAGES. No application profile of PS3.11 is claimed, since the images are in the transfer syntaxes that they are stored in, or that is asked for.',

    heading('7 Character sets'),
    'ISO_IR 6 and, with and without code extensions, where the Standard has them:',
    table([
      ['Repertoire'],
      ...Object.keys(REPERTOIRES)
        .filter((name) => name !== '6')
        .map((name) => [/^\d+$/.test(name) ? `ISO_IR ${name}` : name]),
    ]),

    heading('8 Security'),
    'Secure transport by TLS (PS3.15 §B) for associations in both directions, with certificates of both sides; see the options DicomTls…. De-identification by the Basic Application Level Confidentiality Profile (PS3.15 §E), as asked for by clients.',
  ];
  return `${parts.join('\n\n')}\n`;
}

/** Adds the routes of this file. */
export function addConformance(routes: Routes): void {
  const { config, version } = routes.services;
  routes.add(
    {
      method: 'get',
      path: '/tools/dicom-conformance',
      tag: 'Tools',
      summary: 'The DICOM conformance statement of this server',
      answers: { 200: { description: 'The statement', type: 'text/plain' } },
    },
    () => text(conformanceStatement(config, version)),
  );
}
