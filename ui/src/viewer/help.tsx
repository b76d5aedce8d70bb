/** Owns the help: every key, and what pointers do. */

import { Dialog } from '../parts/dialog.tsx';
import { t } from '../texts.ts';
import { keyName, SHORTCUTS } from './keys.ts';
import type { Room } from './room.ts';

const MOUSE = [
  [t.viewer.keys.leftButton, t.viewer.keys.leftButtonDoes],
  [t.viewer.keys.middleButton, t.viewer.pan],
  [t.viewer.keys.rightButton, t.viewer.zoomTool],
  [t.viewer.keys.wheel, t.viewer.keys.wheelDoes],
] as const;

/** Keys that follow each other are shown as a range. */
function Keys({ keys }: { readonly keys: readonly string[] }) {
  const shown = keys.length > 4 ? [keys[0] as string, '–', keys.at(-1) as string] : keys;
  return (
    <span class="keys">
      {shown.map((key) => (key === '–' ? <span key={key}>–</span> : <kbd key={key}>{keyName(key)}</kbd>))}
    </span>
  );
}

/** The help of the viewer. */
export function Help({ room }: { readonly room: Room }) {
  if (!room.help.value) return null;
  return (
    <Dialog
      wide
      title={t.viewer.help}
      onClose={() => {
        room.help.value = false;
      }}
    >
      <div class="shortcuts">
        {SHORTCUTS.map(({ title, shortcuts }) => (
          <section key={title}>
            <h3>{title}</h3>
            <dl>
              {shortcuts.map((each) => (
                <div key={each.title}>
                  <dt>{each.title}</dt>
                  <dd>
                    <Keys keys={each.keys} />
                  </dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
        <section>
          <h3>{t.viewer.keys.mouse}</h3>
          <dl>
            {MOUSE.map(([what, does]) => (
              <div key={what}>
                <dt>{does}</dt>
                <dd>{what}</dd>
              </div>
            ))}
          </dl>
        </section>
      </div>
    </Dialog>
  );
}
