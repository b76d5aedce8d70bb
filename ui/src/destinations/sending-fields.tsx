/** Owns the fields of how a destination's queue is drained. */

import { CheckField, type Draft, TextField } from '../parts/fields.tsx';
import { t } from '../texts.ts';

/** What is not given counts as this. */
const DEFAULTS = {
  MaximumRetries: 300,
  RetryDelay: 5,
  RetryDelayMultiplier: 2,
  MaximumRetryDelay: 300,
} as const;

interface SendingProps {
  readonly draft: Draft;
  readonly onDraft: (draft: Draft) => void;
  /** `MaximumAssociations` where none is given. */
  readonly lines: number;
  readonly linesLabel: string;
}

/** Whether a description says anything of its queue. */
export function saysSending(draft: Draft): boolean {
  return Object.keys(t.destinations.sending).some((name) => draft[name] !== undefined);
}

/** Hours as the API takes them: one, or a list. */
export function scheduleOf(value: unknown): unknown {
  if (typeof value !== 'string') return value;
  const spans = value.split(/[,;\s]+/).filter((span) => span !== '');
  return spans.length === 0 ? undefined : spans;
}

/** The fields, folded away until they are wanted. */
export function SendingFields({ draft, onDraft, lines, linesLabel }: SendingProps) {
  const { sending, byDefault, noLimit, always, queueTitle } = t.destinations;
  const field = { draft, onDraft, type: 'number', min: 0 } as const;
  return (
    <details class="more" open={saysSending(draft)}>
      <summary>{queueTitle}</summary>
      <div class="two">
        <TextField
          {...field}
          of="MaximumAssociations"
          label={linesLabel}
          min={1}
          max={64}
          placeholder={byDefault(String(lines))}
        />
        <TextField {...field} of="RateLimit" label={sending.RateLimit} step="any" placeholder={byDefault(noLimit)} />
        {(Object.keys(DEFAULTS) as (keyof typeof DEFAULTS)[]).map((name) => (
          <TextField
            key={name}
            {...field}
            of={name}
            label={sending[name]}
            min={name === 'RetryDelayMultiplier' ? 1 : 0}
            step={name === 'MaximumRetries' ? 1 : 'any'}
            placeholder={byDefault(String(DEFAULTS[name]))}
          />
        ))}
        <TextField
          draft={draft}
          onDraft={onDraft}
          of="Schedule"
          label={sending.Schedule}
          pattern="([01]\d|2[0-3]):[0-5]\d-(([01]\d|2[0-3]):[0-5]\d|24:00)([,;\s]+([01]\d|2[0-3]):[0-5]\d-(([01]\d|2[0-3]):[0-5]\d|24:00))*"
          placeholder={byDefault(always)}
        />
      </div>
      <CheckField draft={draft} onDraft={onDraft} of="RetryOnWarning" label={sending.RetryOnWarning} />
    </details>
  );
}
