// @ts-check
/** Strip of variants: the last pictures of other seeds and styles, to come back to.
 * @typedef {import('./session.js').Session} Session
 */

const MOST = 24;
const AT_ONCE = 4;

export class Strip {
  /** @param {HTMLElement} root @param {Session} session */
  constructor(root, session) {
    this.root = root;
    this.session = session;
    this.list = /** @type {HTMLElement} */ (root.querySelector('#variants'));
    const more = /** @type {HTMLButtonElement} */ (root.querySelector('#more'));
    more.textContent = `${AT_ONCE} more`;
    more.addEventListener('click', async () => {
      more.disabled = true;
      await session.guarded(() => this.more());
      more.disabled = false;
    });
    session.addEventListener('opened', () => {
      root.hidden = !(session.model.noisy || session.model.style);
      this.list.replaceChildren();
    });
  }

  /** Make some pictures with seeds that the strip does not have. */
  async more() {
    await this.session.settled();
    const seeds = [...this.list.children].map((each) => Number(/** @type {HTMLElement} */ (each).dataset.seed));
    let seed = Math.max(this.session.facts.seed, ...seeds, 0);
    for (let i = 0; i < AT_ONCE; i++) {
      seed += 1;
      this.add(await this.session.variant(seed), seed);
    }
  }

  /** @param {OffscreenCanvas} image @param {number} seed */
  add(image, seed) {
    const style = structuredClone(this.session.facts.style);
    const button = document.createElement('button'), canvas = document.createElement('canvas'), text = document.createElement('span');
    canvas.height = 72;
    canvas.width = Math.max(24, Math.round(72 * image.width / image.height));
    /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d')).drawImage(image, 0, 0, canvas.width, canvas.height);
    text.textContent = `seed ${seed}`;
    button.dataset.seed = String(seed);
    button.setAttribute('aria-label', `Use the variant of seed ${seed}`);
    button.append(canvas, text);
    button.addEventListener('click', () => this.session.choose(style === null ? {seed} : {seed, style}));
    this.list.append(button);
    while (this.list.children.length > MOST) this.list.firstElementChild?.remove();
    button.scrollIntoView({block: 'nearest', inline: 'nearest'});
  }
}
