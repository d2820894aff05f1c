// What is looked at is in the page's address, and nowhere else: links, bookmarks and the back button hold it.

/** What goes along from page to page. */
const SHARED = ['from', 'to', 'namespace', 'live'];
const DEFAULT = '-15m';

/** What the address asks for. */
export function view() {
  const query = new URLSearchParams(location.search);
  const get = (name) => query.get(name) ?? '';
  const from = get('from') || DEFAULT;
  const to = get('to');
  const relative = from.startsWith('-') && to === '';
  return {
    path: location.pathname,
    get,
    from,
    to,
    namespace: get('namespace'),
    relative,
    live: relative && get('live') !== 'off',
  };
}

/** A link to a page that keeps the span of time and the namespace, unless `own` says otherwise; null removes. */
export function link(path, own = {}) {
  const old = new URLSearchParams(location.search);
  const query = new URLSearchParams(SHARED.filter((name) => old.has(name)).map((name) => [name, old.get(name)]));
  return address(path, query, own);
}

/** Changes something in the address of this page; the page is drawn anew. */
export function go(changes) {
  const to = address(location.pathname, new URLSearchParams(location.search), changes);
  if (to === location.pathname + location.search) return;
  history.pushState(null, '', to);
  dispatchEvent(new Event('podscope:address'));
}

function address(path, query, changes) {
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === undefined || value === '') query.delete(name);
    else query.set(name, value);
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}
