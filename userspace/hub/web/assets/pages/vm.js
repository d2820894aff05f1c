import { lines, POD, ranking, VM } from '../figures.js';

export const title = ({ get }) => (get('vm') ? `VM ${get('vm')}` : 'VMs');

export const panels = (view) => (view.get('vm') ? one(view, view.get('vm')) : [all(view)]);

const READY = { key: 'ready', title: 'Ready, waiting', metric: 'podscope.vm.vcpu.ready.time', unit: 'wait', rate: true };

const all = (view) => ranking(view, 'All VMs', {
  wide: true, by: ['namespace', 'vm', 'pod', 'node'], names: [VM, POD],
  figures: [
    READY,
    { key: 'cpu', title: 'CPU', metric: 'podscope.vm.cpu.time', unit: 's/s', rate: true },
    { key: 'vcpus', title: 'Virtual CPUs', metric: 'podscope.vm.vcpu.count', unit: '{cpu}' },
    { key: 'memory', title: 'Memory', metric: 'podscope.vm.memory.usage', unit: 'By' },
    { key: 'guest', title: 'Guest’s size', metric: 'podscope.vm.guest.memory.size', unit: 'By' },
  ],
});

function one(view, vm) {
  const line = (heading, metric, by, shape) => lines(view, heading, { metric, by, vm }, shape);
  const vcpu = (labels) => `vCPU ${labels['podscope.vm.vcpu.id']}`;
  const culprit = (key, heading) => ({ key: `podscope.culprit.${key}`, title: heading });
  return [
    line('CPU by role', 'podscope.vm.cpu.time', 'podscope.vm.role'),
    line('Memory by role', 'podscope.vm.memory.usage', 'podscope.vm.role'),
    line('Virtual CPUs that were ready but waited', READY.metric, 'podscope.vm.vcpu.id', { name: vcpu, unit: 'wait' }),
    line('CPU by virtual CPU', 'podscope.vm.vcpu.cpu.time', 'podscope.vm.vcpu.id', { name: vcpu }),
    line('What virtual CPUs did', 'podscope.vm.vcpu.state.time', 'podscope.vm.vcpu.state'),
    line('Exits by reason', 'podscope.vm.exits', 'podscope.vm.exit.reason'),
    ranking(view, 'Who ran while its virtual CPUs waited', {
      vm, by: ['podscope.culprit.namespace', 'podscope.culprit.pod', 'podscope.culprit.container'],
      names: [
        { ...culprit('pod', 'Pod'), cell: (row) => row['podscope.culprit.pod'] || 'the host, or unknown' },
        culprit('namespace', 'Namespace'), culprit('container', 'Container'),
      ],
      figures: [{ ...READY, metric: 'podscope.vm.culprit.time', title: 'Made it wait' }],
    }),
    ranking(view, 'Threads of the emulator', {
      vm, by: ['podscope.vm.thread.class'], names: [{ key: 'podscope.vm.thread.class', title: 'Class' }],
      figures: [
        { key: 'cpu', title: 'CPU', metric: 'podscope.vm.thread.cpu.time', unit: 's/s', rate: true },
        { key: 'wait', title: 'Run-queue wait', metric: 'podscope.vm.thread.run_queue.wait.time', unit: 'wait', rate: true },
        { key: 'threads', title: 'Threads', metric: 'podscope.vm.thread.count', unit: '{thread}' },
      ],
    }),
  ];
}
