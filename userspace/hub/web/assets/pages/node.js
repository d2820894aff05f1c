import { link } from '../address.js';
import { h } from '../dom.js';
import { lines, NODE, POD, podName, ranking, USAGE } from '../figures.js';

export const title = ({ get }) => (get('node') ? `Node ${get('node')}` : 'Nodes');

export const panels = (view) => (view.get('node') ? one(view, view.get('node')) : [all(view)]);

const all = (view) => ranking(view, 'All nodes', {
  wide: true, by: ['node'], names: [NODE], namespace: '',
  figures: [
    { key: 'cpu', title: 'CPU', metric: 'k8s.node.cpu.time', unit: 's/s', rate: true },
    { key: 'cpus', title: 'CPUs', metric: 'system.cpu.logical.count', unit: '{cpu}' },
    { key: 'memory', title: 'Memory', metric: 'k8s.node.memory.working_set', unit: 'By' },
    { key: 'limit', title: 'of', metric: 'system.memory.limit', unit: 'By' },
    { key: 'processes', title: 'Processes', metric: 'system.process.count', unit: '{process}' },
    { key: 'switches', title: 'Context switches', metric: 'podscope.node.context_switches', unit: '{switch}/s', rate: true },
  ],
});

function one(view, node) {
  const line = (heading, metric, by, shape) => lines(view, heading, { metric, by, node, namespace: '' }, shape);
  const pods = ranking(view, 'Pods on this node', {
    wide: true, by: ['namespace', 'pod', 'node'], names: [POD], node, figures: USAGE,
    note: h('a', { href: link('/web/agents', { node }) }, 'How this node’s agent is'),
  });
  const programs = ranking(view, 'Programs on this node', {
    wide: true, by: ['executable', 'namespace', 'pod', 'node'], names: [{ key: 'executable', title: 'Program' }, POD], node,
    figures: [
      { key: 'cpu', title: 'CPU', metric: 'podscope.executable.cpu.time', unit: 's/s', rate: true },
      { key: 'wait', title: 'Run-queue wait', metric: 'podscope.executable.run_queue.wait.time', unit: 'wait', rate: true },
      { key: 'started', title: 'Started', metric: 'podscope.executable.process.started', unit: '{process}' },
    ],
  });
  return [
    line('CPU by mode', 'system.cpu.time', 'cpu.mode'),
    line('Memory by state', 'system.memory.usage', 'system.memory.state'),
    line('Pods with most CPU', 'container.cpu.time', 'namespace,pod', { name: podName }),
    line('Pressure', 'podscope.node.pressure.time', 'podscope.pressure.resource,podscope.pressure.kind', { unit: '%' }),
    line('Network', 'system.network.io', 'network.io.direction'),
    line('Disks', 'system.disk.io', 'disk.io.direction'),
    pods,
    programs,
  ];
}
