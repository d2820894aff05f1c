import { later } from './chart.js';
import { colour, fresh, h } from './dom.js';
import { table } from './table.js';
import { clock, show } from './units.js';

const ROW = 20;

/**
 * Rows of cells over time, the darker the more.
 *
 * `rows`: `{ name, href?, values }`; `most` is the value of the darkest cell; `bend` below 1 shows small values better.
 * A cell is read by pointing at it, or with the arrow keys.
 */
export function heatmap({ caption, times, rows, unit, most, bend = 1 }) {
  if (rows.length === 0) return h('p', { class: 'none' }, 'No points in this span of time.');
  const id = fresh('cell');
  const said = h('output', { id, 'aria-live': 'polite' }, 'Point at a cell, or move with the arrow keys.');
  const canvas = h('canvas', {
    tabindex: 0, role: 'img', 'aria-describedby': id,
    'aria-label': `${caption}: a heat map of ${rows.length} rows over time; its values are in the table below it`,
  });
  const label = (row) => h('li', {}, row.href ? h('a', { href: row.href }, row.name) : row.name);
  const at = { row: 0, column: times.length - 1 };
  let marked = false;

  function draw() {
    const width = canvas.clientWidth;
    if (width === 0) return;
    const scale = devicePixelRatio || 1;
    canvas.width = width * scale;
    canvas.height = rows.length * ROW * scale;
    const pen = canvas.getContext('2d');
    pen.scale(scale, scale);
    pen.fillStyle = colour('--heat');
    const cell = width / times.length;
    rows.forEach((row, y) => row.values.forEach((value, x) => {
      if (value === null || value === undefined) return;
      pen.globalAlpha = 0.04 + 0.96 * Math.min(1, Math.max(0, value / most)) ** bend;
      pen.fillRect(x * cell, y * ROW + 1, Math.max(1, cell - (cell > 5 ? 1 : 0)), ROW - 2);
    }));
    pen.globalAlpha = 1;
    pen.strokeStyle = colour('--text');
    if (marked) pen.strokeRect(at.column * cell + 0.5, at.row * ROW + 1.5, Math.max(2, cell - 1), ROW - 3);
  }

  function say(row, column) {
    if (row < 0 || column < 0 || row >= rows.length || column >= times.length) return;
    Object.assign(at, { row, column });
    marked = true;
    said.textContent = `${rows[row].name}, ${clock(times[column])}: ${show(rows[row].values[column], unit)}`;
    draw();
  }

  canvas.addEventListener('pointermove', (event) => {
    say(Math.floor(event.offsetY / ROW), Math.floor((event.offsetX / canvas.clientWidth) * times.length));
  });
  canvas.addEventListener('keydown', (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    say(at.row + step[0], at.column + step[1]);
  });
  canvas.style.height = `${rows.length * ROW}px`;
  new ResizeObserver(draw).observe(canvas);
  const ends = h('p', { class: 'ends' }, h('span', {}, clock(times[0])), h('span', {}, clock(times[times.length - 1])));
  return h(
    'figure',
    { class: 'heatmap' },
    h('figcaption', {}, caption),
    h('div', { class: 'cells' }, h('ul', {}, rows.map(label)), canvas, ends),
    h('p', {}, said),
    later(() => values(caption, times, rows, unit)),
  );
}

function values(caption, times, rows, unit) {
  const columns = [
    { key: 'time', title: 'Time', cell: (row) => clock(row.time) },
    ...rows.map((row, index) => ({ key: `v${index}`, title: row.name, unit })),
  ];
  const lines = times.map((time, x) => ({ time, ...Object.fromEntries(rows.map((row, y) => [`v${y}`, row.values[x]])) }));
  return table({ caption: `${caption}, values`, columns, rows: lines, sort: 'time' });
}
