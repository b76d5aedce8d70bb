/** Owns the page of one instance. */

import { useCallback } from 'preact/hooks';
import { fileBytes } from '../api/children.ts';
import { header } from '../api/resources.ts';
import type { Fetched } from '../parts/fetched.ts';
import { useFetched } from '../parts/fetched.ts';
import { Failed, Loading } from '../parts/page.tsx';
import { factsOf, InstanceContent, type Known, useKnown } from '../resource/content.tsx';
import { Hex } from '../resource/hex.tsx';
import { ResourcePage } from '../resource/page.tsx';
import { Tags } from '../resource/tags.tsx';
import { t } from '../texts.ts';

function AllTags({ id, known }: { readonly id: string; readonly known: Fetched<Known> }) {
  const meta = useFetched(async (signal) => header(id, signal), [id]);
  const { value, error, reload } = known;
  if (error !== undefined) return <Failed error={error} retry={reload} />;
  if (value === undefined || (meta.value === undefined && meta.error === undefined)) return <Loading />;
  return <Tags dataset={{ ...meta.value, ...value.dataset }} instance={id} label={t.resource.tags} />;
}

function FileBytes({ id, size }: { readonly id: string; readonly size: number | undefined }) {
  const read = useCallback(
    async (offset: number, length: number, signal: AbortSignal) => fileBytes(id, offset, length, signal),
    [id],
  );
  return (
    <section class="panel panel-body">
      <Hex size={size} read={read} label={t.resource.file} />
    </section>
  );
}

/** The page; `id` is Orthanc's. */
export function Instance({ id }: { readonly id: string }) {
  const known = useKnown(id);
  return (
    <ResourcePage
      place="instances"
      id={id}
      {...(known.value && { facts: factsOf(known.value) })}
      content={() => <InstanceContent id={id} known={known} />}
      tabs={({ itself }) => [
        { name: 'tags', title: t.resource.tags, body: <AllTags id={id} known={known} /> },
        { name: 'file', title: t.resource.file, body: <FileBytes id={id} size={itself.FileSize} /> },
      ]}
    />
  );
}
