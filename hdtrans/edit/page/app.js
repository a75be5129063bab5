// @ts-check
import {Dialogs} from './dialogs.js';
import {bind} from './keys.js';
import {download, get, send} from './net.js';
import {Palette} from './palette.js';
import {Session} from './session.js';
import {Strip} from './strip.js';
import {Styles} from './styles.js';
import {Tools} from './tools.js';
import {Camera, Pane} from './view.js';

/** The page: puts the parts together. */

/** @param {string} id @returns {any} */
const find = (id) => document.getElementById(id);

async function start() {
  const model = await get('/api/model');
  const session = new Session(model), camera = new Camera();
  const left = new Pane(find('map'), camera), right = new Pane(find('picture'), camera);
  const tools = new Tools(session, camera, [left, right]);
  const palette = new Palette(document.body, session, tools);
  const styles = new Styles(find('styles'), session);
  const strip = new Strip(find('strip'), session);
  const dialogs = new Dialogs(session);
  Object.assign(window, {editor: {session, tools, camera, left, right}});  // for tests, and for the curious

  document.title = `${model.name} · hdtrans edit`;
  find('model').textContent = `${model.name}, ${model.device}, ${model.dtype}`;
  if (model.left_out.length) session.say(`This page cannot paint ${model.left_out.join(', ')}, which may be missing.`);

  left.overlay = right.overlay = (context, pixel) => {
    styles.overlay(context);
    tools.overlay(context, pixel);
  };
  const fit = () => session.grid && camera.fit(session.grid.width, session.grid.height, (document.body.classList.contains('compare') ? right : left).canvas.getBoundingClientRect());
  const size = (/** @type {number} */ factor) => tools.set({size: factor > 1 ? Math.max(tools.size + 1, tools.size * factor) : Math.min(tools.size - 1, tools.size * factor)});
  const compare = () => {
    const on = !document.body.classList.toggle('compare');
    find('compare').setAttribute('aria-pressed', String(!on));
    right.share = on ? null : find('share').value / 100;
    fit();
  };
  const seed = (/** @type {number} */ number) => session.choose({seed: number});
  const exported = (/** @type {string} */ what) => session.guarded(async () => {
    await session.settled();
    await download(`${session.path}/export?what=${encodeURIComponent(what)}`);
  });

  session.addEventListener('opened', () => {
    left.image = session.map.canvas;
    right.image = right.before = null;
    const {grid} = session;
    if (grid.classes && !palette.recent.length) tools.set({chosen: grid.classes.data[Math.floor((grid.height + 1) / 2 * grid.width)], onlyClass: 0});
    tools.set({size: grid.classes ? Math.max(2, grid.width / 24) : Math.max(1, grid.width / 128)});
    palette.build();
    find('name').textContent = `${session.facts.name}, ${grid.width}x${grid.height}`;
    find('only-row').hidden = !grid.classes;
    find('objects-row').hidden = !grid.objects;
    find('only').replaceChildren(new Option('anything', ''), ...model.classes.map((/** @type {any} */ each) => new Option(each.name, String(each.id))));
    const layers = session.facts.layers.map((/** @type {string} */ name) => new Option(name, name));
    find('export').replaceChildren(new Option('Export...', ''), new Option('picture', 'picture'), ...layers, ...(model.style ? [new Option('style', 'style')] : []), new Option('project (one file)', 'project'));
    fit();
  });
  session.addEventListener('edited', () => left.draw());
  session.addEventListener('picture', () => {
    right.image = session.image;
    right.before = session.before;
    right.draw();
    const time = `${Math.round(session.milliseconds)} ms`;
    find('live').textContent = session.live ? `Translated in ${time}.` : `A picture takes ${time} here: it is made when a stroke ends.`;
  });
  const state = () => {
    find('undo').disabled = !session.history || !session.history.done.length;
    find('redo').disabled = !session.history || !session.history.undone.length;
    if (session.facts) find('seed').value = session.facts.seed;
    document.body.classList.toggle('working', session.running);
  };
  session.addEventListener('state', state);
  session.addEventListener('opened', state);
  session.addEventListener('message', (/** @type {any} */ event) => {
    find('message').textContent = event.detail.text;
    find('message').classList.toggle('error', event.detail.error);
    if (event.detail.conflict && !find('conflict-dialog').open) find('conflict-dialog').showModal();
  });
  tools.addEventListener('state', () => {
    for (const button of document.querySelectorAll('#tools [data-tool]')) {
      const on = /** @type {HTMLElement} */ (button).dataset.tool === tools.tool;
      button.setAttribute('aria-pressed', String(on));
      /** @type {HTMLElement} */ (button).tabIndex = on ? 0 : -1;
    }
    find('size').value = tools.size;
    find('size-shown').textContent = `${tools.size} px`;
    const each = model.classes.find((/** @type {any} */ one) => one.id === tools.chosen);
    find('new-objects').checked = tools.newObjects && session.things && session.things.has(tools.chosen);
    find('chosen').textContent = each && session.grid && session.grid.classes ? each.name : '';
  });
  tools.addEventListener('cross', (/** @type {any} */ event) => {
    const [x, y] = event.detail.map(Math.floor), {classes, width} = session.grid;
    const each = classes && model.classes.find((/** @type {any} */ one) => one.id === classes.data[y * width + x]);
    find('spoken').textContent = `${x}, ${y}${each ? `, ${each.name}` : ''}`;
  });
  find('styles').addEventListener('hover', () => left.draw());

  for (const button of document.querySelectorAll('#tools [data-tool]')) {
    button.addEventListener('click', () => tools.set({tool: /** @type {HTMLElement} */ (button).dataset.tool}));
  }
  find('tools').addEventListener('keydown', (/** @type {KeyboardEvent} */ event) => {
    const buttons = [...document.querySelectorAll('#tools [data-tool]')], step = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key];
    const at = buttons.indexOf(/** @type {any} */ (document.activeElement));
    if (!step || at < 0) return;
    event.preventDefault();
    const next = /** @type {HTMLElement} */ (buttons[(at + step + buttons.length) % buttons.length]);
    tools.set({tool: next.dataset.tool});
    next.focus();
  });
  find('size').addEventListener('input', () => tools.set({size: Number(find('size').value)}));
  find('only').addEventListener('change', () => tools.set({only: find('only').value !== '', onlyClass: Number(find('only').value)}));
  find('new-objects').addEventListener('change', () => {
    if (find('new-objects').checked) session.things.add(tools.chosen);
    else session.things.delete(tools.chosen);
  });
  find('undo').addEventListener('click', () => session.undo());
  find('redo').addEventListener('click', () => session.redo());
  find('fit').addEventListener('click', fit);
  find('compare').addEventListener('click', compare);
  find('share').addEventListener('input', () => { right.share = find('share').value / 100; right.draw(); });
  find('open').addEventListener('click', () => session.guarded(() => dialogs.show()));
  find('export').addEventListener('change', () => {
    if (find('export').value) exported(find('export').value);
    find('export').value = '';
  });
  find('seed-part').hidden = !(model.noisy || model.style);
  find('seed').addEventListener('change', () => seed(Number(find('seed').value)));
  find('new-seed').addEventListener('click', () => seed(session.facts.seed + 1));
  window.addEventListener('resize', fit);
  document.addEventListener('keyup', (event) => { if (event.key === ' ') tools.space = false; });
  window.addEventListener('beforeunload', (event) => { if (session.unsent) event.preventDefault(); });
  const tool = (/** @type {string} */ name) => () => tools.set({tool: name});
  bind({
    'b': tool('brush'), 'e': tool('eraser'), 'p': tool('polygon'), 'g': tool('fill'), 'i': tool('pick'), 'h': tool('hand'),
    '[': () => size(1 / 1.25), ']': () => size(1.25), ',': () => size(1 / 1.25), '.': () => size(1.25),
    'ctrl+z': () => session.undo(), 'ctrl+shift+z': () => session.redo(), 'ctrl+y': () => session.redo(),
    'ctrl+s': () => exported('project'), 'ctrl+o': () => session.guarded(() => dialogs.show()),
    's': compare, 'f': fit, '0': fit, 'x': () => session.refresh(), '/': () => palette.search.focus(),
    'n': () => (model.noisy || model.style) && seed(session.facts.seed + 1),
    'escape': () => tools.cancel(), 'enter': () => tools.closePolygon(), ' ': () => { tools.space = true; },
    '+': () => camera.zoom(1.25, left.canvas.clientWidth / 2, left.canvas.clientHeight / 2),
    '-': () => camera.zoom(0.8, left.canvas.clientWidth / 2, left.canvas.clientHeight / 2),
    ...Object.fromEntries(Array.from({length: 9}, (_, n) => [String(n + 1), () => palette.again(n + 1)])),
  });
  tools.set({});
  await session.guarded(() => first(session, model, dialogs));
}

/** Open what this window showed before, else the newest document, project or input; else ask.
 * @param {Session} session @param {any} model @param {Dialogs} dialogs */
async function first(session, model, dialogs) {
  const {open, saved} = await get('/api/documents'), before = sessionStorage.getItem('document');
  const there = open.find((/** @type {any} */ each) => each.document === before) || open[open.length - 1];
  if (there) return session.open(await get(`/api/documents/${there.document}`));
  const what = saved.length ? {project: saved[0]} : model.inputs ? {input: 0} : null;
  return what ? session.open(await (await send('POST', '/api/documents', what)).json()) : dialogs.show();
}

start().catch((error) => {
  find('message').textContent = error.message;
  find('message').classList.add('error');
});
