import { fresh, h } from './dom.js';

/**
 * A part of a page that loads itself: `load()` gives what is shown under the heading, or fails with a message.
 * What was shown before stays until the new is there.
 */
export function panel(title, load, { wide = false } = {}) {
  const id = fresh('panel');
  const body = h('div', { class: 'body' }, h('p', { class: 'none' }, 'Loading…'));
  const section = h('section', { class: wide ? 'panel wide' : 'panel', 'aria-labelledby': id, 'aria-busy': 'true' }, h('h2', { id }, title), body);
  section.load = async (signal) => {
    section.setAttribute('aria-busy', 'true');
    try {
      const content = await load(signal);
      if (!signal.aborted) body.replaceChildren(...[content].flat().filter(Boolean));
    } catch (error) {
      if (!signal.aborted) body.replaceChildren(h('p', { class: 'fault', role: 'alert' }, error.message));
    }
    if (!signal.aborted) section.setAttribute('aria-busy', 'false');
  };
  /** Whether somebody is reading or typing in it just now. */
  section.held = () => section.matches(':focus-within') || body.querySelector('details[open]') !== null;
  return section;
}

/** Names and values. */
export function facts(pairs) {
  const known = pairs.filter(([, value]) => value !== undefined && value !== '');
  return h('dl', {}, known.flatMap(([name, value]) => [h('dt', {}, name), h('dd', {}, value)]));
}
