/** The address of a question to the hub. */
export function question(name, params) {
  const given = Object.entries(params).filter(([, value]) => value !== null && value !== undefined && value !== '');
  return `/api/v1/${name}?${new URLSearchParams(given)}`;
}

/** Asks the hub. Fails with an `Error` whose message can be shown. */
export async function ask(name, params, signal) {
  let answer;
  try {
    answer = await fetch(question(name, params), { signal });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Error('The hub does not answer. It may be starting again; this page keeps trying.', { cause: error });
  }
  if (answer.status === 401) {
    location.assign(`/web/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(body.detail ?? `The hub answered ${answer.status}.`);
  return body;
}
