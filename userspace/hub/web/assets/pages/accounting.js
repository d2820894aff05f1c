import { go } from '../address.js';
import { ask, question } from '../api.js';
import { h } from '../dom.js';
import { panel } from '../panel.js';
import { table } from '../table.js';

const PERIODS = [
  ['month', 'This month'], ['last-month', 'Last month'], ['today', 'Today'], ['yesterday', 'Yesterday'], ['span', 'Span of time above'],
];
const BY = ['namespace', 'workload', 'pod', 'container', 'node', 'vm'];
/** How columns of the answer are shown: by the end of their name. */
const SHOWN = [
  ['_core_seconds', 'core-hours', '', 3600], ['_byte_seconds', 'GiB-hours', '', 3600 * 2 ** 30], ['_bytes', '', 'By', 1], ['_seconds', 'hours', '', 3600],
];
/** Columns that everybody asks for. */
const FIRST = ['cpu_core_seconds', 'memory_byte_seconds'];

export const title = () => 'Accounting';

export function panels(view) {
  const period = view.get('period') || 'month';
  const by = view.get('by') || 'namespace';
  const params = { ...span(period, view), by, namespace: view.namespace };
  const form = panel('Period', async () => choice(period, by, params), { wide: true });
  form.held = () => true;
  return [form, panel('What was used', (signal) => used(params, signal), { wide: true })];
}

/** Start and end in s; periods of the calendar are those of UTC. */
function span(period, { from, to }) {
  const now = new Date();
  const [year, month, day] = [now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate()];
  const between = (a, b) => ({ from: Date.UTC(...a) / 1000, to: b && Date.UTC(...b) / 1000 });
  return {
    month: () => between([year, month, 1]),
    'last-month': () => between([year, month - 1, 1], [year, month, 1]),
    today: () => between([year, month, day]),
    yesterday: () => between([year, month, day - 1], [year, month, day]),
    span: () => ({ from, to }),
  }[period]?.() ?? { from, to };
}

function choice(period, by, params) {
  const select = (text, name, list, chosen) => h('label', {}, h('span', {}, text),
    h('select', { name, onchange: (event) => go({ [name]: event.target.value }) },
      list.map(([value, shown]) => h('option', { value, selected: value === chosen }, shown))));
  const csv = question('accounting', { ...params, format: 'csv' });
  return h('form', { class: 'ask', 'aria-label': 'Period', onsubmit: (event) => event.preventDefault() },
    select('Period (UTC)', 'period', PERIODS, period),
    select('Of each', 'by', [...BY.map((key) => [key, key]), ['namespace,pod', 'namespace and pod']], by),
    h('a', { href: csv, download: `podscope-${period}-${by}.csv` }, 'Download as CSV'));
}

async function used(params, signal) {
  const answer = await ask('accounting', params, signal);
  const found = new Set(answer.rows.flatMap(({ used: figures }) => Object.keys(figures)));
  const names = [...FIRST.filter((name) => found.delete(name)), ...found];
  const shapes = names.map((key) => ({ key, ...shape(key) }));
  const keys = params.by.split(',');
  const rows = answer.rows.map(({ labels, used: figures }) => ({
    ...Object.fromEntries(keys.map((key) => [key, labels[key] || 'none'])),
    ...Object.fromEntries(shapes.map(({ key, by }) => [key, figures[key] === undefined ? undefined : figures[key] / by])),
  }));
  const sum = Object.fromEntries(shapes.map(({ key }) => [key, rows.reduce((sum, row) => sum + (row[key] ?? 0), 0)]));
  const utc = (seconds) => `${new Date(seconds * 1000).toISOString().slice(0, 16).replace('T', ' ')} UTC`;
  return table({
    caption: `From ${utc(answer.from)} to ${utc(answer.to)}`,
    columns: [
      ...keys.map((key) => ({ key, title: capital(key) })),
      ...shapes.map(({ key, heading, unit }, index) => ({ key, title: heading, unit, bar: index === 0 })),
    ],
    rows, sort: names[0], foot: rows.length > 0 && { ...sum, [keys[0]]: 'All' },
    note: 'Exact integrals over the period, in the hub’s finest steps at its edges.',
  });
}

function shape(key) {
  const [end, suffix, unit, by] = SHOWN.find(([ending]) => key.endsWith(ending)) ?? ['', '', '', 1];
  const words = capital(key.slice(0, key.length - end.length).replaceAll('_', ' '));
  return { heading: suffix ? `${words}, ${suffix}` : words, unit, by };
}

const capital = (word) => (['cpu', 'gpu', 'vm'].includes(word) ? word.toUpperCase() : `${word.slice(0, 1).toUpperCase()}${word.slice(1)}`);
