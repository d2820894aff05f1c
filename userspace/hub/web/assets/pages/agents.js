import { about, gather, NODE } from '../figures.js';
import { h } from '../dom.js';
import { panel } from '../panel.js';
import { table } from '../table.js';
import { ago } from '../units.js';

/** Whether something works is a matter of the last minutes. */
const LATELY = '-5m';
const [PROBE, SOURCE] = ['podscope.agent.probe.up', 'podscope.agent.source.up'];
const STATES = { 1: ['works', 'good'], 0: ['absent', 'bad'] };

export const title = ({ get }) => (get('node') ? `Agent of ${get('node')}` : 'Agents');

export function panels(view) {
  const place = { node: view.get('node'), namespace: '' };
  return [
    panel('Agents', (signal) => agents(view, place, signal), { wide: true }),
    panel('Probes', (signal) => parts(view, place, PROBE, 'podscope.bpf.program', 'Probe', signal)),
    panel('Sources', (signal) => parts(view, place, SOURCE, 'podscope.source', 'Source', signal)),
  ];
}

async function agents(view, place, signal) {
  const lately = { ...view, from: LATELY, to: '' };
  const share = async (metric) => {
    const rows = await gather(lately, signal, { ...place, by: ['node', metric === PROBE ? 'podscope.bpf.program' : 'podscope.source'], figures: [{ key: 'up', metric }] });
    return Object.groupBy(rows, ({ node }) => node);
  };
  const [rows, probes, sources, { entities }] = await Promise.all([
    gather(view, signal, {
      ...place, by: ['node'],
      figures: [
        { key: 'cpu', metric: 'podscope.agent.cpu.time', rate: true }, { key: 'memory', metric: 'podscope.agent.memory.usage' },
        { key: 'processes', metric: 'podscope.agent.processes' }, { key: 'containers', metric: 'podscope.agent.containers' },
        { key: 'losses', metric: 'podscope.agent.losses' }, { key: 'dropped', metric: 'podscope.agent.dropped' },
      ],
    }),
    share(PROBE), share(SOURCE),
    about(view, 'entities', { ...place, kind: 'agent', limit: 1000 }, signal),
  ]);
  const heard = Object.fromEntries(entities.map(({ attributes, last_seen: last }) => [attributes['k8s.node.name'], last]));
  for (const row of rows) {
    Object.assign(row, { heard: heard[row.node], probes: probes[row.node] ?? [], sources: sources[row.node] ?? [] });
  }
  const working = (key, heading) => ({
    key, title: heading,
    cell: (row) => {
      const up = row[key].filter((part) => part.up > 0).length;
      return h('span', { class: up < row[key].length ? 'bad' : 'good' }, `${up} of ${row[key].length}`);
    },
  });
  const columns = [
    NODE, { key: 'heard', title: 'Heard of', cell: ({ heard: last }) => (last ? h('span', { class: Date.now() / 1000 - last > 120 && 'bad' }, ago(last)) : '–') },
    working('probes', 'Probes'), working('sources', 'Sources'),
    { key: 'cpu', title: 'Its CPU', unit: 's/s' }, { key: 'memory', title: 'Its memory', unit: 'By' },
    { key: 'processes', title: 'Processes', unit: '{process}' }, { key: 'containers', title: 'Containers', unit: '{container}' },
    { key: 'losses', title: 'Lost', unit: '{loss}' }, { key: 'dropped', title: 'Dropped', unit: '{drop}' },
  ];
  return table({ caption: 'Agents, what they cost, and what they could not keep', columns, rows, sort: 'node', note: 'An agent’s /status says why a probe or source is absent.' });
}

/** Each part of each agent: those that do not work first. */
async function parts(view, place, metric, label, heading, signal) {
  const lately = { ...view, from: LATELY, to: '' };
  const rows = await gather(lately, signal, { ...place, by: ['node', label], figures: [{ key: 'up', metric }] });
  const state = ({ up }) => STATES[up] ?? ['now and then', 'bad'];
  rows.sort((a, b) => a.up - b.up || a[label].localeCompare(b[label]));
  const columns = [
    { key: label, title: heading }, NODE,
    { key: 'up', title: 'State', cell: (row) => h('span', { class: state(row)[1] }, state(row)[0]) },
  ];
  return table({ caption: `${heading}s in the last five minutes`, columns, rows });
}
