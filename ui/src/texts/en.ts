/** Owns every text of the interface, in English. A translation is a file with the same shape. */

/** `1 study`, `2,000 studies`. */
const count = (n: number, one: string, many: string): string => `${n.toLocaleString('en')} ${n === 1 ? one : many}`;

export const en = {
  nav: {
    label: 'Pages',
    skip: 'Skip to the content',
    studies: 'Studies',
    upload: 'Upload',
    query: 'Query / retrieve',
    routing: 'Routing',
    modalities: 'Destinations',
    jobs: 'Jobs',
    changes: 'Changes',
    system: 'System',
    open: 'Show the menu',
    light: 'Light',
    dark: 'Dark',
    automatic: 'As the system',
    theme: 'Colours',
    logout: 'Sign out',
    signedIn: (user: string) => `Signed in as ${user}`,
    readOnly: 'read-only',
    apiDocs: 'REST API',
  },
  login: {
    title: 'Sign in to Isen',
    user: 'Name',
    password: 'Password',
    remember: 'Stay signed in on this device',
    submit: 'Sign in',
  },
  errors: {
    title: 'That did not work',
    retry: 'Try again',
    dismiss: 'Dismiss',
    unknownPage: 'There is no page at this address',
    unknownPageHint: 'It may have been mistyped, or what it showed has been deleted.',
    toStudies: 'Go to the studies',
    /** What happened and what to do, by HTTP status; `said` are the server's words. */
    advice: (status: number, said: string): string => {
      const words = said === '' ? '' : ` The server says: ${said}.`;
      switch (status) {
        case 0:
          return 'The server does not answer. Check that it runs and that the network reaches it, then try again.';
        case 400:
          return `The server did not understand this.${words} Check what was entered.`;
        case 401:
          return 'You are not signed in, or the name or password is wrong.';
        case 403:
          return 'You may not do this: your account or the server is read-only.';
        case 404:
          return `This is not there (any more).${words} It may have been deleted meanwhile.`;
        case 409:
          return `Somebody else changed this meanwhile.${words} Reload the page, then try again.`;
        case 413:
          return 'This is larger than the server takes. An administrator can raise MaximumRequestBodySizeMB.';
        case 415:
          return 'This cannot be shown as a picture.';
        case 503:
          return 'The server is busy just now. Try again in a moment.';
        case 507:
          return 'The storage is full. Delete what is not needed, or ask an administrator for space.';
        default:
          return `The server could not do this (HTTP ${status}).${words}`;
      }
    },
  },
  common: {
    loading: 'Loading…',
    cancel: 'Cancel',
    close: 'Close',
    save: 'Save',
    delete: 'Delete',
    copy: 'Copy',
    copied: 'Copied',
    search: 'Search',
    more: 'More',
    add: 'Add',
    edit: 'Edit',
    none: '—',
    patients: (n: number) => count(n, 'patient', 'patients'),
    studies: (n: number) => count(n, 'study', 'studies'),
    series: (n: number) => count(n, 'series', 'series'),
    instances: (n: number) => count(n, 'instance', 'instances'),
    selected: (n: number) => `${n.toLocaleString('en')} selected`,
  },
};
