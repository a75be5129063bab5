// @ts-check
import {get, send} from './net.js';

/** Styles of the objects: mean, drawn, a cluster, from a photo, or copied from another object.
 * @typedef {import('./session.js').Session} Session
 */

const MOST_SHOWN = 60;

export class Styles {
  /** @param {HTMLElement} root @param {Session} session */
  constructor(root, session) {
    this.root = root;
    this.session = session;
    this.list = /** @type {HTMLElement} */ (root.querySelector('#objects'));
    this.others = /** @type {HTMLSelectElement} */ (root.querySelector('#others'));
    /** @type {any[]} */
    this.objects = [];
    /** @type {any} */
    this.copied = null;
    /** @type {number | null} */
    this.hovered = null;
    this.facts = session.model.style;
    this.others.addEventListener('change', () => this.#choose((style) => { style.others = this.others.value; }));
    /** @type {HTMLElement} */ (root.querySelector('#clear-styles')).addEventListener('click', () => {
      this.#choose((style) => { style.classes = {}; style.instances = {}; });
    });
    const photo = /** @type {HTMLInputElement} */ (root.querySelector('#style-photo'));
    photo.disabled = !this.facts || !this.facts.encoder;
    photo.addEventListener('change', () => photo.files && photo.files[0] && this.encode(photo.files[0]).then(() => { photo.value = ''; }));
    session.addEventListener('opened', () => this.build());
    session.addEventListener('picture', () => this.load());
    session.addEventListener('state', () => this.build());
  }

  get perObject() { return this.facts && this.facts.of !== 'picture'; }

  build() {
    this.root.hidden = !this.facts;
    /** @type {HTMLElement} */ (this.root.querySelector('#per-object')).hidden = !this.perObject;
    if (this.perObject && this.session.facts) this.others.value = this.session.facts.style.others;
  }

  /** Ask for the objects of the present document. */
  async load() {
    if (!this.perObject || this.session.stroking) return;
    const found = await this.session.guarded(() => get(`${this.session.path}/objects`));
    if (!found) return;
    this.objects = found.objects;
    this.show();
  }

  show() {
    const names = new Map(this.session.model.classes.map((/** @type {any} */ each) => [each.id, each]));
    this.list.replaceChildren(...this.objects.slice(0, MOST_SHOWN).map((object) => this.#row(object, names.get(object.class))));
  }

  /** @param {any} object @param {any} kind its class @returns {HTMLElement} */
  #row(object, kind) {
    const row = document.createElement('li'), swatch = document.createElement('span'), name = document.createElement('span');
    const style = this.session.facts.style, own = style.instances[object.id];
    swatch.className = 'swatch';
    if (kind) swatch.style.background = `rgb(${kind.colour.join(' ')})`;
    name.textContent = name.title = `${kind ? kind.name : object.class} ${object.id}`;
    const choice = document.createElement('select');
    choice.setAttribute('aria-label', `Style of ${name.textContent}`);
    const count = this.facts.clusters[object.class] || 0;
    const ways = [['', 'as others'], ...Array.from({length: count}, (_, n) => [String(n), `cluster ${n}`])];
    if (Array.isArray(own)) ways.push(['own', 'of its own']);
    choice.append(...ways.map(([value, text]) => new Option(text, value)));
    choice.value = Array.isArray(own) ? 'own' : own === undefined ? '' : String(own);
    choice.addEventListener('change', () => this.set(object.id, choice.value === '' ? null : Number(choice.value)));
    const copy = this.#button('Copy', () => { this.copied = own === undefined ? null : own; this.session.say(`Copied the style of ${name.textContent}.`); });
    const paste = this.#button('Paste', () => this.set(object.id, this.copied));
    row.append(swatch, name, choice, copy, paste);
    row.addEventListener('pointerenter', () => this.#hover(object.id));
    row.addEventListener('pointerleave', () => this.#hover(null));
    return row;
  }

  /** @param {string} text @param {() => void} action */
  #button(text, action) {
    const button = document.createElement('button');
    button.textContent = text;
    button.addEventListener('click', action);
    return button;
  }

  /** @param {number | null} id */
  #hover(id) {
    this.hovered = id;
    this.root.dispatchEvent(new Event('hover'));
  }

  /** Give an object a cluster, a feature, or the style of the others. @param {number} id @param {number | number[] | null} choice */
  set(id, choice) {
    this.#choose((style) => {
      if (choice === null) delete style.instances[id];
      else style.instances[id] = choice;
    });
  }

  /** @param {(style: any) => void} change */
  #choose(change) {
    const style = structuredClone(this.session.facts.style);
    change(style);
    this.session.choose({style});
    this.show();
  }

  /** Take the styles of all objects from a photo. @param {File} file */
  async encode(file) {
    await this.session.guarded(async () => {
      await this.session.settled();
      const found = await (await send('POST', `${this.session.path}/encode?name=${encodeURIComponent(file.name)}`, file)).json();
      if (found.picture) this.session.choose({style: found.picture});
      else this.#choose((style) => { Object.assign(style.instances, found.instances); });
      this.session.say(`The styles are those of ${file.name}.`);
    });
  }

  /** Outline of the object under the pointer of the list. @param {CanvasRenderingContext2D} context */
  overlay(context) {
    const {objects, classes, width} = this.session.grid, layer = objects || classes;
    if (this.hovered === null || !layer) return;
    context.fillStyle = 'rgb(255 255 255 / 55%)';
    for (let i = 0; i < layer.data.length;) {
      if (layer.data[i] !== this.hovered) { i++; continue; }
      const from = i, end = (Math.floor(i / width) + 1) * width;
      while (i < end && layer.data[i] === this.hovered) i++;
      context.fillRect(from % width, Math.floor(from / width), i - from, 1);
    }
  }
}
