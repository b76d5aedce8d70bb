/** Owns where the application and the REST API are: found from where this script came from, so that a proxy may add any prefix. */

const script = import.meta.url;

/** Address of the application, with a slash at the end: `https://host/prefix/ui/app/`. */
export const APP = new URL('../', script);

/** Address of the REST API, with a slash at the end: `https://host/prefix/`. */
export const API = new URL('../../', APP);
