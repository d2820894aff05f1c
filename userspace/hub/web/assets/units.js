// Values as people read them, by their UCUM unit.

const BINARY = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
const DECIMAL = ['', 'k', 'M', 'G', 'T', 'P'];

/**
 * A value with its unit; an en dash where nothing is known. Beside UCUM's there are `%` for shares, and `wait` for the
 * seconds per second in which threads could have run but did not.
 */
export function show(value, unit = '') {
  if (value === null || value === undefined || Number.isNaN(value)) return '–';
  if (unit === 's') return duration(value);
  if (unit === 's/s' || unit === '{cpu}') return cores(value);
  if (unit === 'wait') return `${digits(value * 1000)} ms/s`;
  if (unit === 'By') return scaled(value, 1024, BINARY, ' ');
  if (unit === 'By/s') return `${scaled(value, 1024, BINARY, ' ')}/s`;
  if (unit === '%') return `${digits(value * 100)} %`;
  return `${scaled(value, 1000, DECIMAL, '')}${unit.endsWith('/s') ? '/s' : ''}`;
}

/** What a unit is called over a chart. */
export function named(unit) {
  const names = { 's/s': 'CPUs', '{cpu}': 'CPUs', s: 'time', By: 'bytes', 'By/s': 'bytes per second', '%': 'share', wait: 'ms of waiting per second' };
  const word = unit.replace(/[{}]/g, '').replaceAll('_', ' ');
  return names[unit] ?? (unit.endsWith('/s') ? `${word.slice(0, -2)}s per second` : word);
}

/** A point in time, as the reader's clock has it. */
export function clock(seconds) {
  return new Date(seconds * 1000).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
}

/** A point in time on an axis whose ticks are `step` apart. */
export function tick(seconds, step) {
  const day = { day: 'numeric', month: 'short' };
  const time = { hour: '2-digit', minute: '2-digit', ...(step < 60 && { second: '2-digit' }) };
  return new Date(seconds * 1000).toLocaleString(undefined, { ...(step >= 86400 ? day : time), hour12: false });
}

/** How long ago a point in time is. */
export const ago = (seconds) => `${duration(Math.max(0, Date.now() / 1000 - seconds))} ago`;

/** A length of time. */
export function duration(seconds) {
  const size = Math.abs(seconds);
  if (size === 0) return '0 s';
  if (size < 1e-6) return `${digits(seconds * 1e9)} ns`;
  if (size < 1e-3) return `${digits(seconds * 1e6)} µs`;
  if (size < 1) return `${digits(seconds * 1e3)} ms`;
  if (size < 120) return `${digits(seconds)} s`;
  if (size < 7200) return `${digits(seconds / 60)} min`;
  if (size < 172800) return `${digits(seconds / 3600)} h`;
  return `${digits(seconds / 86400)} d`;
}

/** CPUs: thousandths below one, as Kubernetes writes them. */
const cores = (value) => (value !== 0 && Math.abs(value) < 1 ? `${digits(value * 1000)}m` : digits(value));

function scaled(value, base, names, space) {
  let index = 0;
  while (Math.abs(value) >= base && index + 1 < names.length) {
    value /= base;
    index += 1;
  }
  const name = names[index];
  return name ? `${digits(value)}${space}${name}` : digits(value);
}

/** Three digits that count. */
function digits(value) {
  const size = Math.abs(value);
  if (size >= 100 || Number.isInteger(value)) return String(Math.round(value));
  if (size < 1e-4) return value.toExponential(1);
  return size >= 1 ? value.toFixed(size >= 10 ? 1 : 2) : String(Number(value.toPrecision(3)));
}
