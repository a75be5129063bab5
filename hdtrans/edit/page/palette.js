// @ts-check
/** Choice of what is painted: a class by name, colour or search; a pen for pictures; the layer where there are several.
 * @typedef {import('./tools.js').Tools} Tools
 * @typedef {import('./session.js').Session} Session
 */

const RECENT = 9;

export class Palette {
  /** @param {HTMLElement} root @param {Session} session @param {Tools} tools */
  constructor(root, session, tools) {
    this.session = session;
    this.tools = tools;
    /** @type {number[]} */
    this.recent = [];
    this.list = /** @type {HTMLElement} */ (root.querySelector('#classes'));
    this.search = /** @type {HTMLInputElement} */ (root.querySelector('#search'));
    this.pens = /** @type {HTMLElement} */ (root.querySelector('#pens'));
    this.targets = /** @type {HTMLElement} */ (root.querySelector('#targets'));
    this.search.addEventListener('input', () => this.#filter());
    this.search.addEventListener('keydown', (event) => {
      const first = /** @type {HTMLElement | null} */ (this.list.querySelector('[role=radio]:not([hidden])'));
      if (event.key === 'Enter' && first) this.choose(Number(first.dataset.id));
      if (event.key === 'Escape') { this.search.value = ''; this.#filter(); }
    });
    this.list.addEventListener('keydown', (event) => this.#arrows(event));
    tools.addEventListener('state', () => this.show());
  }

  /** Fill the palette for the open document. */
  build() {
    const {classes, layers} = this.session.grid, pictures = layers.filter((layer) => layer.paint === 'picture' || layer.paint === 'mask');
    this.search.hidden = this.list.hidden = !classes;
    this.list.replaceChildren(...(classes ? this.session.model.classes.map((/** @type {any} */ each) => this.#row(each)) : []));
    this.targets.hidden = pictures.length + (classes ? 1 : 0) < 2;
    const names = [...(classes ? [''] : []), ...pictures.map((layer) => layer.name)];
    this.targets.replaceChildren(...names.map((name) => this.#target(name)));
    if (!names.includes(this.tools.target)) this.tools.target = names[0] || '';
    const depths = new Set(pictures.filter((layer) => layer.paint === 'picture').map((layer) => layer.channels));
    this.pens.hidden = !depths.size;
    this.pens.replaceChildren(...[...depths].flatMap((channels) => this.#pen(channels)));
    this.show();
  }

  /** @param {any} each a class @returns {HTMLElement} */
  #row(each) {
    const row = document.createElement('div'), swatch = document.createElement('span'), name = document.createElement('span');
    row.setAttribute('role', 'radio');
    row.dataset.id = String(each.id);
    row.dataset.name = each.name.toLowerCase();
    swatch.className = 'swatch';
    swatch.style.background = `rgb(${each.colour.join(' ')})`;
    name.textContent = each.name;
    const id = document.createElement('span');
    id.className = 'quiet';
    id.textContent = String(each.id);
    row.append(swatch, name, id);
    row.addEventListener('click', () => this.choose(each.id));
    return row;
  }

  /** @param {string} name @returns {HTMLElement} */
  #target(name) {
    const label = document.createElement('label'), input = document.createElement('input');
    input.type = 'radio';
    input.name = 'target';
    input.checked = name === this.tools.target;
    input.addEventListener('change', () => this.tools.set({target: name}));
    label.append(input, name || 'classes');
    return label;
  }

  /** Choice of a colour or grey level. @param {number} channels @returns {HTMLElement[]} */
  #pen(channels) {
    const colour = channels === 3, input = document.createElement('input'), label = document.createElement('label');
    input.type = colour ? 'color' : 'range';
    if (!colour) input.max = '255';
    input.setAttribute('aria-label', colour ? 'Colour of the pen' : 'Grey of the pen: 0 black, 255 white');
    input.addEventListener('input', () => {
      const part = (/** @type {number} */ at) => parseInt(input.value.slice(at, at + 2), 16);
      this.tools.set(colour ? {pen: [part(1), part(3), part(5)]} : {grey: Number(input.value)});
    });
    label.append(colour ? 'Colour ' : 'Grey ', input);
    const ways = [['Black', 0], ['White', 255]].map(([name, level]) => {
      const button = document.createElement('button');
      button.textContent = String(name);
      button.addEventListener('click', () => this.tools.set(colour ? {pen: Array(3).fill(level)} : {grey: Number(level)}));
      return button;
    });
    return [label, ...ways];
  }

  /** Choose a class. @param {number} id */
  choose(id) {
    this.recent = [id, ...this.recent.filter((each) => each !== id)].slice(0, RECENT);
    this.tools.set({chosen: id, target: ''});
  }

  /** Choose one of the last classes. @param {number} place from 1 */
  again(place) {
    if (place <= this.recent.length) this.tools.set({chosen: this.recent[place - 1]});
  }

  /** Show the choice. */
  show() {
    for (const row of /** @type {NodeListOf<HTMLElement>} */ (this.list.querySelectorAll('[role=radio]'))) {
      const chosen = Number(row.dataset.id) === this.tools.chosen && !this.tools.target;
      row.setAttribute('aria-checked', String(chosen));
      row.tabIndex = chosen ? 0 : -1;
    }
    for (const input of this.pens.querySelectorAll('input')) {
      const {pen, grey} = this.tools;
      input.value = input.type === 'color' ? `#${pen.map((level) => level.toString(16).padStart(2, '0')).join('')}` : String(grey);
    }
    if (!this.list.querySelector('[tabindex="0"]')) {
      const first = /** @type {HTMLElement | null} */ (this.list.querySelector('[role=radio]'));
      if (first) first.tabIndex = 0;
    }
  }

  #filter() {
    const wanted = this.search.value.trim().toLowerCase();
    for (const row of /** @type {NodeListOf<HTMLElement>} */ (this.list.querySelectorAll('[role=radio]'))) {
      row.hidden = !(row.dataset.name || '').includes(wanted) && row.dataset.id !== wanted;
    }
  }

  /** @param {KeyboardEvent} event */
  #arrows(event) {
    const rows = [.../** @type {NodeListOf<HTMLElement>} */ (this.list.querySelectorAll('[role=radio]:not([hidden])'))];
    const step = /** @type {Record<string, number>} */ ({ArrowDown: 1, ArrowUp: -1})[event.key];
    const at = rows.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    if (event.key === ' ' || event.key === 'Enter') return at >= 0 && (event.preventDefault(), this.choose(Number(rows[at].dataset.id)));
    if (!step || !rows.length) return;
    event.preventDefault();
    const next = rows[(at + step + rows.length) % rows.length];
    this.choose(Number(next.dataset.id));
    next.focus();
  }
}
