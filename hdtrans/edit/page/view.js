// @ts-check
/** Panes that show a picture of the document with a common camera, and what lies upon it.
 * @typedef {import('./ids.js').Rect} Rect
 * @typedef {import('./ids.js').Grid} Grid
 */

const BACK = 'rgb(120 120 120 / 12%)';

/** Place of the picture in the panes: a pixel of it is `scale` CSS pixels, the pane's corner shows `x`, `y`. */
export class Camera extends EventTarget {
  scale = 1;
  x = 0;
  y = 0;

  changed() { this.dispatchEvent(new Event('change')); }

  /** Change the scale and keep the picture's pixel under a place of the pane.
   * @param {number} factor @param {number} left @param {number} top in CSS pixels of the pane */
  zoom(factor, left, top) {
    const scale = Math.min(64, Math.max(0.05, this.scale * factor));
    this.x += left / this.scale - left / scale;
    this.y += top / this.scale - top / scale;
    this.scale = scale;
    this.changed();
  }

  /** @param {number} dx @param {number} dy in CSS pixels */
  pan(dx, dy) {
    this.x -= dx / this.scale;
    this.y -= dy / this.scale;
    this.changed();
  }

  /** Show a whole picture in a pane. @param {number} width @param {number} height @param {DOMRect} pane */
  fit(width, height, pane) {
    this.scale = Math.max(0.05, Math.min((pane.width - 16) / width, (pane.height - 16) / height, 16));
    this.x = (width - pane.width / this.scale) / 2;
    this.y = (height - pane.height / this.scale) / 2;
    this.changed();
  }
}

/** The document's layers as people look at them: written to a canvas, never read from one. */
export class MapImage {
  /** @param {Grid} grid @param {Map<number, number[]>} colours RGB by class id */
  constructor(grid, colours) {
    this.grid = grid;
    this.colours = colours;
    this.canvas = new OffscreenCanvas(grid.width, grid.height);
    this.context = /** @type {OffscreenCanvasRenderingContext2D} */ (this.canvas.getContext('2d'));
    this.update({x0: 0, y0: 0, x1: grid.width, y1: grid.height});
  }

  /** Colour a rectangle anew. @param {Rect | null} box */
  update(box) {
    if (!box) return;
    const {width, height, classes, objects, layers} = this.grid;
    const x0 = Math.max(0, box.x0 - 1), y0 = Math.max(0, box.y0 - 1);  // edges of objects touch their neighbours
    const x1 = Math.min(width, box.x1), y1 = Math.min(height, box.y1);
    const image = new ImageData(x1 - x0, y1 - y0), out = image.data;
    const ids = classes ? classes.data : null, things = objects ? objects.data : null;
    const picture = layers.find((layer) => layer.paint === 'picture');
    const masks = layers.filter((layer) => layer.paint === 'mask');
    let at = 0, last = NaN, colour = [0, 0, 0];
    for (let y = y0; y < y1; y++) {
      for (let x = x0, i = y * width + x0; x < x1; x++, i++, at += 4) {
        if (ids) {
          if (ids[i] !== last) {
            last = ids[i];
            colour = this.colours.get(last) || [0, 0, 0];
          }
        } else if (picture) {
          const c = picture.channels, p = i * c;
          colour = c === 3 ? [picture.data[p], picture.data[p + 1], picture.data[p + 2]] : [picture.data[p], picture.data[p], picture.data[p]];
        }
        let shade = 1;
        if (things && ids && ((x + 1 < width && parted(ids, things, i, i + 1)) || (y + 1 < height && parted(ids, things, i, i + width)))) shade = 0.6;
        out[at] = colour[0] * shade;
        out[at + 1] = colour[1] * shade;
        out[at + 2] = colour[2] * shade;
        for (const mask of masks) if (mask.data[i]) out[at] = (out[at] + 510) / 3;
        out[at + 3] = 255;
      }
    }
    this.context.putImageData(image, x0, y0);
  }
}

/** True for two pixels of one class and of different objects, between which an edge is shown.
 * @param {Int32Array | Uint8Array} ids @param {Int32Array | Uint8Array} things @param {number} a @param {number} b */
function parted(ids, things, a, b) {
  return things[a] !== things[b] && ids[a] === ids[b];
}

/** RGB bytes as an image to draw. @param {Uint8Array} rgb @param {number} width @param {number} height */
export function pictureImage(rgb, width, height) {
  const canvas = new OffscreenCanvas(width, height), image = new ImageData(width, height), out = image.data;
  for (let from = 0, to = 0; from < rgb.length; from += 3, to += 4) {
    out[to] = rgb[from];
    out[to + 1] = rgb[from + 1];
    out[to + 2] = rgb[from + 2];
    out[to + 3] = 255;
  }
  /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext('2d')).putImageData(image, 0, 0);
  return canvas;
}

/** One pane. `image` is drawn; where `before` and a share of the width are set, that lies left of the share.
 * `overlay` draws upon it in picture coordinates. */
export class Pane {
  /** @param {HTMLCanvasElement} canvas @param {Camera} camera */
  constructor(canvas, camera) {
    this.canvas = canvas;
    this.camera = camera;
    /** @type {OffscreenCanvas | null} */
    this.image = null;
    /** @type {OffscreenCanvas | null} */
    this.before = null;
    /** @type {number | null} */
    this.share = null;
    /** @type {(context: CanvasRenderingContext2D, pixel: number) => void} */
    this.overlay = () => {};
    this.waiting = false;
    camera.addEventListener('change', () => this.draw());
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  /** Draw with the next frame. */
  draw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.#draw();
    });
  }

  #draw() {
    const {canvas, camera} = this, ratio = devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    const scale = camera.scale * ratio;
    context.setTransform(scale, 0, 0, scale, -camera.x * scale, -camera.y * scale);
    context.imageSmoothingEnabled = scale < 1;
    if (!this.image) return;
    const {width: w, height: h} = this.image;
    context.fillStyle = BACK;
    context.fillRect(-2 / camera.scale, -2 / camera.scale, w + 4 / camera.scale, h + 4 / camera.scale);
    context.drawImage(this.image, 0, 0);
    if (this.share !== null && this.before) {
      const cut = this.before.width * this.share;
      if (cut > 0) context.drawImage(this.before, 0, 0, cut, h, 0, 0, cut, h);
      context.fillStyle = '#fff';
      context.fillRect(cut - 1 / camera.scale, 0, 2 / camera.scale, h);
    }
    this.overlay(context, 1 / camera.scale);
  }

  /** Picture coordinates of an event. @param {{clientX: number, clientY: number}} event */
  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / this.camera.scale + this.camera.x, (event.clientY - box.top) / this.camera.scale + this.camera.y];
  }
}
