// @ts-check
import {Grid, union} from './ids.js';
import {History} from './history.js';
import {Refusal, get, send} from './net.js';
import {MapImage, pictureImage} from './view.js';

/** The open document: its layers, history and picture, kept equal with the server, whose copy is the truth.
 * @typedef {import('./ids.js').Rect} Rect
 */

const SLOW = 1000;  // milliseconds of a picture above which it is made when a stroke ends

/** Events: `opened`, `edited`, `picture`, `state`, `message` (detail: text, `error` and `conflict` flags). */
export class Session extends EventTarget {
  /** @param {any} model facts of `GET /api/model` */
  constructor(model) {
    super();
    this.model = model;
    this.colours = new Map(model.classes.map((/** @type {any} */ each) => [each.id, each.colour]));
    /** @type {any} */
    this.facts = null;
    /** @type {Rect | null} */
    this.unsent = null;
    this.wanted = false;
    this.running = false;
    this.stroking = false;
    this.milliseconds = 0;
    /** @type {OffscreenCanvas | null} */
    this.image = null;
    /** @type {OffscreenCanvas | null} */
    this.before = null;
    this.shown = -1;  // revision of the picture
    /** @type {{style?: any, seed?: number} | null} */
    this.choice = null;  // style and seed that the server does not have yet
  }

  get path() { return `/api/documents/${this.facts.document}`; }

  get live() { return this.milliseconds <= SLOW; }

  /** Open a document that the server has. @param {any} facts */
  async open(facts) {
    const answer = await send('GET', `/api/documents/${facts.document}/layers`);
    const forms = this.model.layers.filter((/** @type {any} */ form) => facts.layers.includes(form.name));
    this.grid = new Grid(facts.width, facts.height, forms, await answer.arrayBuffer());
    this.facts = {...facts, revision: Number(answer.headers.get('X-Revision'))};
    this.history = new History(this.grid);
    this.map = new MapImage(this.grid, this.colours);
    this.things = new Set(facts.things);
    this.largest = this.grid.largestObject();
    this.unsent = this.choice = this.image = this.before = null;
    this.shown = -1;
    sessionStorage.setItem('document', facts.document);
    this.#tell('opened');
    for (const note of facts.notes || []) this.say(note, true);
    this.refresh();
  }

  /** Show and send what a stroke changed so far. @param {Rect | null} box */
  touched(box) {
    if (!box) return;
    this.map.update(box);
    this.unsent = union(this.unsent, box);
    this.#tell('edited');
    if (this.live) this.refresh();
  }

  /** End a stroke: one step of undo. @param {Rect | null} box all that it touched */
  finish(box) {
    this.stroking = false;
    this.history.keep(box);
    this.#tell('state');
    this.refresh();
  }

  /** Undo a stroke that goes on. @param {Rect | null} box all that it touched */
  cancel(box) {
    this.stroking = false;
    if (!box) return;
    this.grid.paste(box, this.grid.cut(box, 'kept'));
    this.touched(box);
  }

  undo() { this.#back(this.history.undo()); }

  redo() { this.#back(this.history.redo()); }

  /** @param {Rect | null} box */
  #back(box) {
    this.touched(box);
    this.#tell('state');
    this.refresh();
  }

  /** Choose a style, a seed, or both. @param {{style?: any, seed?: number}} change */
  choose(change) {
    Object.assign(this.facts, change);  // at once: the next choice starts from this one
    this.choice = {...this.choice, ...change};
    this.#tell('state');
    this.refresh();
  }

  /** Send what changed, and ask for a picture: one request at a time, so that a slow machine never falls behind. */
  async refresh() {
    this.wanted = true;
    if (this.running) return;
    this.running = true;
    this.#tell('state');
    try {
      while (this.wanted || this.unsent || this.choice) {
        const wanted = this.wanted && (this.live || !this.stroking);
        if (wanted) this.wanted = false;  // before sending: an edit meanwhile wants the next picture
        await this.#send();
        if (wanted) await this.#picture();
        else if (!this.unsent && !this.choice) break;
      }
    } catch (error) {
      this.wanted = false;
      this.#failed(error);
    }
    this.running = false;
    this.#tell('state');
    if (this.unsent && this.wanted) this.refresh();
  }

  /** Wait until the server has everything. */
  async settled() {
    while (this.running || this.unsent || this.choice) {
      if (!this.running) await this.refresh();
      await new Promise((go) => setTimeout(go, 20));
    }
  }

  async #send() {
    if (this.choice) await this.#sendChoice(this.choice);
    const box = this.unsent;
    if (!box) return;
    this.unsent = null;
    const {facts} = this, {x0, y0, x1, y1} = box;
    const query = `base=${facts.revision}&x=${x0}&y=${y0}&w=${x1 - x0}&h=${y1 - y0}`;
    try {
      const answer = await (await send('PATCH', `${this.path}?${query}`, this.grid.packed(box))).json();
      facts.revision = answer.revision;
      if (answer.problem) this.say(`not saved: ${answer.problem}`, true);
    } catch (error) {
      if (facts === this.facts) this.unsent = union(this.unsent, box);
      throw error;
    }
  }

  /** @param {{style?: any, seed?: number}} choice */
  async #sendChoice(choice) {
    const {facts} = this;
    this.choice = null;
    try {
      facts.revision = (await (await send('PUT', `${this.path}/style`, choice)).json()).revision;
    } catch (error) {
      const {style, seed} = await get(`/api/documents/${facts.document}`);
      Object.assign(facts, {style, seed});
      throw error;
    }
  }

  async #picture() {
    const {facts} = this;
    let answer;
    try {
      answer = await send('POST', `${this.path}/picture`, {format: 'rgb'});
    } catch (error) {
      if (error instanceof Refusal && error.facts.superseded) return;
      throw error;
    }
    const revision = Number(answer.headers.get('X-Revision'));
    const [width, height] = (answer.headers.get('X-Size') || '').split(',').map(Number);
    const rgb = new Uint8Array(await answer.arrayBuffer());
    if (facts !== this.facts || revision < this.shown) return;  // of another document, or older than what is shown
    this.shown = revision;
    this.milliseconds = Number(answer.headers.get('X-Milliseconds'));
    this.image = pictureImage(rgb, width, height);
    this.before = this.before || this.image;
    this.#tell('picture');
  }

  /** A picture with another seed, beside the present one. @param {number} seed */
  async variant(seed) {
    const answer = await send('POST', `${this.path}/picture`, {format: 'rgb', seed});
    const [width, height] = (answer.headers.get('X-Size') || '').split(',').map(Number);
    return pictureImage(new Uint8Array(await answer.arrayBuffer()), width, height);
  }

  /** Another window changed the document: take its state, or put this window's in its place. @param {boolean} ours */
  async settle(ours) {
    await this.guarded(async () => {
      const facts = await get(this.path);
      if (!ours) return this.open(facts);
      this.facts.revision = facts.revision;
      this.unsent = {x0: 0, y0: 0, x1: this.grid.width, y1: this.grid.height};
      this.refresh();
    });
  }

  /** Run something, and show its failure. @param {() => Promise<any>} work */
  async guarded(work) {
    try {
      return await work();
    } catch (error) {
      this.#failed(error);
    }
  }

  /** @param {any} error */
  #failed(error) {
    const conflict = error instanceof Refusal && error.status === 409 && 'revision' in error.facts;
    this.dispatchEvent(new CustomEvent('message', {detail: {text: error.message, error: true, conflict}}));
  }

  /** @param {string} text @param {boolean} error */
  say(text, error = false) {
    this.dispatchEvent(new CustomEvent('message', {detail: {text, error, conflict: false}}));
  }

  /** @param {string} name */
  #tell(name) { this.dispatchEvent(new Event(name)); }
}
