// @ts-check
/** Keys on every keyboard: by the letter printed on it, and by its place where that is no Latin letter. */

/** Names of keys, as actions are bound: `b`, `ctrl+z`, `ctrl+shift+z`, `[`, `arrowup`, ...
 * @param {KeyboardEvent} event @returns {string[]} the first that is bound counts */
export function namesOf(event) {
  const start = (event.ctrlKey || event.metaKey ? 'ctrl+' : '') + (event.altKey ? 'alt+' : '');
  const key = event.key.toLowerCase(), names = [];
  const shifted = event.shiftKey && (key.length > 1 || /[a-z]/.test(key)) ? 'shift+' : '';
  names.push(start + shifted + key);
  if (key.length > 1 || /^[!-~]$/.test(key)) return names;
  const place = PLACES[event.code] || (event.code.startsWith('Key') ? event.code.slice(3).toLowerCase() : '');
  if (place) names.push(start + (event.shiftKey ? 'shift+' : '') + place);
  return names;
}

/** @type {Record<string, string>} */
const PLACES = {BracketLeft: '[', BracketRight: ']', Comma: ',', Period: '.'};

/** Call the action of a key, unless the user is typing. @param {Record<string, (event: KeyboardEvent) => void>} actions */
export function bind(actions) {
  document.addEventListener('keydown', (event) => {
    const at = /** @type {HTMLElement} */ (event.target);
    const name = namesOf(event).find((each) => each in actions);
    if (!name || document.querySelector('dialog[open]') || at.closest('select')) return;
    const typing = at instanceof HTMLInputElement && ['search', 'number'].includes(at.type);
    if (typing && !name.startsWith('ctrl+')) return;
    if (at.closest('button, input, [role=radio]') && /^(enter| )$/.test(name.split('+').pop() || '')) return;
    event.preventDefault();
    actions[name](event);
  });
}
