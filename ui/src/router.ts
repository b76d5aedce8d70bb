/** Owns the address bar: which page is shown, with what, and going to another over the History API. */

import { computed, signal } from '@preact/signals';
import { APP } from './base.ts';

const address = signal(new URL(location.href));

/** The page's path below the application, without slashes at its ends: `studies/66a662ce-…`, `''` at the start. */
export const path = computed(() =>
  decoded(address.value.pathname.slice(APP.pathname.length)).replace(/^\/+|\/+$/g, ''),
);

/** What is no UTF-8 stays as it is: there is no page of that name. */
function decoded(text: string): string {
  try {
    return decodeURI(text);
  } catch {
    return text;
  }
}

/** The query of the address. */
export const query = computed(() => address.value.searchParams);

/** Address of a page, for `href`: `href('studies/66a662ce-…')`. */
export function href(to: string): string {
  return new URL(to.replace(/^\//, ''), APP).pathname + (to.includes('?') ? to.slice(to.indexOf('?')) : '');
}

/** Pages whose answer carries a policy of their own, which only a load of the whole document brings into force. */
const isViewer = (url: URL): boolean => url.pathname.startsWith(`${APP.pathname}view/`);
const loadedAsViewer = isViewer(new URL(location.href));

/** While true (something is under way that a load would end), a page that needs another document opens in a tab of its own. */
export const keepDocument = signal(false);

/** Goes to a page: `navigate('jobs')`. `replace` leaves no trace in the history. */
export function navigate(to: string, { replace = false }: { readonly replace?: boolean } = {}): void {
  const url = new URL(to.replace(/^\//, ''), APP);
  if (isViewer(url) && !loadedAsViewer) {
    if (keepDocument.value) open(url, '_blank', 'noopener');
    else location.assign(url);
    return;
  }
  const samePage = url.pathname === address.value.pathname;
  if (replace) history.replaceState(null, '', url);
  else if (url.href !== address.value.href) history.pushState(null, '', url);
  address.value = url;
  if (!samePage) scrollTo(0, 0);
}

/** Whether a click on a link is ours to follow: a plain one, on an address of the application. */
function isOurs(event: MouseEvent, link: HTMLAnchorElement): boolean {
  const isPlain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
  return (
    isPlain &&
    !event.defaultPrevented &&
    link.target === '' &&
    // The browser goes to a place of the page by itself.
    link.hash === '' &&
    !link.hasAttribute('download') &&
    link.origin === APP.origin &&
    link.pathname.startsWith(APP.pathname)
  );
}

/** The old Explorer's addresses (`#study?uuid=…`), which a redirect brings along. */
function fromFragment(fragment: string): string | undefined {
  const old = /^#(patient|study|series|instance)\?uuid=([0-9a-f-]{44})$/.exec(fragment);
  if (old === null) return undefined;
  const places = { patient: 'patients', study: 'studies', series: 'series', instance: 'instances' } as const;
  return `${places[old[1] as keyof typeof places]}/${old[2]}`;
}

/** Begins to follow links and the history. */
export function startRouter(): void {
  addEventListener('popstate', () => {
    address.value = new URL(location.href);
  });
  document.addEventListener('click', (event) => {
    const link = event.target instanceof Element ? event.target.closest('a') : null;
    if (link === null || !isOurs(event, link)) return;
    event.preventDefault();
    navigate(link.pathname.slice(APP.pathname.length) + link.search);
  });
  const old = fromFragment(location.hash);
  if (old !== undefined) navigate(old, { replace: true });
}
