/** Owns what an instance shows first: its picture, film, report or document, by what it holds. */

import { Download, FileText } from 'lucide';
import { url } from '../api.ts';
import { type Dataset, metadata, tags } from '../api/resources.ts';
import { type Fetched, useFetched } from '../parts/fetched.ts';
import { Icon } from '../parts/icon.tsx';
import { Empty, Failed, Loading } from '../parts/page.tsx';
import { t } from '../texts.ts';
import { Film, isFilm } from './film.tsx';
import { Picture } from './picture.tsx';
import { isReport, Report } from './report.tsx';
import { UID_NAMES } from './uid-names.ts';

const ENCAPSULATED_DOCUMENT = '0042,0011';

/** What is known of an instance before it is shown. */
export interface Known {
  readonly dataset: Dataset;
  readonly transferSyntax: string | undefined;
}

/** Fetches the data set with what says how its pixels are stored. */
export function useKnown(id: string): Fetched<Known> {
  return useFetched(
    async (signal) => {
      const [dataset, known] = await Promise.all([tags(id, signal), metadata('instances', id, signal)]);
      return { dataset, transferSyntax: known['TransferSyntax'] };
    },
    [id],
  );
}

const text = (dataset: Dataset, tag: string): string => {
  const value = dataset[tag]?.Value;
  return typeof value === 'string' ? value.trim() : '';
};

/** What kind of thing an instance is, by name. */
export function factsOf({ dataset, transferSyntax = '' }: Known): readonly (readonly [string, string])[] {
  const [rows, columns, bits, frames] = ['0028,0010', '0028,0011', '0028,0101', '0028,0008'].map((tag) =>
    text(dataset, tag),
  );
  const named = (uid: string): string => UID_NAMES[uid] ?? uid;
  return [
    [t.resource.sopClass, named(text(dataset, '0008,0016'))],
    [t.resource.transferSyntax, named(transferSyntax)],
    [t.resource.matrix, rows === '' ? '' : t.resource.matrixOf(columns ?? '', rows ?? '', bits ?? '')],
    [t.resource.frameCount, frames ?? ''],
  ];
}

function Document({ id, dataset }: { readonly id: string; readonly dataset: Dataset }) {
  const mime = dataset['0042,0012']?.Value;
  const title = dataset['0042,0010']?.Value;
  const isPdf = typeof mime === 'string' && mime.toLowerCase().includes('pdf');
  const raw = url('instances', id, 'content', '0042-0011');
  const address = isPdf ? url('instances', id, 'pdf') : raw;
  return (
    <div class="stack">
      {isPdf ? (
        <iframe
          class="document"
          src={address}
          title={typeof title === 'string' && title !== '' ? title : t.resource.document}
        />
      ) : (
        <Empty icon={FileText} title={t.resource.documentOf(typeof mime === 'string' ? mime : '')}>
          <p>{t.resource.documentHint}</p>
        </Empty>
      )}
      <p class="row">
        <a class="button small" href={address} download={isPdf ? `${id}.pdf` : id}>
          <Icon of={Download} /> {t.resource.saveDocument}
        </a>
      </p>
    </div>
  );
}

/** What it shows. */
export function InstanceContent({ id, known }: { readonly id: string; readonly known: Fetched<Known> }) {
  const { value, error, reload } = known;
  if (value === undefined) return error === undefined ? <Loading /> : <Failed error={error} retry={reload} />;
  const { dataset, transferSyntax } = value;
  if (isReport(dataset)) return <Report dataset={dataset} />;
  if (dataset[ENCAPSULATED_DOCUMENT] !== undefined) return <Document id={id} dataset={dataset} />;
  if (isFilm(transferSyntax)) return <Film id={id} />;
  return <Picture id={id} />;
}
