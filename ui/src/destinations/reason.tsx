/** Owns how the reason of a failure is shown: in words, with the server's own below. */

import { explain } from './reasons.ts';

/** A reason. */
export function Reason({ of }: { readonly of: string }) {
  const { words, said } = explain(of);
  return (
    <div class="reason">
      <p>{words}</p>
      {said !== '' && <p class="muted small mono">{said}</p>}
    </div>
  );
}
