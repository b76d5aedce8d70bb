/** Owns the page of one study. */

import { SeriesOf } from '../resource/children.tsx';
import { ResourcePage } from '../resource/page.tsx';

/** The page; `id` is Orthanc's. */
export function Study({ id }: { readonly id: string }) {
  return <ResourcePage place="studies" id={id} content={(loaded) => <SeriesOf loaded={loaded} />} />;
}
