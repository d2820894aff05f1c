// What pages have in common: questions about the span of time in view, and the panels that show their answers.

import { link } from './address.js';
import { ask } from './api.js';
import { chart } from './chart.js';
import { h } from './dom.js';
import { panel } from './panel.js';
import { table } from './table.js';

const STEPS = [10, 30, 60, 300, 900, 3600, 7200, 21600, 43200, 86400];
const SECONDS = { s: 1, m: 60, h: 3600, d: 86400, w: 604800 };
/** Columns of a chart, about. */
const POINTS = 100;

/** Seconds between points, of which the usual intervals of agents are divisors; undefined leaves it to the hub. */
function step({ from, to }) {
  const relative = /^-(\d+)([smhdw])$/.exec(from);
  const span = relative ? relative[1] * SECONDS[relative[2]] : (Number(to) || Date.now() / 1000) - Number(from);
  return STEPS.find((seconds) => seconds >= span / POINTS);
}

/** A question about the span of time and the namespace in view. */
export function about(view, name, params, signal) {
  const spanned = { from: view.from, to: view.to, namespace: view.namespace, ...params };
  return ask(name, name === 'series' ? { step: step(view), ...spanned } : spanned, signal);
}

/** A panel with a line chart. `params` are those of `/api/v1/series`, `name` makes a line's name of its labels. */
export function lines(view, title, params, { name = (labels) => Object.values(labels).join(' '), unit, wide } = {}) {
  const load = async (signal) => {
    const answer = await about(view, 'series', { limit: 8, ...params }, signal);
    return chart({ caption: title, answer: unit ? { ...answer, unit } : answer, name });
  };
  return panel(title, load, { wide });
}

/**
 * Rows with a figure of each of several metrics: `figures` are `{ key, metric, rate }`, the latter for what a counter
 * grew by per second while it was there. `by` and `places` are as `/api/v1/top` takes them.
 */
export async function gather(view, signal, { by, figures, limit = 1000, ...places }) {
  const question = ({ metric, kind }) => about(view, 'top', { metric, kind, by: by.join(','), limit, ...places }, signal);
  const answers = await Promise.all(figures.map(question));
  const rows = new Map();
  answers.forEach(({ top }, index) => {
    const { key, rate } = figures[index];
    for (const { labels, value, seconds } of top) {
      const name = JSON.stringify(by.map((label) => labels[label]));
      if (!rows.has(name)) rows.set(name, { ...labels });
      rows.get(name)[key] = rate ? value / Math.max(seconds, 1) : value;
    }
  });
  return [...rows.values()];
}

/** A panel with a table of what [`gather`] finds; the first figure is the one that it is sorted by. */
export function ranking(view, title, { names, note, wide, ...question }) {
  const columns = [...names, ...question.figures.map((figure, index) => ({ bar: index === 0, ...figure }))];
  const load = async (signal) => {
    const rows = await gather(view, signal, question);
    return table({ caption: title, columns, rows, sort: question.figures[0].key, note, silent: true });
  };
  return panel(title, load, { wide });
}

/** CPU, memory and run-queue wait of containers. */
export const USAGE = [
  { key: 'cpu', title: 'CPU', metric: 'container.cpu.time', unit: 's/s', rate: true },
  { key: 'memory', title: 'Memory', metric: 'container.memory.working_set', unit: 'By' },
  { key: 'wait', title: 'Run-queue wait', metric: 'podscope.container.run_queue.wait.time', unit: 'wait', rate: true },
];

/** What a pod is called; processes that are in none go by their node. */
export const podName = ({ namespace, pod, node }) => (pod ? `${namespace}/${pod}` : `outside of pods${node ? ` on ${node}` : ''}`);

/** Columns that lead to the page of what they name. */
export const POD = {
  key: 'pod', title: 'Pod',
  cell: (row) => h('a', { href: row.pod ? link('/web/pod', { namespace: row.namespace, pod: row.pod }) : link('/web/node', { node: row.node }) }, podName(row)),
};
export const NODE = { key: 'node', title: 'Node', cell: ({ node }) => node && h('a', { href: link('/web/node', { node, namespace: null }) }, node) };
export const NAMESPACE = {
  key: 'namespace', title: 'Namespace',
  cell: ({ namespace }) => (namespace ? h('a', { href: link('/web/namespace', { namespace }) }, namespace) : 'outside of pods'),
};
export const VM = {
  key: 'vm', title: 'VM',
  cell: ({ vm, namespace }) => (vm ? h('a', { href: link('/web/vm', { vm, namespace }) }, vm) : ''),
};
