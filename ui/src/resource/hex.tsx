/** Owns bytes as people look at them: offset, hexadecimal, characters; a page of them at a time, fetched when it is looked at. */

import { useState } from 'preact/hooks';
import { useFetched } from '../parts/fetched.ts';
import { Failed, Loading } from '../parts/page.tsx';
import { t } from '../texts.ts';

/** Bytes in a line, and lines in a page. */
const LINE = 16;
const LINES = 32;
const PAGE = LINE * LINES;

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');

/** Lines of a page as text: one element for all of it, which can be selected and copied as it stands. */
function dump(bytes: Uint8Array, offset: number): string {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += LINE) {
    const line = [...bytes.subarray(at, at + LINE)];
    const codes = line.map((byte) => hex(byte, 2));
    const left = codes.slice(0, 8).join(' ').padEnd(23);
    const right = codes.slice(8).join(' ').padEnd(23);
    const text = line.map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '·')).join('');
    lines.push(`${hex(offset + at, 8)}  ${left}  ${right}  ${text}`);
  }
  return lines.join('\n');
}

interface HexProps {
  /** Bytes in all; undefined where that is known only at the end. */
  readonly size: number | undefined;
  /** Reads at most `length` bytes. */
  readonly read: (offset: number, length: number, signal: AbortSignal) => Promise<Uint8Array>;
  readonly label: string;
}

/** The bytes. `read` must be the same function as long as they are the same bytes. */
export function Hex({ size, read, label }: HexProps) {
  const [offset, setOffset] = useState(0);
  const { value, error, reload } = useFetched(
    async (signal) => ({ offset, bytes: await read(offset, PAGE, signal) }),
    [offset, read],
  );
  const last = size === undefined ? undefined : Math.max(0, Math.floor((size - 1) / PAGE) * PAGE);
  const isLast = last === undefined ? (value?.bytes.length ?? 0) < PAGE : offset >= last;
  const go = (to: number): void => setOffset(Math.max(0, Math.min(Math.floor(to / PAGE) * PAGE, last ?? to)));
  return (
    <div class="hex">
      {error !== undefined && <Failed error={error} retry={reload} />}
      {value === undefined && error === undefined && <Loading />}
      {value !== undefined && (
        <pre aria-label={label} tabIndex={0}>
          {value.bytes.length === 0 ? t.resource.noBytes : dump(value.bytes, value.offset)}
        </pre>
      )}
      {(offset > 0 || !isLast) && (
        <div class="row">
          <button type="button" class="button small" disabled={offset === 0} onClick={() => go(offset - PAGE)}>
            {t.resource.bytesBack}
          </button>
          <button type="button" class="button small" disabled={isLast} onClick={() => go(offset + PAGE)}>
            {t.resource.bytesOn}
          </button>
          <label class="row-inline small">
            {t.resource.offset}
            <input
              class="mono offset"
              defaultValue={hex(offset, 8)}
              key={offset}
              onChange={(event) => {
                const wanted = Number.parseInt(event.currentTarget.value, 16);
                if (Number.isFinite(wanted)) go(wanted);
              }}
            />
          </label>
          {size !== undefined && <span class="muted small">{t.resource.bytesOf(size)}</span>}
        </div>
      )}
    </div>
  );
}
