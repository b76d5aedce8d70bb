/** Owns labels as small coloured words: one colour a label, the same everywhere. */

/** Hues that differ enough. */
const HUES = [200, 265, 150, 35, 330, 10, 95, 230];

function hueOf(label: string): number {
  let sum = 0;
  for (const character of label) sum = (sum * 31 + (character.codePointAt(0) ?? 0)) % 9973;
  return HUES[sum % HUES.length] ?? 200;
}

/** One label. */
export function Label({ of }: { readonly of: string }) {
  return (
    <span class="label" style={{ '--hue': String(hueOf(of)) }}>
      {of}
    </span>
  );
}

/** Labels in a row. */
export function Labels({ of }: { readonly of: readonly string[] }) {
  return (
    <span class="labels" title={of.join(', ')}>
      {of.map((label) => (
        <Label key={label} of={label} />
      ))}
    </span>
  );
}
