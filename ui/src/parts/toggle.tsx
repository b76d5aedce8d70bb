/** Owns switches whose state the server keeps: they show what was chosen at once, and what was there before where that failed. */

import { useEffect, useState } from 'preact/hooks';
import { notifyError } from './toasts.tsx';

interface ToggleProps {
  /** As the server has it. */
  readonly checked: boolean;
  /** What it switches, where no text stands beside it. */
  readonly name?: string;
  readonly disabled: boolean;
  /** Has the server switch. */
  readonly set: (on: boolean) => Promise<void>;
}

/** A switch. */
export function Toggle({ checked, name, disabled, set }: ToggleProps) {
  /** What was chosen and is not in force yet. */
  const [chosen, setChosen] = useState<boolean | undefined>();
  useEffect(() => setChosen(undefined), [checked]);
  const change = async (on: boolean): Promise<void> => {
    setChosen(on);
    try {
      await set(on);
    } catch (thrown) {
      setChosen(undefined);
      notifyError(thrown);
    }
  };
  return (
    <input
      type="checkbox"
      class="toggle"
      aria-label={name}
      checked={chosen ?? checked}
      disabled={disabled}
      onChange={(event) => void change(event.currentTarget.checked)}
    />
  );
}
