/** Owns the page of one series. */

import { InstancesOf } from '../resource/children.tsx';
import { ResourcePage } from '../resource/page.tsx';

/** The page; `id` is Orthanc's. */
export function Series({ id }: { readonly id: string }) {
  return <ResourcePage place="series" id={id} content={(loaded) => <InstancesOf loaded={loaded} />} />;
}
