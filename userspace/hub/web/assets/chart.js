import uPlot from './uplot.js';
import { go } from './address.js';
import { colour, h } from './dom.js';
import { table } from './table.js';
import { clock, named, show, tick } from './units.js';

const HEIGHT = 210;
const COLOURS = 8;
/** Steps between the ticks of bytes: powers of two. */
const BINARY = Array.from({ length: 60 }, (_, power) => 2 ** power);

/**
 * Lines over time from an answer of `/api/v1/series`. Dragging across it looks closer.
 *
 * `name` makes a line's name of its labels. The same values are in a table below it.
 */
export function chart({ caption, answer, name }) {
  if (answer.series.length === 0) return h('p', { class: 'none' }, 'No points in this span of time.');
  const names = answer.series.map((series) => name(series.labels) || 'all');
  const plot = h('div', { class: 'plot', role: 'img', 'aria-label': `${caption}: a line chart; its values are in the table below it` });
  const figure = h(
    'figure',
    {},
    h('figcaption', {}, named(answer.unit)),
    plot,
    answer.left_out > 0 && h('p', { class: 'note' }, `The ${names.length} largest; ${answer.left_out} more are left out.`),
    asTable(caption, names, answer),
  );
  const data = [answer.times, ...answer.series.map((series) => series.values)];
  let drawn = null;
  // A plot needs the width that it has on the page, and follows it.
  new ResizeObserver(() => {
    const width = plot.clientWidth;
    if (width === 0) return;
    if (drawn) drawn.setSize({ width, height: HEIGHT });
    else drawn = new uPlot(options(names, answer, width), data, plot);
  }).observe(plot);
  return figure;
}

function options(names, { unit, step }, width) {
  const [text, grid] = [colour('--quiet'), colour('--line')];
  const axis = { stroke: text, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 }, font: '12px system-ui' };
  const line = (label, index) => ({
    label,
    stroke: colour(`--series-${index % COLOURS}`),
    dash: index < COLOURS ? undefined : [6, 3],
    width: 1.5,
    points: { show: false },
    value: (_, value) => show(value, unit),
    // Steps without a value between others are slower senders, not holes, unless many follow each other.
    gaps: (_plot, _series, _from, _to, holes) => holes.filter(([from, to]) => to - from > 40),
  });
  return {
    width,
    height: HEIGHT,
    cursor: { points: { size: 6 }, drag: { x: true, y: false, setScale: false } },
    scales: { y: { range: (_, low, high) => [Math.min(0, low), high > 0 ? high * 1.08 : 1] } },
    axes: [
      { ...axis, space: 80, values: (_, ticks, _axis, _space, every) => ticks.map((time) => tick(time, every)) },
      { ...axis, size: 80, values: (_, ticks) => ticks.map((value) => show(value, unit)), ...(unit.startsWith('By') && { incrs: BINARY }) },
    ],
    series: [{ label: 'Time', value: (_, time) => (time ? clock(time) : '–') }, ...names.map(line)],
    hooks: { setSelect: [(plot) => closer(plot, step)] },
  };
}

function closer(plot, step) {
  const { left, width } = plot.select;
  const [from, to] = [plot.posToVal(left, 'x'), plot.posToVal(left + width, 'x')].map(Math.round);
  if (width > 5 && to - from >= 2 * step) go({ from, to });
}

/** The same values as a table, made when it is opened. */
function asTable(caption, names, { times, series, unit }) {
  const rows = () => times.map((time, index) => ({ time, ...Object.fromEntries(series.map((s, n) => [`v${n}`, s.values[index]])) }));
  const columns = [
    { key: 'time', title: 'Time', cell: (row) => clock(row.time) },
    ...names.map((title, index) => ({ key: `v${index}`, title, unit })),
  ];
  return later(() => table({ caption: `${caption}, values`, columns, rows: rows(), sort: 'time' }));
}

/** A fold whose content is made when it is opened first. */
export function later(make) {
  const fold = h('details', {
    ontoggle: () => {
      if (fold.open && fold.childElementCount === 1) fold.append(make());
    },
  }, h('summary', {}, 'As a table'));
  return fold;
}
