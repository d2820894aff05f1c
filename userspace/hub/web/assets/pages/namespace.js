import { lines, NAMESPACE, NODE, POD, ranking, USAGE } from '../figures.js';

export const title = ({ namespace }) => (namespace ? `Namespace ${namespace}` : 'Namespaces');

export const panels = (view) => (view.namespace ? one(view) : all(view));

const all = (view) => [
  lines(view, 'CPU by namespace', { metric: 'container.cpu.time', by: 'namespace' }, { name: (l) => l.namespace || 'outside of pods' }),
  lines(view, 'Memory by namespace', { metric: 'container.memory.working_set', by: 'namespace' }, { name: (l) => l.namespace || 'outside of pods' }),
  ranking(view, 'All namespaces', { wide: true, by: ['namespace'], names: [NAMESPACE], figures: USAGE }),
];

const one = (view) => [
  lines(view, 'CPU by pod', { metric: 'container.cpu.time', by: 'pod' }),
  lines(view, 'Memory by pod', { metric: 'container.memory.working_set', by: 'pod' }),
  ranking(view, 'Workloads', { by: ['workload'], names: [{ key: 'workload', title: 'Workload', cell: (row) => row.workload || 'none known' }], figures: USAGE.slice(0, 2) }),
  lines(view, 'Run-queue wait by pod', { metric: 'podscope.container.run_queue.wait.time', by: 'pod' }, { unit: 'wait' }),
  ranking(view, 'Pods', { wide: true, by: ['namespace', 'pod', 'node'], names: [POD, NODE], figures: USAGE }),
];
