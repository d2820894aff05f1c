import { ask } from '../api.js';
import { h } from '../dom.js';
import { facts, panel } from '../panel.js';
import { table } from '../table.js';
import { clock, show } from '../units.js';

export const title = () => 'Hub';

export function panels() {
  const part = (heading, draw) => panel(heading, async (signal) => draw(await ask('status', {}, signal)));
  return [part('State', state), part('Points since its start', points), part('What is kept', kept)];
}

const state = (status) => [
  facts([
    ['Version', status.version],
    ['Series', show(status.series, '{series}')],
    ['Failed writes', h('span', { class: status.failed_writes > 0 && 'bad' }, String(status.failed_writes))],
    ['Database', status.database_bytes === undefined ? '' : show(status.database_bytes, 'By')],
  ]),
  h('p', { class: 'note' }, h('a', { href: '/api/v1/openapi.json' }, 'Description of the API (OpenAPI)')),
];

const points = ({ points: by }) => table({
  caption: 'Points by what became of them',
  columns: [{ key: 'fate', title: 'Points' }, { key: 'count', title: 'Count', unit: '{point}', bar: true }],
  rows: Object.entries(by).map(([fate, count]) => ({ fate: fate.replaceAll('_', ' '), count })),
  sort: 'count',
});

const kept = ({ levels }) => table({
  caption: 'Steps, and for how long their points are kept',
  columns: [
    { key: 'level', title: 'Step' }, { key: 'retained', title: 'Kept for', unit: 's' },
    { key: 'since', title: 'First table', cell: ({ since }) => (since === undefined ? '–' : clock(since)) },
  ],
  rows: levels,
});
