/** Owns UIDs in texts: to copy, with the name of those that the Standard gave, and a way to what is stored under them here. */

import { useState } from 'preact/hooks';
import { post } from '../api.ts';
import { type Level, PLACE_OF } from '../api/resources.ts';
import { notifyError } from '../parts/toasts.tsx';
import { navigate } from '../router.ts';
import { t } from '../texts.ts';
import { UID_NAMES } from './uid-names.ts';

/** Whether a value is made like a UID (PS3.5 §9.1) long enough to mean something. */
export function isUid(value: string): boolean {
  return value.length >= 10 && value.length <= 64 && /^[0-2](\.(0|[1-9]\d*)){3,}$/.test(value);
}

interface Match {
  readonly ID: string;
  readonly Type: Level;
}

/** A UID; where `linked`, a click leads to what has it. */
export function Uid({ of, linked = true }: { readonly of: string; readonly linked?: boolean }) {
  const [isMissing, setMissing] = useState(false);
  const name = UID_NAMES[of];
  if (name !== undefined) {
    return (
      <>
        {name} <span class="mono muted">{of}</span>
      </>
    );
  }
  if (!linked || isMissing) {
    return (
      <>
        <span class="mono">{of}</span> {isMissing && <span class="badge">{t.resource.notHere}</span>}
      </>
    );
  }
  const go = async (): Promise<void> => {
    const matches = await post<readonly Match[]>('tools/lookup', of);
    const [first] = matches;
    if (first === undefined) setMissing(true);
    else navigate(`${PLACE_OF[first.Type]}/${first.ID}`);
  };
  return (
    <button type="button" class="uid mono" title={t.resource.findUid} onClick={() => void go().catch(notifyError)}>
      {of}
    </button>
  );
}
