// A small cluster of one's own making, sent as agents send: every value is a function of time.

const STEP = 10;
/** How far back it goes, in s. */
export const SPAN = 600;
/** Names that would be markup, script or a formula anywhere but in a text. */
export const EVIL = {
  namespace: '"><script>window.hurt=1</script>',
  pod: '<img src=x onerror="window.hurt=1">',
  container: "javascript:window.hurt=1//'",
  executable: '</td><svg onload=window.hurt=1>',
};

const NODES = [['node-1', 4, 0.9], ['node-2', 8, 0.4], ['node-3', 16, 0.1]];
/** namespace, pod, node, container, CPUs, MiB, executables */
export const PODS = [
  ['shop', 'web-1', 'node-1', 'nginx', 1.25, 300, ['nginx', 'sh']],
  ['shop', 'web-2', 'node-2', 'nginx', 0.5, 200, ['nginx']],
  ['shop', 'db-0', 'node-1', 'postgres', 0.8, 900, ['postgres', 'pgbench']],
  ['batch', 'job-1', 'node-2', 'work', 2, 64, ['python3']],
  ['batch', 'job-2', 'node-2', 'work', 0.2, 50, ['python3']],
  ['vms', 'virt-launcher-db-x', 'node-1', 'compute', 1.5, 2048, ['qemu-kvm', 'virtqemud']],
  ['kube-system', 'proxy-1', 'node-3', 'proxy', 0.05, 40, ['kube-proxy']],
  [EVIL.namespace, EVIL.pod, 'node-3', EVIL.container, 0.3, 30, [EVIL.executable]],
];

const attribute = ([key, value]) => ({ key, value: typeof value === 'number' ? { intValue: String(value) } : { stringValue: value } });
const attributes = (object) => Object.entries(object).map(attribute);
const ns = (seconds) => `${seconds}000000000`;

/** A resource, to which metrics are added. */
class Resource {
  metrics = [];

  constructor(labels, start, time) {
    Object.assign(this, { labels, start, time });
  }

  gauge(name, unit, value, own = {}) {
    const point = { timeUnixNano: ns(this.time), asDouble: value, attributes: attributes(own) };
    this.metrics.push({ name, unit, description: `About ${name}.`, gauge: { dataPoints: [point] } });
    return this;
  }

  /** A counter that has grown by `rate` per second. */
  grows(name, unit, rate, own = {}) {
    const point = { startTimeUnixNano: ns(this.start), timeUnixNano: ns(this.time), asDouble: rate * (this.time - this.start), attributes: attributes(own) };
    return this.sum(name, unit, point);
  }

  sum(name, unit, point) {
    this.metrics.push({ name, unit, sum: { aggregationTemporality: 2, isMonotonic: true, dataPoints: [point] } });
    return this;
  }

  histogram(name, bounds, counts) {
    const point = {
      startTimeUnixNano: ns(this.start), timeUnixNano: ns(this.time), explicitBounds: bounds,
      bucketCounts: counts.map(String), count: String(counts.reduce((a, b) => a + b)), sum: 1,
    };
    this.metrics.push({ name, unit: 's', histogram: { aggregationTemporality: 2, dataPoints: [point] } });
    return this;
  }

  get json() {
    return { resource: { attributes: attributes(this.labels) }, scopeMetrics: [{ metrics: this.metrics }] };
  }
}

function node([name, cpus, share], at) {
  const on = new Resource({ 'k8s.node.name': name }, ...at);
  const wave = share * (0.8 + 0.2 * Math.sin(on.time / 60));
  on.grows('k8s.node.cpu.time', 's', cpus * share).gauge('system.cpu.logical.count', '{cpu}', cpus);
  on.gauge('system.memory.limit', 'By', cpus * 4 * 2 ** 30).gauge('k8s.node.memory.working_set', 'By', cpus * wave * 4 * 2 ** 30);
  for (const [mode, part] of [['user', 0.7], ['system', 0.3]]) on.grows('system.cpu.time', 's', cpus * share * part, { 'cpu.mode': mode });
  for (const [state, part] of [['used', wave], ['free', 1 - wave]]) {
    on.gauge('system.memory.usage', 'By', part * cpus * 4 * 2 ** 30, { 'system.memory.state': state });
  }
  on.gauge('system.process.count', '{process}', 100 * cpus).grows('podscope.node.context_switches', '{context_switch}', 1000 * cpus);
  on.grows('podscope.node.pressure.time', 's', share / 10, { 'podscope.pressure.resource': 'cpu', 'podscope.pressure.kind': 'some' });
  on.grows('podscope.agent.cpu.time', 's', 0.01, { 'cpu.mode': 'user' }).gauge('podscope.agent.memory.usage', 'By', 2e7);
  on.gauge('podscope.agent.processes', '{process}', 100 * cpus).gauge('podscope.agent.containers', '{container}', 4);
  on.grows('podscope.agent.losses', '{loss}', 0, { 'podscope.loss.reason': 'book' });
  for (const probe of ['sched_switch', 'sched_process_fork', 'kvm_exit']) {
    on.gauge('podscope.agent.probe.up', '{probe}', probe === 'kvm_exit' && name === 'node-3' ? 0 : 1, { 'podscope.bpf.program': probe });
  }
  for (const source of ['cgroup', 'runtime']) on.gauge('podscope.agent.source.up', '{source}', 1, { 'podscope.source': source });
  return [on];
}

function pod([namespace, name, nodeName, containerName, cpus, mib, executables], at) {
  const vm = name.startsWith('virt-launcher') ? { 'podscope.vm.name': 'db', 'podscope.vm.uid': 'vm-1' } : {};
  const own = { 'k8s.node.name': nodeName, 'k8s.namespace.name': namespace, 'k8s.pod.name': name, 'k8s.pod.uid': `uid-${name}`, ...vm };
  const labels = { 'podscope.workload.kind': 'Deployment', 'podscope.workload.name': name.split('-')[0], 'k8s.pod.label.app': name };
  const inside = { ...own, 'k8s.container.name': containerName, 'container.id': `id-${name}` };
  const on = new Resource({ ...inside, ...labels }, ...at);
  const age = on.time - on.start;
  for (const [mode, part] of [['user', 0.75], ['system', 0.25]]) on.grows('container.cpu.time', 's', cpus * part, { 'cpu.mode': mode });
  on.gauge('container.cpu.usage', '{cpu}', cpus).gauge('container.uptime', 's', age);
  on.gauge('container.memory.working_set', 'By', mib * 2 ** 20 * (1 + 0.1 * Math.sin(on.time / 90)));
  on.grows('podscope.container.run_queue.wait.time', 's', cpus / 20).grows('container.disk.io', 'By', 1000 * mib, { 'disk.io.direction': 'write' });
  on.histogram('podscope.container.run_queue.wait', [1e-5, 1e-4, 1e-3, 1e-2], [40, 25, 12, 5, 1].map((rate, bucket) => Math.round(rate * cpus * age * (1 + 0.3 * bucket))));
  const kills = namespace === 'batch' && age > SPAN / 2 ? 1 : 0;
  on.sum('podscope.container.oom.kills', '{kill}', {
    startTimeUnixNano: ns(on.start), timeUnixNano: ns(on.time), asDouble: kills, attributes: attributes({ 'podscope.oom.scope': 'container' }),
  });
  const processes = executables.map((executable, index) => new Resource({ ...inside, 'process.executable.name': executable, 'process.pid': 1000 + index }, ...at)
    .grows('process.cpu.time', 's', (cpus * (index + 1)) / 4, { 'cpu.mode': 'user' })
    .gauge('process.memory.usage', 'By', mib * 2 ** 19).gauge('process.thread.count', '{thread}', 4 + index)
    .grows('podscope.process.run_queue.wait.time', 's', cpus / 40));
  const programs = executables.map((executable) => new Resource({ ...inside, 'process.executable.name': executable }, ...at)
    .grows('podscope.executable.cpu.time', 's', cpus / executables.length, { 'cpu.mode': 'user' }));
  return [on, ...processes, ...programs, ...(vm['podscope.vm.name'] ? machine(own, at) : [])];
}

function machine(own, at) {
  const on = new Resource(own, ...at);
  for (const [role, cpus] of [['emulator', 1.2], ['launcher', 0.02], ['libvirt', 0.05]]) {
    on.grows('podscope.vm.cpu.time', 's', cpus, { 'podscope.vm.role': role, 'cpu.mode': 'user' });
    on.gauge('podscope.vm.memory.usage', 'By', cpus * 2 ** 30, { 'podscope.vm.role': role });
  }
  on.gauge('podscope.vm.vcpu.count', '{cpu}', 2).gauge('podscope.vm.guest.memory.size', 'By', 2 ** 31);
  for (const kind of ['vcpu', 'worker']) {
    on.grows('podscope.vm.thread.cpu.time', 's', 0.6, { 'podscope.vm.thread.class': kind });
    on.gauge('podscope.vm.thread.count', '{thread}', 2, { 'podscope.vm.thread.class': kind });
  }
  on.grows('podscope.vm.exits', '{exit}', 900, { 'podscope.vm.exit.reason': 'halt' });
  const vcpus = ['0', '1'].map((id) => new Resource({ ...own, 'podscope.vm.vcpu.id': id }, ...at)
    .grows('podscope.vm.vcpu.cpu.time', 's', 0.6).grows('podscope.vm.vcpu.ready.time', 's', 0.05 + 0.1 * Number(id))
    .grows('podscope.vm.vcpu.state.time', 's', 0.5, { 'podscope.vm.vcpu.state': 'guest' }));
  const by = { 'podscope.culprit.namespace': 'batch', 'podscope.culprit.pod': 'job-1', 'podscope.culprit.container': 'work' };
  return [on, ...vcpus, new Resource({ ...own, ...by }, ...at).grows('podscope.vm.culprit.time', 's', 0.12)];
}

/** Sends everything up to `now`, in s. */
export async function feed(hub, now) {
  const start = now - SPAN;
  for (let time = start; time <= now; time += STEP) {
    const at = [start, time];
    await send(hub, [...NODES.flatMap((one) => node(one, at)), ...PODS.flatMap((one) => pod(one, at))]);
  }
}

/** A thousand pods more, of which little is known. */
export async function crowd(hub, now) {
  for (const time of [now - 2 * STEP, now - STEP, now]) {
    const one = (_, index) => new Resource({
      'k8s.node.name': `node-${1 + (index % 3)}`, 'k8s.namespace.name': 'crowd', 'k8s.pod.name': `pod-${index}`,
      'k8s.pod.uid': `crowd-${index}`, 'k8s.container.name': 'main', 'container.id': `crowd-${index}`,
    }, now - SPAN, time).grows('container.cpu.time', 's', index / 1e4).gauge('container.memory.working_set', 'By', 1e6 + index);
    await send(hub, Array.from({ length: 1000 }, one));
  }
}

async function send(hub, resources) {
  const body = JSON.stringify({ resourceMetrics: resources.map((resource) => resource.json) });
  const answer = await fetch(`${hub}/v1/metrics`, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  const said = await answer.json();
  if (answer.status !== 200 || Number(said.partialSuccess?.rejectedDataPoints ?? 0) > 0) throw new Error(`the hub answered ${answer.status}: ${JSON.stringify(said)}`);
}
