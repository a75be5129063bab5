// @ts-check
import {get, send} from './net.js';

/** Dialogs: choose a document to open, or make one; decide between two windows.
 * @typedef {import('./session.js').Session} Session
 */

/** @param {string} id @returns {any} */
const find = (id) => document.getElementById(id);

export class Dialogs {
  /** @param {Session} session */
  constructor(session) {
    this.session = session;
    this.dialog = /** @type {HTMLDialogElement} */ (find('open-dialog'));
    this.loaded = 0;
    find('open-file').addEventListener('change', (/** @type {any} */ event) => {
      const file = event.target.files[0];
      if (file) this.#open(() => send('POST', `/api/projects?name=${encodeURIComponent(file.name)}`, file));
      event.target.value = '';
    });
    find('new-form').addEventListener('submit', (/** @type {Event} */ event) => {
      event.preventDefault();
      const blank = {width: Number(find('new-width').value), height: Number(find('new-height').value), class: Number(find('new-class').value)};
      this.#open(() => send('POST', '/api/documents', {blank}));
    });
    find('more-inputs').addEventListener('click', () => this.inputs());
    const upload = find('upload-layer');
    find('upload').addEventListener('change', (/** @type {any} */ event) => {
      const file = event.target.files[0];
      if (file) this.#replace(upload.value, file);
      event.target.value = '';
    });
    const conflict = /** @type {HTMLDialogElement} */ (find('conflict-dialog'));
    conflict.addEventListener('cancel', (event) => event.preventDefault());  // Escape must not drop a window's work
    conflict.addEventListener('close', () => session.settle(conflict.returnValue === 'ours'));
  }

  /** Show what can be opened. */
  async show() {
    const {model} = this.session;
    find('new-class').replaceChildren(...model.classes.map((/** @type {any} */ each) => new Option(each.name, String(each.id))));
    find('new-class-row').hidden = !model.classes.length;
    find('upload-layer').replaceChildren(...model.layers.map((/** @type {any} */ each) => new Option(each.name, each.name)));
    find('upload-row').hidden = !this.session.facts;
    const {open, saved} = await get('/api/documents');
    const rows = [
      ...open.map((/** @type {any} */ each) => this.#button(`${each.name} (open)`, () => send('GET', `/api/documents/${each.document}`))),
      ...saved.map((/** @type {string} */ name) => this.#button(name, () => send('POST', '/api/documents', {project: name}))),
    ];
    find('projects').replaceChildren(...rows);
    find('no-projects').hidden = rows.length > 0;
    this.loaded = 0;
    find('inputs').replaceChildren();
    find('inputs-part').hidden = !model.inputs;
    if (model.inputs) await this.inputs();
    if (!this.dialog.open) this.dialog.showModal();
  }

  /** Show more of the inputs. */
  async inputs() {
    const {total, inputs} = await get(`/api/inputs?after=${this.loaded}`);
    this.loaded += inputs.length;
    find('more-inputs').hidden = this.loaded >= total;
    for (const each of inputs) {
      const button = this.#button(each.name, () => send('POST', '/api/documents', {input: each.id}));
      const image = document.createElement('img');
      image.alt = '';
      image.width = 128;
      button.prepend(image);
      find('inputs').append(button);
      new IntersectionObserver(async (entries, observer) => {
        if (!entries.some((entry) => entry.isIntersecting)) return;
        observer.disconnect();
        try {
          image.src = URL.createObjectURL(await (await send('GET', `/api/inputs/${each.id}/thumbnail`)).blob());
        } catch { image.alt = 'cannot be shown'; }
      }).observe(button);
    }
  }

  /** @param {string} text @param {() => Promise<Response>} request */
  #button(text, request) {
    const button = document.createElement('button');
    button.type = 'button';
    button.append(text);
    button.addEventListener('click', () => this.#open(request));
    return button;
  }

  /** @param {() => Promise<Response>} request */
  async #open(request) {
    find('open-error').textContent = '';
    try {
      if (this.session.facts) await this.session.settled();
      await this.session.open(await (await request()).json());
      this.dialog.close();
    } catch (error) {
      find('open-error').textContent = /** @type {Error} */ (error).message;
    }
  }

  /** @param {string} layer @param {File} file */
  async #replace(layer, file) {
    await this.#open(async () => {
      await send('PUT', `${this.session.path}/upload?layer=${encodeURIComponent(layer)}&name=${encodeURIComponent(file.name)}`, file);
      return send('GET', this.session.path);
    });
  }
}
