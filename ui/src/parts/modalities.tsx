/** Owns modalities as small words, and which of them are no pictures. */

/** Defined Terms of Modality (PS3.3 §C.7.3.1.1.1) whose instances nobody can draw. */
const WITHOUT_PICTURES = new Set(
  'SR PR KO DOC PLAN RTPLAN RTRECORD RTSTRUCT RTINTENT RTRAD RTSEGANN REG FID AU ECG HD EPS EEG EMG EOG RESP M3D STAIN TEXTUREMAP RWV ASMT ANN'.split(
    ' ',
  ),
);

/** Whether something of these modalities (`SR\\CT`) may be a picture: one that is not known is taken to be. */
export function mayBePicture(modalities: string): boolean {
  return modalities.split('\\').some((each) => !WITHOUT_PICTURES.has(each.trim()));
}

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
