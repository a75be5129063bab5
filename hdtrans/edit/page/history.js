// @ts-check
import {hasIds} from './ids.js';

/** Undo and redo: rectangles before and after each stroke, run-length packed.
 * @typedef {import('./ids.js').Rect} Rect
 * @typedef {import('./ids.js').Grid} Grid
 * @typedef {{box: Rect, before: Int32Array[], after: Int32Array[], bytes: number}} Step
 */

export const MOST_BYTES = 256 * 2 ** 20;

/** Pack numbers as pairs [length, value, ...]. @param {Int32Array | Uint8Array} numbers @returns {Int32Array} */
export function packRuns(numbers) {
  const pairs = [];
  for (let i = 0; i < numbers.length;) {
    const value = numbers[i], from = i;
    while (i < numbers.length && numbers[i] === value) i++;
    pairs.push(i - from, value);
  }
  return Int32Array.from(pairs);
}

/** @param {Int32Array} pairs @param {boolean} ids @returns {Int32Array | Uint8Array} */
export function unpackRuns(pairs, ids) {
  let length = 0;
  for (let i = 0; i < pairs.length; i += 2) length += pairs[i];
  const numbers = ids ? new Int32Array(length) : new Uint8Array(length);
  for (let i = 0, at = 0; i < pairs.length; at += pairs[i], i += 2) numbers.fill(pairs[i + 1], at, at + pairs[i]);
  return numbers;
}

export class History {
  /** @param {Grid} grid @param {number} most bytes to keep; older steps are forgotten */
  constructor(grid, most = MOST_BYTES) {
    this.grid = grid;
    this.most = most;
    /** @type {Step[]} */
    this.done = [];
    /** @type {Step[]} */
    this.undone = [];
    this.bytes = 0;
  }

  /** Keep what a stroke changed within a rectangle as one step. @param {Rect | null} box
   * @returns {Rect | null} what it changed */
  keep(box) {
    const changed = box && this.grid.changed(box);
    if (!changed) return null;
    const before = this.grid.cut(changed, 'kept').map(packRuns), after = this.grid.cut(changed).map(packRuns);
    this.grid.paste(changed, this.grid.cut(changed));
    const bytes = [...before, ...after].reduce((sum, runs) => sum + runs.byteLength, 0);
    this.bytes += bytes - this.undone.reduce((sum, step) => sum + step.bytes, 0);
    this.undone = [];
    this.done.push({box: changed, before, after, bytes});
    while (this.bytes > this.most && this.done.length > 1) this.bytes -= /** @type {Step} */ (this.done.shift()).bytes;
    return changed;
  }

  /** @returns {Rect | null} what changed */
  undo() {
    const step = this.done.pop();
    if (!step) return null;
    this.undone.push(step);
    return this.#put(step.box, step.before);
  }

  /** @returns {Rect | null} what changed */
  redo() {
    const step = this.undone.pop();
    if (!step) return null;
    this.done.push(step);
    return this.#put(step.box, step.after);
  }

  /** @param {Rect} box @param {Int32Array[]} packed */
  #put(box, packed) {
    this.grid.paste(box, packed.map((runs, number) => unpackRuns(runs, hasIds(this.grid.layers[number]))));
    return box;
  }
}
