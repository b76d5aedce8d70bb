/** Owns the main tags of a resource beside its page, with its identifiers to copy. */

import type { Resource } from '../api/resources.ts';
import { date, personName, time, timestamp } from '../format.ts';
import { Copy } from './copy.tsx';
import { tagName } from './naming.ts';
import { t } from '../texts.ts';

const NAMES = /(Name|Physician)$/;

/** A value as people read it, by what its keyword says. */
function readable(keyword: string, value: string): string {
  if (/Date$/.test(keyword)) return date(value);
  if (/Time$/.test(keyword)) return time(value);
  if (NAMES.test(keyword) && keyword !== 'InstitutionName' && keyword !== 'ProtocolName') return personName(value);
  return value.replaceAll('\\', ' \\ ');
}

function Line({ title, value, copied }: { readonly title: string; readonly value: string; readonly copied?: boolean }) {
  return (
    <>
      <dt>{title}</dt>
      <dd>
        <span class={copied === true ? 'mono' : undefined}>{value}</span>
        {copied === true && <Copy of={value} title={title} />}
      </dd>
    </>
  );
}

/** The box. */
export function Facts({ itself, parents }: { readonly itself: Resource; readonly parents: readonly Resource[] }) {
  const study = parents.find((each) => each.Type === 'Study');
  const patient = itself.Type === 'Study' ? (itself.PatientMainDicomTags ?? {}) : {};
  const asked = itself.RequestedTags ?? {};
  const all = { ...patient, ...itself.MainDicomTags, ...asked };
  const lines = Object.entries(all).filter(([keyword, value]) => value !== '' && !/^NumberOf/.test(keyword));
  const context = itself.Type === 'Series' ? study : undefined;
  return (
    <section class="panel facts">
      <header>
        <h2>{t.resource.levels[itself.Type]}</h2>
      </header>
      <dl>
        {lines.map(([keyword, value]) => (
          <Line
            key={keyword}
            title={tagName(keyword)}
            value={readable(keyword, value)}
            copied={/UID$|ID$/.test(keyword)}
          />
        ))}
        {context !== undefined && context.MainDicomTags['AccessionNumber'] !== undefined && (
          <Line title={tagName('AccessionNumber')} value={context.MainDicomTags['AccessionNumber']} />
        )}
        <Line title={t.resource.orthancId} value={itself.ID} copied />
        {itself.LastUpdate !== undefined && <Line title={t.resource.lastUpdate} value={timestamp(itself.LastUpdate)} />}
      </dl>
    </section>
  );
}
