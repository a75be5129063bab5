// @ts-check
/** Requests to the editor's server. The token stands behind # in the page's address, which browsers send to nobody. */

const token = location.hash.slice(1).split('&')[0];

/** An answer that is no success. */
export class Refusal extends Error {
  /** @param {number} status @param {any} facts */
  constructor(status, facts) {
    super(facts.error || `the server answered ${status}`);
    this.status = status;
    this.facts = facts;
  }
}

/** @param {string} method @param {string} path @param {BodyInit | object | null} body @returns {Promise<Response>} */
export async function send(method, path, body = null) {
  /** @type {Record<string, string>} */
  const headers = {'X-Hdtrans-Token': token};
  const plain = body !== null && (typeof body !== 'object' || Object.getPrototypeOf(body) === Object.prototype);
  if (plain) headers['Content-Type'] = 'application/json';
  let answer;
  try {
    answer = await fetch(path, {method, headers, body: plain ? JSON.stringify(body) : /** @type {any} */ (body)});
  } catch {
    throw new Refusal(0, {error: 'The editor does not answer. Is its command still running?'});
  }
  if (answer.ok) return answer;
  let facts = {};
  try { facts = await answer.json(); } catch { /* no JSON: the status has to do */ }
  throw new Refusal(answer.status, facts);
}

/** @param {string} path @returns {Promise<any>} */
export const get = async (path) => (await send('GET', path)).json();

/** Save an answer as a file of the user's. @param {string} path */
export async function download(path) {
  const answer = await send('GET', path);
  const name = decodeURIComponent((answer.headers.get('Content-Disposition') || '').split("''")[1] || 'download');
  const link = document.createElement('a');
  link.href = URL.createObjectURL(await answer.blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
