/** Owns the buttons of what can be done with one or many resources, and which dialog each opens. */

import { Download, EyeOff, Merge, Pencil, Send, ShieldCheck, Split, Tag, Trash2 } from 'lucide';
import type { IconNode } from 'lucide';
import { useState } from 'preact/hooks';
import { url } from '../api.ts';
import { archiveUrl, MOST_STREAMED, pack, packedUrl } from '../api/actions.ts';
import { type Place, type Resource, setProtected } from '../api/resources.ts';
import { follow } from '../parts/followed.tsx';
import { Icon } from '../parts/icon.tsx';
import { Popover } from '../parts/popover.tsx';
import { notify, notifyError } from '../parts/toasts.tsx';
import { mayWrite } from '../session.ts';
import { t } from '../texts.ts';
import { Anonymize } from './anonymize.tsx';
import { Delete } from './delete.tsx';
import { EditLabels } from './edit-labels.tsx';
import { MergeStudies } from './merge.tsx';
import { Modify } from './modify.tsx';
import { SendTo } from './send.tsx';
import { SplitStudy } from './split.tsx';

/** What is acted on. */
export interface Targets {
  readonly place: Place;
  readonly resources: readonly Resource[];
}

/** What every dialog of an action is given. */
export interface ActionProps extends Targets {
  readonly onClose: () => void;
  /** Called when something was done: what is shown may be old. */
  readonly onDone: (done: 'deleted' | 'changed') => void;
}

const DIALOGS = {
  send: SendTo,
  anonymize: Anonymize,
  modify: Modify,
  merge: MergeStudies,
  split: SplitStudy,
  labels: EditLabels,
  delete: Delete,
} as const;
type DialogName = keyof typeof DIALOGS;

/** Lets the browser save what an address gives. */
function save(address: string): void {
  const link = document.createElement('a');
  link.href = address;
  link.download = '';
  link.click();
}

async function download({ resources }: Targets, media: boolean): Promise<void> {
  const ids = resources.map((each) => each.ID);
  if (ids.length <= MOST_STREAMED) {
    save(archiveUrl(ids, media));
    return;
  }
  const { ID } = await pack(ids, media);
  follow(ID, t.actions.packing(ids.length), () => save(packedUrl(ID)));
}

async function protect({ place, resources }: Targets, kept: boolean): Promise<void> {
  const patients = new Set(resources.map((each) => (place === 'patients' ? each.ID : (each.ParentPatient ?? ''))));
  for (const patient of patients) if (patient !== '') await setProtected(patient, kept);
  notify(kept ? t.actions.protected(patients.size) : t.actions.unprotected(patients.size));
}

interface ToolbarProps extends Targets {
  readonly onDone: ActionProps['onDone'];
}

/** The buttons. Those that change something are only there for those who may. */
export function Toolbar({ place, resources, onDone }: ToolbarProps) {
  const [open, setOpen] = useState<DialogName | undefined>();
  const targets = { place, resources };
  const button = (name: DialogName, icon: IconNode) => (
    <button
      key={name}
      type="button"
      class={name === 'delete' ? 'button small danger' : 'button small'}
      onClick={() => setOpen(name)}
    >
      <Icon of={icon} /> {t.actions[name]}
    </button>
  );
  const isProtected = resources.length > 0 && resources.every((each) => each.IsProtected === true);
  const writes = mayWrite.value;
  const Shown = open === undefined ? undefined : DIALOGS[open];
  return (
    <div class="toolbar" role="group" aria-label={t.actions.title}>
      {place === 'instances' && resources.length === 1 && (
        <a class="button small" href={url(place, resources[0]?.ID ?? '', 'file')} download>
          <Icon of={Download} /> {t.actions.file}
        </a>
      )}
      {(place !== 'instances' || resources.length > 1) && (
        <Popover
          closes
          class="small"
          label={
            <>
              <Icon of={Download} /> {t.actions.download}
            </>
          }
        >
          <div class="menu-list">
            <button type="button" onClick={() => void download(targets, false).catch(notifyError)}>
              {t.actions.zip}
            </button>
            <button type="button" onClick={() => void download(targets, true).catch(notifyError)}>
              {t.actions.dicomdir}
            </button>
          </div>
        </Popover>
      )}
      {writes && button('send', Send)}
      {writes && place !== 'instances' && button('anonymize', EyeOff)}
      {writes && place !== 'instances' && button('modify', Pencil)}
      {writes && place === 'studies' && resources.length > 1 && button('merge', Merge)}
      {writes && place === 'studies' && resources.length === 1 && button('split', Split)}
      {writes && button('labels', Tag)}
      {writes && (place === 'patients' || place === 'studies') && (
        <Popover
          closes
          class="small"
          label={
            <>
              <Icon of={ShieldCheck} /> {t.actions.protection}
            </>
          }
        >
          <div class="menu-list">
            {[true, false].map((kept) => (
              <button
                key={String(kept)}
                type="button"
                disabled={place === 'patients' && resources.length === 1 && kept === isProtected}
                onClick={() => void protect(targets, kept).then(() => onDone('changed'), notifyError)}
              >
                {kept ? t.actions.protect : t.actions.unprotect}
              </button>
            ))}
          </div>
        </Popover>
      )}
      {writes && button('delete', Trash2)}
      {Shown !== undefined && <Shown {...targets} onClose={() => setOpen(undefined)} onDone={onDone} />}
    </div>
  );
}
