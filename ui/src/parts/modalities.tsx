/** Owns modalities as small words. */

/** A value of Modalities in Study (`CT\PT`), each as a word. */
export function Modalities({ value }: { readonly value: string }) {
  const each = value.split('\\').filter((part) => part !== '');
  return (
    <span class="labels" title={each.join(', ')}>
      {each.map((modality) => (
        <span key={modality} class="badge modality">
          {modality}
        </span>
      ))}
    </span>
  );
}
