import { go, view } from './address.js';
import { ask } from './api.js';
import { h } from './dom.js';

const SPANS = [
  ['-5m', 'Last 5 minutes'], ['-15m', 'Last 15 minutes'], ['-1h', 'Last hour'], ['-6h', 'Last 6 hours'], ['-1d', 'Last 24 hours'],
  ['-7d', 'Last 7 days'], ['-30d', 'Last 30 days'],
];
const THEMES = [['', 'System'], ['light', 'Light'], ['dark', 'Dark']];

const options = (list, chosen) => list.map(([value, text]) => h('option', { value, selected: value === chosen }, text));
const field = (text, control) => h('label', {}, h('span', {}, text), control);

/** Controls for the span of time, the namespace, refreshing and the theme. */
export function toolbar({ refresh, redraw }) {
  const now = view();
  return h(
    'form',
    { class: 'toolbar', 'aria-label': 'What is shown', onsubmit: (event) => event.preventDefault() },
    span(now),
    ends(now),
    namespace(now),
    h('label', { class: 'check' }, h('input', {
      type: 'checkbox', checked: now.live, disabled: !now.relative,
      onchange: (event) => go({ live: event.target.checked ? null : 'off' }),
    }), h('span', {}, 'Live')),
    h('button', { type: 'button', onclick: refresh }, 'Refresh'),
    theme(redraw),
  );
}

function span(now) {
  const own = ['own', 'From … to …'];
  const known = SPANS.some(([value]) => value === now.from) && now.relative;
  const list = known || !now.relative ? [...SPANS, own] : [...SPANS, [now.from, `Last ${now.from.slice(1)}`], own];
  const choose = ({ target: { value } }) => {
    const seconds = Math.round(Date.now() / 1000);
    if (value === 'own') go({ from: seconds - 3600, to: seconds });
    else go({ from: value, to: null });
  };
  return field('Time', h('select', { name: 'span', onchange: choose }, options(list, now.relative ? now.from : 'own')));
}

/** Start and end, where they are chosen one by one. */
function ends(now) {
  if (now.relative) return [];
  const local = (text) => {
    const time = new Date(/^\d+$/.test(text) ? Number(text) * 1000 : text);
    return Number.isNaN(time.getTime()) ? '' : new Date(time - time.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
  };
  const input = (name) => h('input', {
    type: 'datetime-local', name, value: local(now[name]),
    onchange: (event) => {
      const time = new Date(event.target.value);
      if (!Number.isNaN(time.getTime())) go({ [name]: Math.round(time / 1000) });
    },
  });
  return [field('From', input('from')), field('To', input('to'))];
}

function namespace(now) {
  const list = h('datalist', { id: 'namespaces' });
  const load = async () => {
    if (list.childElementCount > 0) return;
    const { top } = await ask('top', { metric: 'container.cpu.time', by: 'namespace', limit: 1000, from: now.from, to: now.to });
    list.append(...top.map(({ labels }) => h('option', { value: labels.namespace })));
  };
  const input = h('input', {
    name: 'namespace', type: 'search', list: 'namespaces', placeholder: 'all', value: now.namespace, size: 14, autocomplete: 'off',
    // Without suggestions it still takes what is typed.
    onfocus: () => load().catch(() => {}),
    onchange: (event) => go({ namespace: event.target.value }),
  });
  return [field('Namespace', input), list];
}

function theme(redraw) {
  const choose = (event) => {
    const { value } = event.target;
    if (value) {
      document.documentElement.dataset.theme = value;
      localStorage.setItem('podscope.theme', value);
    } else {
      delete document.documentElement.dataset.theme;
      localStorage.removeItem('podscope.theme');
    }
    redraw();
  };
  return field('Theme', h('select', { name: 'theme', onchange: choose }, options(THEMES, localStorage.getItem('podscope.theme') ?? '')));
}
