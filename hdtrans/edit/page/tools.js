// @ts-check
import {allSpans, bounds, fillSpans, polygonSpans, strokeSpans, union} from './ids.js';

/** Tools on the panes: brush, eraser, polygon, fill, eyedropper, hand; with mouse, pen, fingers and keyboard.
 * @typedef {import('./ids.js').Rect} Rect
 * @typedef {import('./view.js').Pane} Pane
 * @typedef {import('./session.js').Session} Session
 */

export const MOST_SIZE = 400;

/** Events: `state` (tool, size, class or pen changed). */
export class Tools extends EventTarget {
  /** @param {Session} session @param {import('./view.js').Camera} camera @param {Pane[]} panes */
  constructor(session, camera, panes) {
    super();
    this.session = session;
    this.camera = camera;
    this.panes = panes;
    this.tool = 'brush';
    this.size = 12;
    this.chosen = 0;  // class id
    this.pen = [0, 0, 0];  // of pictures in colour
    this.grey = 0;  // of grey pictures
    this.target = '';  // layer that is painted, beside ids
    this.only = false;  // paint over one class alone
    this.onlyClass = 0;
    this.newObjects = true;
    this.space = false;
    /** @type {number[][]} */
    this.polygon = [];
    /** @type {number[] | null} */
    this.hover = null;
    /** @type {number[] | null} */
    this.cross = null;
    /** @type {{last: number[], box: Rect | null, values: (number[] | null)[], erases: boolean} | null} */
    this.stroke = null;
    /** @type {Map<number, PointerEvent>} */
    this.fingers = new Map();
    /** @type {Rect | null} */
    this.fresh = null;  // painted and not yet shown
    this.penSeen = false;
    for (const pane of panes) this.#listen(pane);
  }

  /** @param {Partial<Tools>} change */
  set(change) {
    Object.assign(this, change);
    this.size = Math.max(1, Math.min(MOST_SIZE, Math.round(this.size)));
    if (change.tool && change.tool !== 'polygon') this.polygon = [];
    this.redraw();
    this.dispatchEvent(new Event('state'));
  }

  redraw() { for (const pane of this.panes) pane.draw(); }

  get limit() { return this.only ? this.onlyClass : null; }

  /** Numbers that a stroke which starts at a pixel paints, layer by layer. @param {number[]} at @param {boolean} joins */
  values(at, joins) {
    const {grid, things} = this.session;
    return grid.layers.map((layer) => {
      if (layer.paint === 'classes') return this.target ? null : [this.chosen];
      if (layer.paint === 'objects') return this.target ? null : [this.#object(at, joins)];
      if (layer.name !== this.target && this.target) return null;
      if (!this.target && grid.classes) return null;
      return layer.paint === 'mask' ? [255] : layer.channels === 1 ? [this.grey] : this.pen;
    });
  }

  /** Object id of a stroke: a new one for a thing, that of the class for stuff. @param {number[]} at @param {boolean} joins */
  #object(at, joins) {
    const {session} = this, {grid} = session;
    const here = Math.floor(at[1]) * grid.width + Math.floor(at[0]);
    if (joins && grid.objects && grid.classes && grid.classes.data[here] === this.chosen) return grid.objects.data[here];
    if (this.tool === 'eraser' || !session.things.has(this.chosen) || !this.newObjects) return this.chosen;
    session.largest = Math.max(session.largest, 0) + 1;
    return session.largest;
  }

  /** @param {Pane} pane */
  #listen(pane) {
    const {canvas} = pane;
    canvas.addEventListener('pointerdown', (event) => this.#down(pane, event));
    canvas.addEventListener('pointermove', (event) => this.#move(pane, event));
    canvas.addEventListener('pointerup', (event) => this.#up(event));
    canvas.addEventListener('pointercancel', (event) => { this.cancel(); this.#up(event); });
    canvas.addEventListener('pointerleave', () => { this.hover = null; this.redraw(); });
    canvas.addEventListener('contextmenu', (event) => event.preventDefault());
    canvas.addEventListener('dblclick', () => this.closePolygon());
    canvas.addEventListener('wheel', (event) => {
      event.preventDefault();
      const box = canvas.getBoundingClientRect();
      this.camera.zoom(Math.exp(-Math.sign(event.deltaY) * Math.min(40, Math.abs(event.deltaY)) / 160), event.clientX - box.left, event.clientY - box.top);
    }, {passive: false});
    canvas.addEventListener('keydown', (event) => this.#key(pane, event));
    canvas.addEventListener('blur', () => { this.cross = null; this.redraw(); });
  }

  /** @param {Pane} pane @param {PointerEvent} event */
  #down(pane, event) {
    if (!this.session.grid) return;
    pane.canvas.focus({preventScroll: true});
    pane.canvas.setPointerCapture(event.pointerId);
    this.cross = null;
    this.penSeen ||= event.pointerType === 'pen';
    if (event.pointerType === 'touch') {
      this.fingers.set(event.pointerId, event);
      if (this.fingers.size > 1) return this.cancel();
      if (this.penSeen) return;  // fingers pan where a pen draws
    }
    if (event.button === 1 || this.space || this.tool === 'hand') {
      this.fingers.set(event.pointerId, event);
      return;
    }
    if (event.button !== 0 && event.button !== 5) return;
    const at = pane.at(event);
    if (event.altKey || this.tool === 'pick') return this.pick(at);
    if (this.tool === 'polygon') return this.#corner(at);
    if (this.tool === 'fill') return this.fill(at, event.shiftKey);
    this.begin(at, event.shiftKey, this.tool === 'eraser' || event.button === 5);
  }

  /** @param {Pane} pane @param {PointerEvent} event */
  #move(pane, event) {
    if (!this.session.grid) return;
    const before = this.fingers.get(event.pointerId);
    if (before && !this.stroke) {
      this.#gesture(pane, before, event);
      this.fingers.set(event.pointerId, event);
      return;
    }
    this.hover = pane.at(event);
    this.redraw();
    if (!this.stroke) return;
    const parts = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
    for (const part of parts.length ? parts : [event]) this.extend(pane.at(part));
    this.#show();
  }

  /** Pan by one finger, pan and zoom by two. @param {Pane} pane @param {PointerEvent} before @param {PointerEvent} now */
  #gesture(pane, before, now) {
    const other = [...this.fingers.values()].find((each) => each.pointerId !== now.pointerId);
    const box = pane.canvas.getBoundingClientRect();
    if (!other) return this.camera.pan(now.clientX - before.clientX, now.clientY - before.clientY);
    const was = Math.hypot(before.clientX - other.clientX, before.clientY - other.clientY);
    const is = Math.hypot(now.clientX - other.clientX, now.clientY - other.clientY);
    this.camera.pan((now.clientX - before.clientX) / 2, (now.clientY - before.clientY) / 2);
    if (was > 10) this.camera.zoom(is / was, (now.clientX + other.clientX) / 2 - box.left, (now.clientY + other.clientY) / 2 - box.top);
  }

  /** @param {PointerEvent} event */
  #up(event) {
    this.fingers.delete(event.pointerId);
    this.end();
  }

  /** @param {number[]} at @param {boolean} joins @param {boolean} erases */
  begin(at, joins = false, erases = false) {
    this.end();
    this.session.stroking = true;
    this.stroke = {last: at, box: null, values: this.values(this.#inside(at), joins), erases};
    this.extend(at);
    this.#show();
  }

  /** @param {number[]} at */
  extend(at) {
    if (!this.stroke) return;
    const {grid} = this.session, {last} = this.stroke;
    this.#put(strokeSpans(last[0], last[1], at[0], at[1], this.size, grid.width, grid.height));
    this.stroke.last = at;
  }

  /** @param {number[]} spans */
  #put(spans) {
    if (!this.stroke) return;
    const {grid} = this.session, {values, erases} = this.stroke;
    const box = erases ? grid.restore(spans, values, this.limit) : grid.paint(spans, values, this.limit);
    this.stroke.box = union(this.stroke.box, box);
    this.fresh = union(this.fresh, box);
  }

  #show() {
    this.session.touched(this.fresh);
    this.fresh = null;
    this.redraw();
  }

  end() {
    if (!this.stroke) return;
    const {box} = this.stroke;
    this.stroke = null;
    this.session.finish(box);
  }

  cancel() {
    this.polygon = [];
    if (this.stroke) this.session.cancel(this.stroke.box);
    this.stroke = null;
    this.redraw();
  }

  /** Paint a set of pixels as one step. @param {number[]} spans @param {number[]} at @param {boolean} joins */
  #whole(spans, at, joins = false) {
    this.session.stroking = true;
    this.stroke = {last: at, box: null, values: this.values(this.#inside(at), joins), erases: false};
    this.#put(spans);
    this.#show();
    this.end();
  }

  /** Fill the region of a pixel, or all pixels like it. @param {number[]} at @param {boolean} everywhere */
  fill(at, everywhere = false) {
    const {grid} = this.session, x = Math.floor(at[0]), y = Math.floor(at[1]);
    if (x < 0 || y < 0 || x >= grid.width || y >= grid.height) return;
    const same = grid.same(x, y);
    this.#whole(everywhere ? allSpans(same, grid.width, grid.height) : fillSpans(same, x, y, grid.width, grid.height), at);
  }

  /** Take class, or colour, of a pixel. @param {number[]} at */
  pick(at) {
    const {grid} = this.session, x = Math.floor(at[0]), y = Math.floor(at[1]);
    if (x < 0 || y < 0 || x >= grid.width || y >= grid.height) return;
    const index = y * grid.width + x;
    if (grid.classes && !this.target) return this.set({chosen: grid.classes.data[index]});
    const layer = grid.layers.find((each) => each.paint === 'picture' && (each.name === this.target || !this.target));
    if (layer) this.set(layer.channels === 1 ? {grey: layer.data[index]} : {pen: [...layer.data.slice(3 * index, 3 * index + 3)]});
  }

  /** @param {number[]} at */
  #corner(at) {
    const first = this.polygon[0];
    if (first && this.polygon.length > 2 && Math.hypot(first[0] - at[0], first[1] - at[1]) * this.camera.scale < 8) return this.closePolygon();
    const last = this.polygon[this.polygon.length - 1];
    if (!last || Math.hypot(last[0] - at[0], last[1] - at[1]) * this.camera.scale > 1) this.polygon.push(at);
    this.redraw();
  }

  closePolygon() {
    const points = this.polygon;
    this.polygon = [];
    const {grid} = this.session;
    const spans = points.length > 2 ? polygonSpans(points, grid.width, grid.height) : [];
    if (bounds(spans)) this.#whole(spans, points[0]);
    this.redraw();
  }

  /** @param {number[]} at @returns {number[]} */
  #inside(at) {
    const {grid} = this.session;
    return [Math.min(grid.width - 1, Math.max(0, at[0])), Math.min(grid.height - 1, Math.max(0, at[1]))];
  }

  /** Paint with the keyboard alone: arrows move a crosshair. @param {Pane} pane @param {KeyboardEvent} event */
  #key(pane, event) {
    const {grid} = this.session, step = event.shiftKey ? 10 : 1;
    const moves = /** @type {Record<string, number[]>} */ ({ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step]});
    if (!grid || event.ctrlKey || event.metaKey) return;
    if (event.key in moves) {
      const from = this.cross || this.hover || [grid.width / 2, grid.height / 2];
      const [x, y] = this.#inside([Math.floor(from[0]) + moves[event.key][0], Math.floor(from[1]) + moves[event.key][1]]);
      this.cross = [Math.floor(x) + 0.5, Math.floor(y) + 0.5];
      this.dispatchEvent(new CustomEvent('cross', {detail: this.cross}));
    } else if (event.key === 'Enter' && this.polygon.length > 2 && !this.cross) {
      this.closePolygon();
    } else if (event.key === 'Enter' && this.cross) {
      if (this.tool === 'polygon') this.#corner(this.cross);
      else if (this.tool === 'fill') this.fill(this.cross);
      else if (this.tool === 'pick') this.pick(this.cross);
      else { this.begin(this.cross, event.shiftKey, this.tool === 'eraser'); this.end(); }
    } else if (event.key.toLowerCase() === 'f' && this.cross) this.fill(this.cross);
    else return;
    event.preventDefault();
    event.stopPropagation();
    this.redraw();
  }

  /** What lies upon a pane. @param {CanvasRenderingContext2D} context @param {number} pixel picture pixels of a CSS pixel */
  overlay(context, pixel) {
    const twice = (/** @type {() => void} */ path) => {
      for (const [colour, width] of /** @type {[string, number][]} */ ([['#000', 3], ['#fff', 1.2]])) {
        context.strokeStyle = colour;
        context.lineWidth = width * pixel;
        context.beginPath();
        path();
        context.stroke();
      }
    };
    const {cross, hover, polygon} = this;
    if (polygon.length) twice(() => {
      polygon.forEach(([x, y], place) => (place ? context.lineTo(x, y) : context.moveTo(x, y)));
      if (hover) context.lineTo(hover[0], hover[1]);
      if (polygon.length > 1) context.closePath();
    });
    const at = cross || hover;
    if (at && (this.tool === 'brush' || this.tool === 'eraser')) twice(() => context.arc(at[0], at[1], Math.max(this.size / 2, pixel), 0, 2 * Math.PI));
    if (cross) twice(() => {
      context.moveTo(cross[0] - 12 * pixel, cross[1]);
      context.lineTo(cross[0] + 12 * pixel, cross[1]);
      context.moveTo(cross[0], cross[1] - 12 * pixel);
      context.lineTo(cross[0], cross[1] + 12 * pixel);
    });
  }
}
