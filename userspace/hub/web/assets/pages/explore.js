import { go } from '../address.js';
import { ask } from '../api.js';
import { chart } from '../chart.js';
import { h } from '../dom.js';
import { about } from '../figures.js';
import { panel } from '../panel.js';
import { table } from '../table.js';

const VALUES = [['', 'usual'], ['rate', 'per second'], ['increase', 'increase'], ['average', 'average'], ['low', 'smallest'], ['high', 'largest']];
const KEYS = ['namespace', 'workload', 'pod', 'container', 'node', 'vm', 'executable', 'namespace,pod', 'all'];
/** What a question consists of, beside the span of time and the namespace. */
const PARTS = ['metric', 'kind', 'by', 'value', 'node', 'pod'];

export const title = ({ get }) => (get('metric') ? `Explore: ${get('metric')}` : 'Explore');

export function panels(view) {
  const params = Object.fromEntries(PARTS.map((part) => [part, view.get(part)]));
  const form = panel('Question', async (signal) => asking(params, await ask('metrics', {}, signal)), { wide: true });
  // Nobody's half-typed question is taken away by a refresh.
  form.held = () => true;
  if (!params.metric) return [form];
  return [
    form,
    panel('Over time', (signal) => overTime(view, params, signal), { wide: true }),
    panel('Over the whole span', (signal) => whole(view, params, signal), { wide: true }),
  ];
}

function asking(params, metrics) {
  const names = [...new Set(metrics.map(({ name }) => name))];
  const kinds = [...new Set(metrics.filter(({ name }) => name === params.metric).map(({ entity }) => entity))];
  const about = metrics.find(({ name }) => name === params.metric);
  const input = (text, name, list, size) => h('label', {}, h('span', {}, text),
    h('input', { name, value: params[name], list: `${name}-list`, size, autocomplete: 'off', spellcheck: 'false' }),
    h('datalist', { id: `${name}-list` }, list.map((value) => h('option', { value }))));
  const select = (text, name, list) => h('label', {}, h('span', {}, text),
    h('select', { name }, list.map(([value, shown]) => h('option', { value, selected: value === params[name] }, shown))));
  const submit = (event) => {
    event.preventDefault();
    go(Object.fromEntries(new FormData(event.target)));
  };
  return [
    h('form', { class: 'ask', 'aria-label': 'Question', onsubmit: submit },
      input('Metric', 'metric', names, 38),
      kinds.length > 1 && select('Of', 'kind', [['', 'all'], ...kinds.map((kind) => [kind, kind])]),
      input('Group by', 'by', KEYS, 18),
      select('Value', 'value', VALUES),
      input('Node', 'node', [], 12),
      input('Pod', 'pod', [], 18),
      h('button', {}, 'Show')),
    params.metric && h('p', { class: 'note' }, about ? `${about.description} (${about.kind}, ${about.unit || 'no unit'})` : 'There are no points of this metric.'),
  ];
}

async function overTime(view, params, signal) {
  const answer = await about(view, 'series', { ...params, limit: 12 }, signal);
  return chart({ caption: params.metric, answer, name: (labels) => Object.entries(labels).filter(([key]) => !['entity', 'kind'].includes(key) || !params.by).map(([, value]) => value).filter(Boolean).join(' ') });
}

async function whole(view, { value: _, ...params }, signal) {
  const { top, unit, of } = await about(view, 'top', { ...params, limit: 1000 }, signal);
  const keys = [...new Set(top.flatMap(({ labels }) => Object.keys(labels)))];
  const counter = top.every(({ value, integral }) => value === integral);
  const columns = [
    ...keys.map((key) => ({ key: `of ${key}`, title: key })),
    { key: 'value', title: counter ? 'Increase' : 'Average', unit, bar: true },
  ];
  const rows = top.map(({ labels, value }) => ({ value, ...Object.fromEntries(Object.entries(labels).map(([key, text]) => [`of ${key}`, text || '#Not available'])) }));
  return table({ caption: params.metric, columns, rows, sort: 'value', note: of > top.length && `The ${top.length} largest of ${of}.` });
}
