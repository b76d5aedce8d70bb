/** Owns the fields of what is reached over HTTP: peers and webhooks. */

import { Plus, X } from 'lucide';
import { Icon } from '../parts/icon.tsx';
import { changed, CheckField, type Draft, FieldGroup, TextField } from '../parts/fields.tsx';
import { t } from '../texts.ts';
import { SendingFields } from './sending-fields.tsx';

/** What is known of a change type, so that none has to be typed. */
const EVENTS = Object.keys(t.changes.words);

/** Headers as they are edited: `null` is a value that the server has and does not show. */
type Header = readonly [name: string, value: string | null];

interface FieldsProps {
  readonly draft: Draft;
  readonly onDraft: (draft: Draft) => void;
  readonly isNew: boolean;
  /** As it is stored: some of it is not shown. */
  readonly stored: Draft;
}

/** The headers of a description: only their names are shown, or they are edited already. */
function headersOf(draft: Draft): readonly Header[] {
  const value = draft['HttpHeaders'];
  if (!Array.isArray(value)) return [];
  return value.map(
    (each: unknown): Header => (Array.isArray(each) ? (each as unknown as Header) : [String(each), null]),
  );
}

/** Headers as the API takes them: null keeps what is there. */
export function headersSent(draft: Draft): Readonly<Record<string, string | null>> | undefined {
  const headers = headersOf(draft).filter(([name]) => name !== '');
  return headers.length === 0 ? undefined : Object.fromEntries(headers);
}

function Headers({ draft, onDraft }: Pick<FieldsProps, 'draft' | 'onDraft'>) {
  const words = t.destinations;
  const headers = headersOf(draft);
  const set = (next: readonly Header[]): void => onDraft(changed(draft, 'HttpHeaders', next));
  const replace = (index: number, header: Header): void => set(headers.with(index, header));
  return (
    <FieldGroup title={words.headers}>
      {headers.map(([name, value], index) => (
        <div key={index} class="pair">
          <input
            aria-label={words.headerName}
            placeholder="Authorization"
            value={name}
            pattern="[!#$%&'*+.^_`\|~0-9A-Za-z\-]+"
            onInput={(event) => replace(index, [event.currentTarget.value, value ?? ''])}
          />
          <input
            aria-label={`${words.headerValue}: ${name}`}
            placeholder={value === null ? words.headerKept : words.headerValue}
            value={value ?? ''}
            onInput={(event) => replace(index, [name, event.currentTarget.value])}
          />
          <button type="button" class="button quiet icon-only" onClick={() => set(headers.toSpliced(index, 1))}>
            <Icon of={X} />
            <span class="sr-only">{`${t.common.delete} ${name}`}</span>
          </button>
        </div>
      ))}
      <button type="button" class="button small" onClick={() => set([...headers, ['', '']])}>
        <Icon of={Plus} size={14} /> {words.addHeader}
      </button>
    </FieldGroup>
  );
}

/** The origin of a URL, or undefined for none. */
const originOf = (url: unknown): string | undefined =>
  typeof url === 'string' && URL.canParse(url) ? new URL(url).origin : undefined;

/** Whether the server keeps what is secret: it does as long as it goes to the same place. */
function keepsSecrets(draft: Draft, stored: Draft): boolean {
  return originOf(draft['Url']) === originOf(stored['Url']);
}

/** The fields of a peer. */
export function PeerFields({ draft, onDraft, isNew, stored }: FieldsProps) {
  const words = t.destinations;
  const field = { draft, onDraft };
  const isKept = stored['Password'] === null && keepsSecrets(draft, stored) && draft['Username'] === stored['Username'];
  return (
    <>
      <TextField
        {...field}
        of="Url"
        label={words.url}
        type="url"
        required
        focus={!isNew}
        placeholder="https://pacs.example.org/orthanc/"
      />
      <div class="two">
        <TextField {...field} of="Username" label={words.user} />
        <TextField
          {...field}
          of="Password"
          label={words.password}
          type="password"
          {...(isKept && { placeholder: words.passwordKept })}
          {...(stored['Password'] === null && !isKept && { hint: words.passwordAgain })}
        />
      </div>
      <details class="more" open={headersOf(draft).length > 0 || draft['CertificateFile'] !== undefined}>
        <summary>{words.more}</summary>
        <div class="two">
          <TextField
            {...field}
            of="Timeout"
            label={`${words.timeout} (s)`}
            type="number"
            min={0}
            max={86400}
            placeholder={words.byDefault(words.ours)}
          />
          <TextField {...field} of="CertificateFile" label={words.certificate} />
          <TextField {...field} of="CertificateKeyFile" label={words.certificateKey} />
        </div>
        <Headers {...field} />
      </details>
      <SendingFields {...field} lines={4} linesLabel={words.connections} />
    </>
  );
}

/** The fields of a webhook. */
export function WebhookFields({ draft, onDraft, isNew, stored }: FieldsProps) {
  const words = t.destinations;
  const field = { draft, onDraft };
  const events = new Set(Array.isArray(draft['Events']) ? (draft['Events'] as string[]) : []);
  const isSigned = stored['Secret'] === null;
  return (
    <>
      <CheckField {...field} of="Enabled" label={words.enabled} initial />
      <TextField
        {...field}
        of="Url"
        label={words.url}
        type="url"
        required
        focus={!isNew}
        placeholder="https://ris.example.org/hook"
      />
      <TextField
        {...field}
        of="Secret"
        label={words.secret}
        type="password"
        placeholder={isSigned ? words.secretKept : words.secretNone}
      />
      <FieldGroup
        title={
          events.size === 0 || events.size === EVENTS.length ? `${words.events}: ${words.allEvents}` : words.events
        }
      >
        <div class="two tight">
          {EVENTS.map((event) => (
            <label key={event} class="check" title={event}>
              <input
                type="checkbox"
                checked={events.has(event)}
                onChange={(change) => {
                  if (change.currentTarget.checked) events.add(event);
                  else events.delete(event);
                  onDraft(changed(draft, 'Events', events.size === 0 ? undefined : [...events]));
                }}
              />
              {t.changes.words[event]}
            </label>
          ))}
        </div>
      </FieldGroup>
      <details class="more" open={headersOf(draft).length > 0}>
        <summary>{words.more}</summary>
        <TextField
          {...field}
          of="Timeout"
          label={`${words.timeout} (s)`}
          type="number"
          min={0}
          max={86400}
          placeholder={words.byDefault(words.ours)}
        />
        <Headers {...field} />
      </details>
      <SendingFields {...field} lines={2} linesLabel={words.connections} />
    </>
  );
}
