import { fresh, h } from './dom.js';
import { show } from './units.js';

const PAGE = 25;
/** How each table is being read, by its caption: what is typed and turned to outlives a refresh. */
const states = new Map();

/**
 * A table that can be sorted, searched and paged; only one page of it is in the document.
 *
 * `columns`: `{ key, title, unit?, cell?, bar? }`. One with a unit holds numbers, which `cell(row)` may replace by a
 * node, and `bar` draws a bar under them. `sort` names the column that is the largest first, to begin with. A `silent`
 * caption is not shown, where a heading says the same.
 */
export function table({ caption, columns, rows, sort, note, foot, silent }) {
  const state = states.get(caption) ?? { sort, down: true, page: 0, words: '' };
  states.set(caption, state);
  const head = h('tr');
  const body = h('tbody');
  const place = h('span', { 'aria-live': 'polite' });
  const step = (by, text) => h('button', { type: 'button', onclick: () => turn(by) }, text);
  const [back, forth] = [step(-1, 'Previous'), step(1, 'Next')];
  const pager = h('div', { class: 'pager' }, back, place, forth);
  const most = Object.fromEntries(columns.filter((c) => c.bar).map((c) => [c.key, Math.max(...rows.map((r) => r[c.key] ?? 0))]));

  function turn(by) {
    state.page += by;
    draw();
  }

  function order(column) {
    state.down = state.sort === column.key ? !state.down : column.unit !== undefined;
    Object.assign(state, { sort: column.key, page: 0 });
    draw();
    head.querySelector('[aria-sort] button')?.focus();
  }

  function draw() {
    const words = state.words.toLowerCase();
    const text = (row) => columns.map((column) => String(row[column.key] ?? '')).join(' ').toLowerCase();
    const chosen = rows.filter((row) => !words || text(row).includes(words));
    if (state.sort) chosen.sort((a, b) => compare(a[state.sort], b[state.sort]) * (state.down ? -1 : 1));
    const pages = Math.max(1, Math.ceil(chosen.length / PAGE));
    state.page = Math.min(Math.max(0, state.page), pages - 1);
    const first = state.page * PAGE;
    head.replaceChildren(...columns.map((column) => header(column, state, order)));
    body.replaceChildren(...chosen.slice(first, first + PAGE).map((row) => line(columns, row, most)));
    if (chosen.length === 0) body.append(h('tr', {}, h('td', { colspan: columns.length, class: 'none' }, 'Nothing.')));
    place.textContent = `${Math.min(first + 1, chosen.length)}–${Math.min(first + PAGE, chosen.length)} of ${chosen.length}`;
    back.disabled = state.page === 0;
    forth.disabled = state.page === pages - 1;
    pager.hidden = chosen.length <= PAGE;
  }

  const id = fresh('search');
  const search = rows.length > PAGE && h(
    'p',
    { class: 'search' },
    h('label', { for: id }, 'Search '),
    h('input', {
      id, type: 'search', value: state.words,
      oninput: (event) => {
        Object.assign(state, { words: event.target.value, page: 0 });
        draw();
      },
    }),
  );
  draw();
  const whole = h('table', {}, h('caption', { class: silent && 'silent' }, caption), h('thead', {}, head), body, foot && line(columns, foot, {}, 'tfoot'));
  return h('div', { class: 'table' }, search, h('div', { class: 'scroll' }, whole), pager, note && h('p', { class: 'note' }, note));
}

function header(column, state, order) {
  const sorted = state.sort === column.key && (state.down ? 'descending' : 'ascending');
  const button = h('button', { type: 'button', onclick: () => order(column) }, column.title);
  return h('th', { scope: 'col', class: column.unit !== undefined && 'number', 'aria-sort': sorted }, button);
}

function line(columns, row, most, within) {
  const cells = columns.map((column, index) => {
    const content = column.cell?.(row) ?? (column.unit === undefined ? String(row[column.key] ?? '') : show(row[column.key], column.unit));
    const bar = most[column.key] > 0 && h('span', { class: 'bar' });
    if (bar) bar.style.width = `${(100 * (row[column.key] ?? 0)) / most[column.key]}%`;
    const shape = { class: column.unit !== undefined && 'number' };
    return index === 0 ? h('th', { scope: 'row', ...shape }, content) : h('td', shape, content, bar);
  });
  const tr = h('tr', {}, cells);
  return within ? h(within, {}, tr) : tr;
}

function compare(a, b) {
  if (typeof a === 'number' || typeof b === 'number') return (a ?? -Infinity) - (b ?? -Infinity);
  return String(a ?? '').localeCompare(String(b ?? ''), undefined, { numeric: true });
}
