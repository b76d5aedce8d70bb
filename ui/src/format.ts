/** Owns how values are written for people: names, dates, sizes. Whatever cannot be read is shown as it is. */

/** A value of VR PN (PS3.5 §6.2.1) as people write it: `Doe, John` of `Doe^John`; its first group that says something. */
export function personName(value: string | undefined): string {
  const group = (value ?? '').split('=').find((each) => each.replaceAll('^', '').trim() !== '') ?? '';
  const [family = '', given = '', middle = '', prefix = '', suffix = ''] = group.split('^').map((part) => part.trim());
  const first = [prefix, given, middle].filter((part) => part !== '').join(' ');
  return [family, first, suffix].filter((part) => part !== '').join(', ');
}

/** A value of VR DA as `2024-01-31`. */
export function date(value: string | undefined): string {
  const parts = /^(\d{4})[.-]?(\d{2})[.-]?(\d{2})$/.exec((value ?? '').trim());
  return parts === null ? (value ?? '') : `${parts[1]}-${parts[2]}-${parts[3]}`;
}

/** A value of VR TM as `13:45`. */
export function time(value: string | undefined): string {
  const parts = /^(\d{2}):?(\d{2})/.exec((value ?? '').trim());
  return parts === null ? (value ?? '') : `${parts[1]}:${parts[2]}`;
}

const two = (n: number): string => String(n).padStart(2, '0');

/** A time of the server (UTC, `20240131T134500`) in the time of this machine: `2024-01-31 14:45`, or to the second. */
export function timestamp(value: string | undefined, precise = false): string {
  const parts = /^(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})/.exec(value ?? '');
  if (parts === null) return value ?? '';
  const [year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0] = parts.slice(1).map(Number);
  const at = new Date(Date.UTC(year, month - 1, day, hour, minute, second));
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}${precise ? `:${two(at.getSeconds())}` : ''}`;
}

/** Bytes as `12.3 MB`, in powers of 1024. */
export function bytes(value: number): string {
  const units = ['bytes', 'KB', 'MB', 'GB', 'TB', 'PB'];
  let unit = 0;
  let rest = value;
  while (rest >= 1024 && unit < units.length - 1) {
    rest /= 1024;
    unit += 1;
  }
  return `${unit === 0 || rest >= 100 ? Math.round(rest) : rest.toFixed(1)} ${units[unit]}`;
}

/** Seconds as `1 h 02 min`, `3 min 05 s`, `12 s`. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole >= 3600) return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
  if (whole >= 60) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  return `${whole} s`;
}
