/** Owns the page of one patient. */

import { StudiesOf } from '../resource/children.tsx';
import { ResourcePage } from '../resource/page.tsx';

/** The page; `id` is Orthanc's. */
export function Patient({ id }: { readonly id: string }) {
  return <ResourcePage place="patients" id={id} content={(loaded) => <StudiesOf loaded={loaded} />} />;
}
