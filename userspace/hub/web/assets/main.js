import { link, view } from './address.js';
import { ask } from './api.js';
import { h } from './dom.js';
import { toolbar } from './toolbar.js';

/** Pages: address, name in the navigation, module. */
const PAGES = [
  ['/web', 'Cluster', 'overview'],
  ['/web/node', 'Nodes', 'node'],
  ['/web/namespace', 'Namespaces', 'namespace'],
  ['/web/pod', 'Pods', 'pod'],
  ['/web/vm', 'VMs', 'vm'],
  ['/web/explore', 'Explore', 'explore'],
  ['/web/accounting', 'Accounting', 'accounting'],
  ['/web/agents', 'Agents', 'agents'],
  ['/web/status', 'Hub', 'status'],
];
const main = document.getElementById('main');
const news = document.getElementById('news');

let panels = [];
let loading = new AbortController();
let timer = 0;

async function draw() {
  const now = view();
  const [, , name] = PAGES.find(([path]) => path === now.path) ?? PAGES[0];
  const page = await import(`./pages/${name}.js`);
  const title = page.title(now);
  document.title = `${title} · podscope`;
  panels = page.panels(now);
  main.className = name;
  main.replaceChildren(h('h1', {}, title), ...panels);
  document.getElementById('toolbar').replaceChildren(toolbar({ refresh: () => load(), redraw: draw }));
  navigation(now.path);
  await load();
}

function navigation(path) {
  const item = ([to, text]) => h('li', {}, h('a', { href: link(to), 'aria-current': to === path && 'page' }, text));
  document.querySelector('header nav').replaceChildren(h('ul', {}, PAGES.map(item)));
}

/** Loads what is shown; with `gently` leaves alone what somebody is reading. */
async function load(gently = false) {
  loading.abort();
  clearTimeout(timer);
  const mine = (loading = new AbortController());
  if (!gently) news.textContent = 'Loading…';
  await Promise.all(panels.filter((panel) => !gently || !panel.held()).map((panel) => panel.load(mine.signal)));
  if (mine.signal.aborted) return;
  const time = new Date().toLocaleTimeString();
  news.textContent = main.querySelector('.fault') ? `Not everything could be loaded at ${time}.` : gently ? '' : `Loaded at ${time}.`;
  if (view().live) timer = setTimeout(() => (document.hidden ? load.later() : load(true)), pause());
}
/** A page that nobody sees asks nothing. */
load.later = () => document.addEventListener('visibilitychange', () => load(true), { once: true });

/** Long spans change slowly. */
const pause = () => (['-5m', '-15m', '-1h'].includes(view().from) ? 10_000 : 60_000);

/** Who has logged in, and the way out; a hub that is open to all has neither. */
async function who() {
  const { name, csrf } = await ask('me', {});
  if (!csrf) return;
  const secret = h('input', { type: 'hidden', name: 'csrf', value: csrf });
  const form = h('form', { method: 'post', action: '/web/logout' }, secret, h('span', {}, name), ' ', h('button', {}, 'Log out'));
  document.getElementById('who').replaceChildren(form);
}

document.getElementById('zone').textContent = `Times are those of ${Intl.DateTimeFormat().resolvedOptions().timeZone}.`;
addEventListener('popstate', draw);
addEventListener('podscope:address', draw);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
draw();
// Panels say themselves that the hub does not answer.
who().catch(() => {});
