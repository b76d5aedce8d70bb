/** Owns the fields of a DICOM modality. */

import { CheckField, ChoiceField, type Draft, FieldGroup, TextField } from '../parts/fields.tsx';
import { t } from '../texts.ts';
import { SendingFields } from './sending-fields.tsx';

/** Whose ways with DICOM need care; the first needs none. */
const MANUFACTURERS = ['Generic', 'GenericNoWildcardInDates', 'GenericNoUniversalWildcard', 'Vitrea', 'GE'] as const;

interface FieldsProps {
  readonly draft: Draft;
  readonly onDraft: (draft: Draft) => void;
  readonly isNew: boolean;
}

/** The fields. */
export function ModalityFields({ draft, onDraft, isNew }: FieldsProps) {
  const words = t.destinations;
  const field = { draft, onDraft };
  const flags = Object.keys(words.flags) as (keyof typeof words.flags)[];
  return (
    <>
      <div class="two">
        <TextField {...field} of="AET" label={words.aet} required maxLength={16} focus={!isNew} />
        <TextField {...field} of="Host" label={words.host} required placeholder="10.0.0.5" />
        <TextField
          {...field}
          of="Port"
          label={words.port}
          type="number"
          required
          min={1}
          max={65534}
          placeholder="104"
        />
      </div>
      <CheckField {...field} of="UseDicomTls" label={words.tls} />
      <details class="more">
        <summary>{words.more}</summary>
        <div class="two">
          <TextField
            {...field}
            of="LocalAet"
            label={words.localAet}
            maxLength={16}
            placeholder={words.byDefault(words.ours)}
          />
          <ChoiceField
            {...field}
            of="Manufacturer"
            label={words.manufacturer}
            options={MANUFACTURERS.map((each) => [each, each] as const)}
          />
          <ChoiceField
            {...field}
            of="RetrieveMethod"
            label={words.retrieveMethod}
            options={Object.entries(words.retrieveMethods)}
          />
          <TextField
            {...field}
            of="Timeout"
            label={`${words.timeout} (s)`}
            type="number"
            min={0}
            max={86400}
            placeholder={words.byDefault(words.ours)}
          />
        </div>
        <CheckField {...field} of="AllowTranscoding" label={words.transcoding} initial />
        <FieldGroup title={words.allows}>
          <div class="two tight">
            {flags.map((flag) => (
              <CheckField key={flag} {...field} of={flag} label={words.flags[flag]} initial />
            ))}
          </div>
        </FieldGroup>
      </details>
      <SendingFields {...field} lines={1} linesLabel={words.sending.MaximumAssociations} />
    </>
  );
}
