/** Owns films: the stream of an instance in an MPEG transfer syntax, put together from its fragments and played by the browser. */

import { Download } from 'lucide';
import { useEffect, useState } from 'preact/hooks';
import { get, request, url } from '../api.ts';
import { useFetched } from '../parts/fetched.ts';
import { Icon } from '../parts/icon.tsx';
import { Failed } from '../parts/page.tsx';
import { t } from '../texts.ts';

/** MPEG-2, MPEG-4 and HEVC (PS3.6 Annex A): 1.2.840.10008.1.2.4.100 to .108, and their fragmentable forms. */
export function isFilm(transferSyntax: string | undefined): boolean {
  return /^1\.2\.840\.10008\.1\.2\.4\.10[0-8](\.1)?$/.test(transferSyntax ?? '');
}

/** What a stream is by its first bytes. */
function typeOf(head: Uint8Array): { readonly mime: string; readonly suffix: string } {
  const at = (offset: number, ...codes: readonly number[]): boolean =>
    codes.every((code, i) => head[offset + i] === code);
  if (at(4, 0x66, 0x74, 0x79, 0x70)) return { mime: 'video/mp4', suffix: 'mp4' };
  if (at(0, 0x47) && at(188, 0x47)) return { mime: 'video/mp2t', suffix: 'ts' };
  return { mime: 'video/mpeg', suffix: 'mpg' };
}

/** The stream: all fragments after the offset table, which the browser keeps outside of memory when it is large. */
async function film(id: string, signal: AbortSignal): Promise<{ readonly blob: Blob; readonly suffix: string }> {
  const address = url('instances', id, 'content', '7fe0-0010');
  const names = await get<readonly string[]>(address, { signal });
  const parts: Blob[] = [];
  for (const name of names.slice(1)) {
    const answer = await request('GET', `${address}/${name}`, { signal, deadline: 600_000 });
    parts.push(await answer.blob());
  }
  const all = new Blob(parts);
  const { mime, suffix } = typeOf(new Uint8Array(await all.slice(0, 192).arrayBuffer()));
  return { blob: new Blob([all], { type: mime }), suffix };
}

/** The film. */
export function Film({ id }: { readonly id: string }) {
  const { value, error, reload } = useFetched(async (signal) => film(id, signal), [id]);
  const [address, setAddress] = useState<string | undefined>();
  const [failed, setFailed] = useState(false);
  useEffect(() => {
    if (value === undefined) return;
    const made = URL.createObjectURL(value.blob);
    setAddress(made);
    return () => URL.revokeObjectURL(made);
  }, [value]);
  if (error !== undefined) return <Failed error={error} retry={reload} />;
  if (address === undefined) return <p class="loading">{t.resource.filmLoading}</p>;
  return (
    <div class="stack">
      {failed ? (
        <p class="notice notice-warning">{t.resource.filmUnplayable}</p>
      ) : (
        <video class="film" src={address} controls aria-label={t.resource.film} onError={() => setFailed(true)} />
      )}
      <p>
        <a class="button small" href={address} download={`${id}.${value?.suffix ?? 'mpg'}`}>
          <Icon of={Download} /> {t.resource.filmDownload}
        </a>
      </p>
    </div>
  );
}
