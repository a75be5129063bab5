// @ts-check
/** Typed arrays of ids and levels, and the sets of pixels that tools paint. Nothing here touches a canvas.
 *
 * A set of pixels is a flat list of spans [y, from, to, y, from, to, ...], `to` exclusive, within the grid.
 * A rectangle is {x0, y0, x1, y1}, x1 and y1 exclusive; null is empty.
 * @typedef {{x0: number, y0: number, x1: number, y1: number}} Rect
 * @typedef {{name: string, paint: string, channels: number}} Form
 * @typedef {Form & {data: Int32Array | Uint8Array, kept: Int32Array | Uint8Array, original: Int32Array | Uint8Array}} Layer
 */

/** @param {Rect | null} a @param {Rect | null} b @returns {Rect | null} */
export function union(a, b) {
  if (!a || !b) return a || b;
  return {
    x0: Math.min(a.x0, b.x0), y0: Math.min(a.y0, b.y0),
    x1: Math.max(a.x1, b.x1), y1: Math.max(a.y1, b.y1),
  };
}

/** @param {number[]} spans @returns {Rect | null} */
export function bounds(spans) {
  if (!spans.length) return null;
  const box = {x0: Infinity, y0: Infinity, x1: -Infinity, y1: -Infinity};
  for (let i = 0; i < spans.length; i += 3) {
    box.y0 = Math.min(box.y0, spans[i]);
    box.y1 = Math.max(box.y1, spans[i] + 1);
    box.x0 = Math.min(box.x0, spans[i + 1]);
    box.x1 = Math.max(box.x1, spans[i + 2]);
  }
  return box;
}

/** Centre of the brush nearest to a point: of a pixel for an odd diameter, of a corner for an even one. */
export function snapped(/** @type {number} */ at, /** @type {number} */ diameter) {
  return diameter % 2 ? Math.floor(at) + 0.5 : Math.round(at);
}

/** Pixels whose centres a disc covers on its way along a line: without gaps, however fast the pointer was.
 * @param {number} ax @param {number} ay @param {number} bx @param {number} by
 * @param {number} diameter in pixels, >= 1
 * @param {number} width @param {number} height @returns {number[]} */
export function strokeSpans(ax, ay, bx, by, diameter, width, height) {
  ax = snapped(ax, diameter); ay = snapped(ay, diameter);
  bx = snapped(bx, diameter); by = snapped(by, diameter);
  const r = diameter / 2 + 1e-6, length = Math.hypot(bx - ax, by - ay);
  const nx = length ? -(by - ay) / length * r : 0, ny = length ? (bx - ax) / length * r : 0;
  const corners = [[ax + nx, ay + ny], [bx + nx, by + ny], [bx - nx, by - ny], [ax - nx, ay - ny]];
  const spans = [];
  const first = Math.max(0, Math.floor(Math.min(ay, by) - r)), last = Math.min(height - 1, Math.ceil(Math.max(ay, by) + r));
  for (let y = first; y <= last; y++) {
    const row = y + 0.5;
    let from = Infinity, to = -Infinity;
    for (const [cx, cy] of [[ax, ay], [bx, by]]) {
      const rest = r * r - (row - cy) * (row - cy);
      if (rest < 0) continue;
      from = Math.min(from, cx - Math.sqrt(rest));
      to = Math.max(to, cx + Math.sqrt(rest));
    }
    for (let i = 0; length && i < 4; i++) {
      const [px, py] = corners[i], [qx, qy] = corners[(i + 1) % 4];
      if (py === qy || row < Math.min(py, qy) || row > Math.max(py, qy)) continue;
      const x = px + (row - py) / (qy - py) * (qx - px);
      from = Math.min(from, x);
      to = Math.max(to, x);
    }
    push(spans, y, Math.ceil(from - 0.5), Math.floor(to - 0.5) + 1, width);
  }
  return spans;
}

/** Pixels whose centres lie in a polygon, by the even-odd rule.
 * @param {number[][]} points x, y @param {number} width @param {number} height @returns {number[]} */
export function polygonSpans(points, width, height) {
  const spans = [], ys = points.map((point) => point[1]);
  const first = Math.max(0, Math.floor(Math.min(...ys))), last = Math.min(height - 1, Math.ceil(Math.max(...ys)));
  for (let y = first; y <= last && points.length > 2; y++) {
    const row = y + 0.5, crossings = [];
    for (let i = 0; i < points.length; i++) {
      const [px, py] = points[i], [qx, qy] = points[(i + 1) % points.length];
      if ((py <= row) !== (qy <= row)) crossings.push(px + (row - py) / (qy - py) * (qx - px));
    }
    crossings.sort((a, b) => a - b);
    for (let i = 0; i + 1 < crossings.length; i += 2) {
      push(spans, y, Math.ceil(crossings[i] - 0.5), Math.ceil(crossings[i + 1] - 0.5), width);
    }
  }
  return spans;
}

/** Pixels that touch the first one, by their sides, through pixels that `same` accepts.
 * @param {(index: number) => boolean} same @param {number} x @param {number} y
 * @param {number} width @param {number} height @returns {number[]} */
export function fillSpans(same, x, y, width, height) {
  const spans = [], seen = new Uint8Array(width * height), waiting = [x, y];
  while (waiting.length) {
    const sy = /** @type {number} */ (waiting.pop()), sx = /** @type {number} */ (waiting.pop());
    const row = sy * width;
    if (seen[row + sx] || !same(row + sx)) continue;
    let from = sx, to = sx + 1;
    while (from > 0 && !seen[row + from - 1] && same(row + from - 1)) from--;
    while (to < width && !seen[row + to] && same(row + to)) to++;
    seen.fill(1, row + from, row + to);
    spans.push(sy, from, to);
    for (const next of [sy - 1, sy + 1]) {
      if (next < 0 || next >= height) continue;
      let inside = false;
      for (let i = from; i < to; i++) {
        const open = !seen[next * width + i] && same(next * width + i);
        if (open && !inside) waiting.push(i, next);
        inside = open;
      }
    }
  }
  return spans;
}

/** All pixels that `same` accepts.
 * @param {(index: number) => boolean} same @param {number} width @param {number} height @returns {number[]} */
export function allSpans(same, width, height) {
  const spans = [];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!same(y * width + x)) continue;
      const from = x;
      while (x < width && same(y * width + x)) x++;
      spans.push(y, from, x);
    }
  }
  return spans;
}

/** @param {number[]} spans @param {number} y @param {number} from @param {number} to @param {number} width */
function push(spans, y, from, to, width) {
  from = Math.max(0, from);
  to = Math.min(width, to);
  if (from < to) spans.push(y, from, to);
}

/** The layers of a document: what is shown (`data`), what it was before the present stroke (`kept`), and what it was
 * when the document was opened (`original`). */
export class Grid {
  /** @param {number} width @param {number} height @param {Form[]} forms @param {ArrayBuffer} bytes all layers, packed */
  constructor(width, height, forms, bytes) {
    this.width = width;
    this.height = height;
    let start = 0;
    /** @type {Layer[]} */
    this.layers = forms.map((form) => {
      const count = width * height * form.channels, ids = hasIds(form);
      const data = ids ? new Int32Array(bytes.slice(start, start + 4 * count)) : new Uint8Array(bytes.slice(start, start + count));
      start += ids ? 4 * count : count;
      return {...form, data, kept: data.slice(), original: data.slice()};
    });
    if (start !== bytes.byteLength) throw new Error(`${bytes.byteLength} bytes of layers; ${start} were expected`);
    this.classes = this.layers.find((layer) => layer.paint === 'classes') || null;
    this.objects = this.layers.find((layer) => layer.paint === 'objects') || null;
  }

  /** Paint pixels. @param {number[]} spans
   * @param {(number[] | null)[]} values numbers of each layer's pixels; null leaves a layer
   * @param {number | null} only class whose pixels alone are painted @returns {Rect | null} what may have changed */
  paint(spans, values, only = null) {
    this.#each(spans, only, (layer, number, from, to) => {
      const value = values[number];
      if (!value) return;
      if (layer.channels === 1) layer.data.fill(value[0], from, to);
      else for (let i = from; i < to; i++) layer.data.set(value, i * layer.channels);
    });
    return bounds(spans);
  }

  /** Put pixels back as they were when the document was opened. @param {number[]} spans
   * @param {(number[] | null)[]} values as of `paint`: a layer with null is left @param {number | null} only */
  restore(spans, values, only = null) {
    this.#each(spans, only, (layer, number, from, to) => {
      if (!values[number]) return;
      layer.data.set(layer.original.subarray(from * layer.channels, to * layer.channels), from * layer.channels);
    });
    return bounds(spans);
  }

  /** Call for the runs of pixels that may be painted: all, or those of one class before the stroke.
   * @param {number[]} spans @param {number | null} only
   * @param {(layer: Layer, number: number, from: number, to: number) => void} write */
  #each(spans, only, write) {
    const before = only !== null && this.classes ? this.classes.kept : null;
    for (let i = 0; i < spans.length; i += 3) {
      const row = spans[i] * this.width, end = row + spans[i + 2];
      let from = row + spans[i + 1];
      while (from < end) {
        let to = end;
        if (before) {
          while (from < end && before[from] !== only) from++;
          to = from;
          while (to < end && before[to] === only) to++;
          if (from === to) break;
        }
        this.layers.forEach((layer, number) => write(layer, number, from, to));
        from = to;
      }
    }
  }

  /** Test for pixels of one region: equal in all layers to the pixel at a place. @param {number} x @param {number} y */
  same(x, y) {
    const at = y * this.width + x;
    const parts = this.layers.map(({data, channels}) => ({data, channels, wanted: data.slice(at * channels, (at + 1) * channels)}));
    return (/** @type {number} */ index) => parts.every(({data, channels, wanted}) => {
      for (let c = 0; c < channels; c++) if (data[index * channels + c] !== wanted[c]) return false;
      return true;
    });
  }

  /** Numbers of each layer in a rectangle. @param {Rect} box @param {'data' | 'kept'} which */
  cut(box, which = 'data') {
    return this.layers.map((layer) => {
      const stride = (box.x1 - box.x0) * layer.channels;
      const part = hasIds(layer) ? new Int32Array(stride * (box.y1 - box.y0)) : new Uint8Array(stride * (box.y1 - box.y0));
      for (let y = box.y0; y < box.y1; y++) {
        const from = (y * this.width + box.x0) * layer.channels;
        part.set(layer[which].subarray(from, from + stride), (y - box.y0) * stride);
      }
      return part;
    });
  }

  /** Put numbers that `cut` returned back, as the state before the next stroke. @param {Rect} box
   * @param {(Int32Array | Uint8Array)[]} parts */
  paste(box, parts) {
    this.layers.forEach((layer, number) => {
      const stride = (box.x1 - box.x0) * layer.channels;
      for (let y = box.y0; y < box.y1; y++) {
        const row = parts[number].subarray((y - box.y0) * stride, (y - box.y0 + 1) * stride);
        layer.data.set(row, (y * this.width + box.x0) * layer.channels);
        layer.kept.set(row, (y * this.width + box.x0) * layer.channels);
      }
    });
  }

  /** A rectangle of all layers, as the server reads it. @param {Rect} box */
  packed(box) {
    return new Blob(/** @type {any} */ (this.cut(box)));
  }

  /** The largest object id. */
  largestObject() {
    let largest = 0;
    if (this.objects) for (const id of this.objects.data) if (id > largest) largest = id;
    return largest;
  }

  /** The part of a rectangle that differs from the state before the stroke; null if nothing does. @param {Rect} box */
  changed(box) {
    /** @type {Rect | null} */
    let found = null;
    for (const {data, kept, channels} of this.layers) {
      for (let y = box.y0; y < box.y1; y++) {
        let from = (y * this.width + box.x0) * channels, to = (y * this.width + box.x1) * channels;
        while (from < to && data[from] === kept[from]) from++;
        if (from === to) continue;
        while (data[to - 1] === kept[to - 1]) to--;
        const x0 = Math.floor(from / channels) - y * this.width, x1 = Math.ceil(to / channels) - y * this.width;
        found = union(found, {x0, y0: y, x1, y1: y + 1});
      }
    }
    return found;
  }
}

/** @param {Form} form */
export function hasIds(form) {
  return form.paint === 'classes' || form.paint === 'objects';
}
