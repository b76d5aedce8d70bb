/** Owns small panels below a button: they close with Escape, a click elsewhere, or when the focus leaves. */

import { ChevronDown } from 'lucide';
import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { Icon } from './icon.tsx';

interface PopoverProps {
  readonly label: ComponentChildren;
  /** Read by screen readers instead of the label, where that is only a picture. */
  readonly name?: string;
  readonly children: ComponentChildren;
  /** Stands out: something in it is chosen. */
  readonly active?: boolean;
  readonly class?: string;
  /** Whether a click inside closes it: true for menus. */
  readonly closes?: boolean;
  readonly chevron?: boolean;
}

/** A button with a panel below it. */
export function Popover({
  label,
  name,
  children,
  active = false,
  closes = false,
  chevron = true,
  ...rest
}: PopoverProps) {
  const [open, setOpen] = useState(false);
  const ref = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!open) return;
    const outside = (event: Event): void => {
      if (event.target instanceof Node && ref.current?.contains(event.target) === false) setOpen(false);
    };
    const key = (event: KeyboardEvent): void => {
      if (event.key !== 'Escape') return;
      event.stopPropagation();
      setOpen(false);
      ref.current?.querySelector('button')?.focus();
    };
    addEventListener('pointerdown', outside);
    addEventListener('focusin', outside);
    ref.current?.addEventListener('keydown', key);
    const here = ref.current;
    return () => {
      removeEventListener('pointerdown', outside);
      removeEventListener('focusin', outside);
      here?.removeEventListener('keydown', key);
    };
  }, [open]);
  return (
    <div class="popover" ref={ref}>
      <button
        type="button"
        class={`button ${active ? 'active' : ''} ${rest.class ?? ''}`}
        aria-expanded={open}
        aria-label={name}
        title={name}
        onClick={() => setOpen(!open)}
      >
        <span class="ellipsis row-inline">{label}</span>
        {chevron && <Icon of={ChevronDown} size={14} />}
      </button>
      {open && (
        <div class="popover-panel" onClick={closes ? () => setOpen(false) : undefined}>
          {children}
        </div>
      )}
    </div>
  );
}
