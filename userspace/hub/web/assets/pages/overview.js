import { link } from '../address.js';
import { h } from '../dom.js';
import { about, NODE, POD, ranking, USAGE, VM } from '../figures.js';
import { heatmap } from '../heatmap.js';
import { panel } from '../panel.js';
import { table } from '../table.js';
import { ago } from '../units.js';

/** Rows of the heat map. */
const NODES = 60;

export const title = ({ namespace }) => (namespace ? `Cluster: ${namespace}` : 'Cluster');

export function panels(view) {
  const pods = (heading, first) => ranking(view, heading, {
    by: ['namespace', 'pod', 'node'], names: [POD], limit: 10, figures: [first],
  });
  const [cpu, memory, wait] = USAGE;
  return [
    panel('Nodes by CPU', (signal) => nodes(view, signal), { wide: true }),
    pods('Pods with most CPU', cpu),
    pods('Pods with most memory', memory),
    pods('Pods that waited longest for a CPU', wait),
    ranking(view, 'VMs whose virtual CPUs waited longest', {
      by: ['namespace', 'vm'], names: [VM, { key: 'namespace', title: 'Namespace' }], limit: 10,
      figures: [{ key: 'ready', title: 'Ready, waiting', metric: 'podscope.vm.vcpu.ready.time', unit: 'wait', rate: true }],
    }),
    panel('OOM kills', (signal) => kills(view, signal), { wide: true }),
  ];
}

async function nodes(view, signal) {
  const all = { namespace: '', by: 'node' };
  const [used, have] = await Promise.all([
    about(view, 'series', { ...all, metric: 'k8s.node.cpu.time', limit: NODES }, signal),
    about(view, 'top', { ...all, metric: 'system.cpu.logical.count', limit: 1000 }, signal),
  ]);
  const cpus = Object.fromEntries(have.top.map(({ labels, value }) => [labels.node, value]));
  const rows = used.series.map(({ labels: { node }, values }) => ({
    name: node,
    href: link('/web/node', { node, namespace: null }),
    values: values.map((value) => (value === null ? null : value / (cpus[node] || 1))),
  }));
  rows.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
  const left = used.left_out > 0 && h('p', { class: 'note' }, `The ${NODES} busiest of ${NODES + used.left_out} nodes; `, h('a', { href: link('/web/node') }, 'all nodes'));
  return [heatmap({ caption: 'CPU in use, share of each node', times: used.times, rows, unit: '%', most: 1 }), left];
}

/** Each step in which something was killed. */
async function kills(view, signal) {
  const by = 'namespace,pod,container,node';
  const { times, series } = await about(view, 'series', { metric: 'podscope.container.oom.kills', value: 'increase', by }, signal);
  const rows = series.flatMap(({ labels, values }) => values.flatMap((kills, index) => (kills > 0 ? [{ ...labels, kills, time: times[index] }] : [])));
  if (rows.length === 0) return h('p', { class: 'none' }, 'None in this span of time.');
  const columns = [
    { key: 'time', title: 'When', cell: ({ time }) => ago(time) }, POD, { key: 'container', title: 'Container' }, NODE,
    { key: 'kills', title: 'Killed', unit: '{process}' },
  ];
  return table({ caption: 'Processes that the kernel ended for want of memory', columns, rows, sort: 'time' });
}
