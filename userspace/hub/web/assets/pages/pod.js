import { link } from '../address.js';
import { h } from '../dom.js';
import { about, lines, NODE, POD, ranking, USAGE, VM } from '../figures.js';
import { heatmap } from '../heatmap.js';
import { facts, panel } from '../panel.js';
import { ago, duration } from '../units.js';

export const title = ({ namespace, get }) => (get('pod') ? `Pod ${namespace}/${get('pod')}` : 'Pods');

export const panels = (view) => (view.get('pod') ? one(view, view.get('pod')) : [all(view)]);

const all = (view) => ranking(view, 'All pods', {
  wide: true, by: ['namespace', 'pod', 'node'], names: [POD, NODE], figures: USAGE,
  note: 'The thousand largest of each figure; a namespace narrows it down.',
});

function one(view, pod) {
  const line = (heading, metric, by, shape) => lines(view, heading, { metric, by, pod }, shape);
  return [
    panel('What it is', (signal) => known(view, pod, signal)),
    ranking(view, 'Containers', { by: ['container'], names: [{ key: 'container', title: 'Container' }], pod, figures: USAGE }),
    line('CPU by container', 'container.cpu.time', 'container'),
    line('Memory by container', 'container.memory.working_set', 'container'),
    line('Run-queue wait by container', 'podscope.container.run_queue.wait.time', 'container', { unit: 'wait' }),
    line('Network', 'k8s.pod.network.io', 'network.io.direction'),
    panel('How long its threads waited for a CPU', (signal) => waits(view, pod, signal), { wide: true }),
    processes(view, pod),
  ];
}

const processes = (view, pod) => ranking(view, 'Processes', {
  wide: true, pod, by: ['container', 'executable', 'pid'],
  names: [
    { key: 'executable', title: 'Process', cell: (row) => (row.executable === '_other' && !row.pid ? 'all others' : row.executable) },
    { key: 'pid', title: 'PID' }, { key: 'container', title: 'Container' },
  ],
  figures: [
    { key: 'cpu', title: 'CPU', metric: 'process.cpu.time', unit: 's/s', rate: true },
    { key: 'memory', title: 'Memory', metric: 'process.memory.usage', unit: 'By' },
    { key: 'wait', title: 'Run-queue wait', metric: 'podscope.process.run_queue.wait.time', unit: 'wait', rate: true },
    { key: 'threads', title: 'Threads', metric: 'process.thread.count', unit: '{thread}' },
  ],
  note: 'Processes too small for series of their own are added up as “all others” of their container.',
});

/** What the agent says of the pod beside figures. */
async function known(view, pod, signal) {
  const { entities } = await about(view, 'entities', { kind: 'container', pod, limit: 1000 }, signal);
  if (entities.length === 0) return h('p', { class: 'none' }, 'Nothing was heard of it in this span of time.');
  const last = entities.reduce((a, b) => (a.last_seen > b.last_seen ? a : b));
  const its = last.attributes;
  const labels = Object.entries(its).filter(([key]) => key.startsWith('k8s.pod.label.'));
  return facts([
    ['Node', NODE.cell({ node: its['k8s.node.name'] })],
    ['Namespace', h('a', { href: link('/web/namespace', { namespace: view.namespace }) }, view.namespace)],
    ['Workload', its['podscope.workload.name'] && `${its['podscope.workload.kind']}/${its['podscope.workload.name']}`],
    ['VM', its['podscope.vm.name'] && VM.cell({ vm: its['podscope.vm.name'], namespace: view.namespace })],
    ['UID', its['k8s.pod.uid']],
    ['Heard of', ago(last.last_seen)],
    ...labels.map(([key, value]) => [key.slice('k8s.pod.label.'.length), String(value)]),
  ]);
}

async function waits(view, pod, signal) {
  const params = { metric: 'podscope.container.run_queue.wait.bucket', value: 'increase', by: 'le', pod };
  const { times, series } = await about(view, 'series', params, signal);
  const bound = ({ labels }) => (labels.le === 'inf' ? Infinity : Number(labels.le));
  series.sort((a, b) => bound(b) - bound(a));
  const rows = series.map((bucket) => ({
    name: bound(bucket) === Infinity ? 'longer' : `≤ ${duration(bound(bucket))}`,
    values: bucket.values,
  }));
  const most = Math.max(...rows.flatMap(({ values }) => values.map((value) => value ?? 0)), 1);
  return heatmap({ caption: 'Waits by length', times, rows, unit: '{wait}', most, bend: 0.5 });
}
