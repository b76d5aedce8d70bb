/** Owns the Storage service on associations that we asked for: what a C-GET brings is stored as what a modality sends (PS3.4 §C.4.3). */

import type { Receiving } from '../jobs/retrieve.ts';
import type { Modality } from '../scu/modality.ts';
import type { Peer, Service } from './service.ts';

/** The modality as the peer of the storage service: what it was asked for it may send. */
function peerOf(modality: Modality, aet: string, remoteIp: string): Peer {
  return {
    callingAet: modality.aet,
    calledAet: modality.localAet ?? aet,
    remoteIp,
    modalities: [modality],
    allows: () => true,
  };
}

/** Stores by a storage service what modalities send over associations that `aet` asked for. */
export function receivingFrom(store: Service, aet: string): Receiving {
  return {
    sink: (modality, context, command) => store.sink?.(peerOf(modality, aet, ''), context, command),
    serve: (modality, message, association) =>
      store.serve({
        peer: peerOf(modality, aet, association.remoteIp),
        message,
        association,
        cancelled: association.ended,
      }),
  };
}
