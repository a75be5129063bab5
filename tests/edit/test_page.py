"""The page in a real Chromium: painting, undo, keys, windows; nothing leaves the machine."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from hdtrans.edit.documents import State
from hdtrans.edit.studio import Answer
from tests.edit.running import HEIGHT, WIDTH, Editor
from tests.edit.test_documents import layers

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")

CHROMIUM = os.environ.get("HDTRANS_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
# A browser that adds noise to what is read from a canvas must change nothing: nothing is read from one.
NOISE = """for (const kind of [CanvasRenderingContext2D, OffscreenCanvasRenderingContext2D]) {
  kind.prototype.getImageData = () => { throw new Error('ids are never read from a canvas'); };
}"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium (apt-get install chromium, or HDTRANS_CHROMIUM=PATH)"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


class Page:
    """A window of the editor; coordinates are pixels of the document."""

    def __init__(self, page: Any, running: Editor) -> None:
        self.page, self.running, self.errors = page, running, list[str]()
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.add_init_script(NOISE)
        page.route("**", self._route)

    def _route(self, route: Any) -> None:
        local = route.request.url.startswith((f"http://127.0.0.1:{self.running.port}/", "blob:"))
        if not local:
            self.errors.append(f"left the machine: {route.request.url}")
        route.continue_() if local else route.abort()

    def open(self, path: str) -> None:
        """Show a document."""
        self.page.goto(self.running.address)
        self.until("!!window.editor && editor.session.shown >= 0")
        self.show(path)
        self.until("editor.session.shown >= 0")

    def show(self, path: str) -> None:
        """Show another document."""
        self.page.evaluate(
            f"fetch('{path}', {{headers: {{'X-Hdtrans-Token': 'secret'}}}}).then((a) => a.json())"
            ".then((facts) => editor.session.open(facts))"
        )
        self.until(f"editor.session.path === '{path}'")

    def until(self, condition: str) -> None:
        """Wait for a condition; the page's policy forbids that the browser does."""
        ends = time.monotonic() + 30
        while not self.page.evaluate(condition):
            assert time.monotonic() < ends, (condition, self.page.inner_text("footer"), self.errors)
            self.page.wait_for_timeout(10)

    def settle(self) -> None:
        """Wait until the server has everything and the picture is there."""
        self.until("!editor.session.running && !editor.session.unsent && !editor.session.choice")

    def place(self, x: float, y: float, pane: str = "left") -> tuple[float, float]:
        """Return the place of a pixel's centre in the window."""
        script = f"""(() => {{ const box = editor.{pane}.canvas.getBoundingClientRect(), c = editor.camera;
            return [box.x + ({x} + 0.5 - c.x) * c.scale, box.y + ({y} + 0.5 - c.y) * c.scale]; }})()"""
        left, top = self.page.evaluate(script)
        return left, top

    def drag(self, *points: tuple[float, float], pane: str = "left") -> None:
        """Draw a line with the mouse."""
        self.page.mouse.move(*self.place(*points[0], pane))
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*self.place(*point, pane), steps=4)
        self.page.mouse.up()

    def click(self, x: float, y: float) -> None:
        self.page.mouse.click(*self.place(x, y))

    def choose(self, name: str) -> None:
        """Choose a class."""
        self.page.get_by_role("radio", name=name).click()

    def size(self, diameter: int) -> None:
        self.page.evaluate(f"editor.tools.set({{size: {diameter}}})")

    def key(self, key: str, code: str, target: str = "document.body", **more: bool) -> None:
        """Press a key of any keyboard."""
        facts = {"key": key, "code": code, "bubbles": True, "cancelable": True, **more}
        self.page.evaluate(f"(facts) => {target}.dispatchEvent(new KeyboardEvent('keydown', facts))", facts)


@pytest.fixture
def windows(browser: Any, plain: Editor) -> Iterator[Callable[[], Page]]:
    """Make windows of the editor without styles; the test fails on any error in them."""
    made: list[Page] = []
    context = browser.new_context(viewport={"width": 1200, "height": 700})

    def window() -> Page:
        made.append(Page(context.new_page(), plain))
        return made[-1]

    yield window
    context.close()
    assert [error for page in made for error in page.errors] == []


@pytest.fixture
def window(windows: Callable[[], Page], plain: Editor) -> tuple[Page, str]:
    """A window with a new document, and the document's path."""
    page, path = windows(), plain.opened()
    page.open(path)
    return page, path


def test_a_stroke_reaches_the_server_and_undo_gives_the_first_bytes_back(window: tuple[Page, str]) -> None:
    page, path = window
    first = layers(page.running, path)
    page.choose("class 3")
    page.size(3)
    page.drag((5, 5), (20, 5))
    page.drag((30, 5), (30, 10))
    page.settle()
    label, instance = layers(page.running, path)
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[4:7, 4:22] = True
    assert np.array_equal(label[:9, :25] == 3, expected[:9, :25]), "a disc of three pixels on its way"
    assert set(np.unique(instance[label == 3])) == {3000, 3001, 3002, 3003}, "each stroke is an object"
    assert page.page.evaluate("[...editor.session.grid.classes.data]") == label.ravel().tolist()
    for _ in range(2):
        page.page.keyboard.press("Control+z")
    page.settle()
    for one, other in zip(first, layers(page.running, path), strict=True):
        assert np.array_equal(one, other)
    page.page.get_by_role("button", name="Redo").click()
    page.page.keyboard.press("Control+Shift+z")
    page.settle()
    assert np.array_equal(layers(page.running, path)[1], instance)
    assert page.page.evaluate("editor.session.shown") == page.running.send("GET", path).json["revision"]


def test_eraser_polygon_fill_pick_and_only_over(window: tuple[Page, str]) -> None:
    page, path = window
    opened = layers(page.running, path)[0]
    page.choose("class 2")
    page.page.keyboard.press("g")
    page.click(20, 3)
    page.settle()
    label = layers(page.running, path)[0]
    assert (label[: HEIGHT // 2] == 2).all() and (label[HEIGHT // 2 :] == opened[HEIGHT // 2 :]).all()
    page.page.keyboard.press("e")
    page.size(5)
    page.drag((10, 8), (14, 8))
    page.settle()
    label = layers(page.running, path)[0]
    assert (label[6:11, 10:15] == 0).all() and (label == 0).sum() == 3 * 9 + 2 * 7, "back to what was opened"
    page.page.keyboard.press("p")
    page.choose("class 1")
    for x, y in [(20, 2), (30, 2), (30, 12), (20, 12)]:
        page.click(x, y)
    page.page.keyboard.press("Enter")
    page.settle()
    label = layers(page.running, path)[0]
    assert (label[2:12, 21:30] == 1).all() and (label[:2] == 2).all() and (label[13:16] == 2).all()
    page.page.keyboard.press("i")
    page.click(9, 22)
    assert page.page.evaluate("editor.tools.chosen") == 3
    page.page.keyboard.press("b")
    page.page.get_by_label("Paint over").select_option("class 1")
    page.size(40)
    page.click(25, 10)
    page.settle()
    after = layers(page.running, path)[0]
    assert ((after != label) <= (label == 1)).all() and (after[2:12, 21:30] == 3).all()


def test_strokes_join_an_object_with_shift_and_stuff_keeps_its_class(window: tuple[Page, str]) -> None:
    page, path = window
    page.size(3)
    page.choose("class 3")
    page.page.keyboard.down("Shift")
    page.drag((10, 24), (10, 10))
    page.page.keyboard.up("Shift")
    page.choose("class 1")
    page.drag((40, 4), (44, 4))
    page.settle()
    label, instance = layers(page.running, path)
    assert instance[12, 10] == 3000 and label[12, 10] == 3
    assert instance[4, 42] == 1


def test_the_picture_can_be_painted_on_and_compared(window: tuple[Page, str]) -> None:
    page, path = window
    page.choose("class 3")
    page.drag((20, 5), (28, 5), pane="right")
    page.settle()
    assert layers(page.running, path)[0][5, 24] == 3
    page.page.keyboard.press("s")
    assert not page.page.locator("#map").is_visible() and page.page.get_by_label("Before, left").is_visible()
    page.drag((20, 12), (28, 12), pane="right")
    page.settle()
    assert layers(page.running, path)[0][12, 24] == 3


@pytest.mark.parametrize(
    ("key", "code", "more", "found"),
    [
        ("e", "KeyE", {}, "eraser"),
        ("\u0443", "KeyE", {}, "eraser"),  # Russian: looks like a y
        ("п", "KeyG", {}, "fill"),
        ("E", "KeyE", {"shiftKey": True}, "brush"),
    ],
)
def test_keys_of_tools(key: str, code: str, more: dict[str, bool], found: str, window: tuple[Page, str]) -> None:
    page, _ = window
    page.key(key, code, **more)
    assert page.page.evaluate("editor.tools.tool") == found


def test_undo_on_other_keyboards_and_sizes(window: tuple[Page, str]) -> None:
    page, _ = window
    page.choose("class 3")
    for _ in range(3):
        page.drag((5, 5), (20, 5))
        page.drag((5, 9), (20, 9))
    steps = "editor.session.history.done.length"
    count = page.page.evaluate(steps)
    page.key("z", "KeyY", ctrlKey=True)  # German: Z lies where Y does
    assert page.page.evaluate(steps) == count - 1
    page.key("y", "KeyZ", ctrlKey=True)
    assert page.page.evaluate(steps) == count
    page.key("я", "KeyZ", ctrlKey=True)  # Russian
    assert page.page.evaluate(steps) == count - 1
    page.size(10)
    page.key("ü", "BracketLeft")  # German
    assert page.page.evaluate("editor.tools.size") < 10


def test_the_keyboard_alone_paints(window: tuple[Page, str]) -> None:
    page, path = window
    page.choose("class 2")
    page.size(1)
    page.page.locator("#map").focus()
    for key in ["ArrowRight", "Shift+ArrowUp", "ArrowLeft", "Enter"]:
        page.page.keyboard.press(key)
    page.settle()
    label = layers(page.running, path)[0]
    assert np.argwhere(label == 2).tolist() == [[HEIGHT // 2 - 10, WIDTH // 2]]
    assert page.page.inner_text("#spoken") == f"{WIDTH // 2}, {HEIGHT // 2 - 10}, class 0"
    page.page.keyboard.press("f")
    page.settle()
    assert (layers(page.running, path)[0] == 2).sum() == 1, "one pixel was filled"


def pointer(page: Page, kind: str, device: str, number: int, x: float, y: float) -> None:
    left, top = page.place(x, y)
    facts = {
        "pointerType": device,
        "pointerId": number,
        "clientX": left,
        "clientY": top,
        "bubbles": True,
        "isPrimary": True,
    }
    page.page.evaluate(
        """([kind, facts]) => { const canvas = editor.left.canvas; canvas.setPointerCapture = () => {};
        canvas.dispatchEvent(new PointerEvent(kind, facts)); }""",
        [kind, facts],
    )


def test_a_pen_draws_and_fingers_move_the_view(window: tuple[Page, str]) -> None:
    page, path = window
    page.choose("class 3")
    for kind, x in [("pointerdown", 5), ("pointermove", 20), ("pointerup", 20)]:
        pointer(page, kind, "pen", 1, x, 5)
    page.settle()
    drawn = layers(page.running, path)[0]
    assert (drawn[5, 5:21] == 3).all()
    before = page.page.evaluate("[editor.camera.x, editor.camera.scale]")
    pointer(page, "pointerdown", "touch", 2, 30, 10)
    pointer(page, "pointermove", "touch", 2, 36, 10)
    pointer(page, "pointerup", "touch", 2, 36, 10)
    after = page.page.evaluate("[editor.camera.x, editor.camera.scale]")
    assert after[0] == pytest.approx(before[0] - 6, abs=0.1) and after[1] == before[1]
    pointer(page, "pointerdown", "touch", 2, 10, 10)
    pointer(page, "pointerdown", "touch", 3, 20, 10)
    pointer(page, "pointermove", "touch", 3, 30, 10)
    pointer(page, "pointerup", "touch", 3, 30, 10)
    pointer(page, "pointerup", "touch", 2, 10, 10)
    assert page.page.evaluate("editor.camera.scale") == pytest.approx(2 * after[1], rel=0.01)
    assert np.array_equal(layers(page.running, path)[0], drawn)


def test_a_cancelled_stroke_leaves_nothing(window: tuple[Page, str]) -> None:
    page, path = window
    first = layers(page.running, path)[0]
    page.choose("class 3")
    pointer(page, "pointerdown", "pen", 1, 5, 5)
    pointer(page, "pointermove", "pen", 1, 20, 5)
    pointer(page, "pointercancel", "pen", 1, 20, 5)
    page.settle()
    assert np.array_equal(layers(page.running, path)[0], first)
    assert page.page.evaluate("editor.session.history.done.length") == 0


def test_the_wheel_keeps_the_pixel_under_the_pointer(window: tuple[Page, str]) -> None:
    page, _ = window
    place = page.place(10, 20)
    page.page.mouse.move(*place)
    scale = page.page.evaluate("editor.camera.scale")
    page.page.mouse.wheel(0, -240)
    page.until(f"editor.camera.scale > {scale}")
    assert page.place(10, 20) == pytest.approx(place, abs=2)  # a wheel's place is whole


def test_two_windows_and_a_reload(windows: Callable[[], Page], plain: Editor) -> None:
    one, other, path = windows(), windows(), plain.opened()
    one.open(path)
    other.open(path)
    for page, row in [(one, 4), (other, 12)]:
        page.page.bring_to_front()
        page.choose("class 3")
        page.size(1)
        page.drag((5, row), (20, row))
        page.page.wait_for_timeout(100)
    one.settle()
    dialog = other.page.get_by_role("dialog", name="Another window")
    dialog.wait_for()
    other.page.keyboard.press("Escape")
    dialog.get_by_role("button", name="The other one's").click()
    other.until("!document.querySelector('dialog[open]') && editor.session.grid.classes.data[4 * 48 + 10] === 3")
    assert (layers(plain, path)[0][12] == 0).all()
    other.drag((5, 14), (20, 14))
    other.settle()
    drawn = layers(plain, path)[0]
    assert (drawn[4, 5:21] == 3).all() and (drawn[14, 5:21] == 3).all()
    other.page.reload()
    other.until("!!window.editor && editor.session.shown >= 0")
    assert other.page.evaluate("[...editor.session.grid.classes.data]") == drawn.ravel().tolist()
    assert other.page.evaluate("editor.session.path") == path


def test_a_slow_model_computes_few_pictures_and_shows_the_last(
    window: tuple[Page, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page, path = window
    made = page.running.studio.picture
    calls: list[int] = []

    def slow(state: State, seed: int | None = None) -> Answer:
        time.sleep(0.3)
        calls.append(state.revision)
        return made(state, seed)

    monkeypatch.setattr(page.running.studio, "picture", slow)
    page.choose("class 3")
    page.page.mouse.move(*page.place(2, 3))
    page.page.mouse.down()
    for x in range(3, 40):
        page.page.mouse.move(*page.place(x, 3))
    page.page.mouse.up()
    page.settle()
    assert len(calls) < 10 and calls[-1] == page.running.send("GET", path).json["revision"]
    assert page.page.evaluate("editor.session.shown") == calls[-1]

    def slower(state: State, seed: int | None = None) -> Answer:
        answer = made(state, seed)
        calls.append(state.revision)
        return Answer(answer.picture, answer.revision, 1500)

    monkeypatch.setattr(page.running.studio, "picture", slower)
    page.drag((2, 6), (30, 6))
    page.settle()
    assert "A picture takes 1500 ms here: it is made when a stroke ends." in page.page.inner_text("#live")
    before = len(calls)
    page.drag((2, 9), (10, 9), (20, 9), (30, 9))
    page.settle()
    assert len(calls) == before + 1


def test_names_roles_and_search(window: tuple[Page, str]) -> None:
    page, _ = window
    for role, name in [
        ("toolbar", "Tools"),
        ("button", "Brush"),
        ("radiogroup", "Classes"),
        ("application", "Map: arrows"),
        ("combobox", "Export"),
        ("slider", "Size"),
    ]:
        assert page.page.get_by_role(role, name=name).count() == 1, (role, name)  # type: ignore[arg-type]
    page.page.get_by_label("Search classes").fill("S 2")
    assert page.page.get_by_role("radio").all_inner_texts() == ["class 2\n2"]
    page.page.keyboard.press("Enter")
    assert page.page.evaluate("editor.tools.chosen") == 2
    assert page.page.get_by_role("radio", checked=True).count() == 1


def test_dialogs_and_exports(window: tuple[Page, str]) -> None:
    page, path = window
    page.choose("class 3")
    page.drag((5, 5), (20, 5))
    page.settle()
    with page.page.expect_download() as download:
        page.page.get_by_label("Export").select_option("label")
    label = cv2.imread(str(download.value.path()), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(label, layers(page.running, path)[0])
    page.page.get_by_role("button", name="Open...").click()
    dialog = page.page.get_by_role("dialog", name="Open")
    dialog.get_by_label("Width").fill("20")
    dialog.get_by_label("Height").fill("16")
    dialog.get_by_role("button", name="Make").click()
    page.until("editor.session.grid.width === 20 && editor.session.shown >= 0")
    page.page.get_by_role("button", name="Open...").click()
    dialog.get_by_label("Height").fill("9000000")
    dialog.get_by_role("button", name="Make").click()
    dialog.get_by_text("the editor takes 1x1 to").wait_for()
    dialog.get_by_role("button", name="Close").click()


def test_styles_and_variants(browser: Any, styled: Editor, tmp_path: Path) -> None:
    """Choices that follow each other at once, and strokes between them, all arrive."""
    photo = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "photo.png"), photo)
    context = browser.new_context(viewport={"width": 1400, "height": 800})
    page, path = Page(context.new_page(), styled), styled.opened()
    page.page.goto(styled.address)
    page.until("!!window.editor && !!editor.session.facts && !editor.session.running")
    page.show(path)
    page.page.get_by_role("alert").get_by_text("clusters of styles are missing").wait_for()
    page.page.set_input_files("#style-photo", str(tmp_path / "photo.png"))
    page.until("editor.session.shown > 0")
    page.settle()
    page.page.evaluate(
        """() => { const {session, tools} = editor;
        session.choose({style: {...session.facts.style, others: 'sample'}});
        tools.set({chosen: 1, size: 3});
        tools.begin([5, 5]); tools.end();
        session.choose({seed: 9});
        const own = session.facts.style.instances;
        session.choose({style: {...session.facts.style, instances: {...own, 3000: own[3001]}}});
        tools.begin([9, 9]); tools.end(); }"""
    )
    page.settle()
    facts = styled.send("GET", path).json
    assert facts["seed"] == 9 and facts["style"]["others"] == "sample"
    assert facts["style"]["instances"]["3000"] == facts["style"]["instances"]["3001"]
    assert layers(styled, path)[0][[5, 9], [5, 9]].tolist() == [1, 1]
    assert page.page.locator("#others").input_value() == "sample"
    page.page.get_by_role("button", name="4 more").click()
    page.until("document.querySelectorAll('#variants button').length === 4")
    page.page.get_by_role("button", name="Use the variant of seed 11").click()
    page.settle()
    assert styled.send("GET", path).json["seed"] == 11
    assert page.errors == []
    context.close()


def test_a_message_of_the_model_stands_in_the_page(browser: Any, styled: Editor) -> None:
    styled.opened()
    context = browser.new_context()
    page = context.new_page()
    page.goto(styled.address)
    page.get_by_role("alert").get_by_text("clusters of styles are missing").wait_for()
    page.goto(styled.address.replace("secret", "wrong"))
    page.reload()
    page.get_by_role("alert").get_by_text("the token is missing or wrong").wait_for()
    context.close()


def module(page: Page, name: str, call: str) -> Any:
    """Evaluate an expression with the exports of a module of the page as `m`."""
    return page.page.evaluate(f"import('/app/{name}.js').then((m) => {call})")


def mask(spans: list[int], width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    found = np.zeros((height, width), int)
    for y, start, end in np.reshape(spans, (-1, 3)):
        found[y, start:end] += 1
    return found


def test_sets_of_pixels_are_those_of_their_definitions(window: tuple[Page, str]) -> None:
    page, _ = window
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    for _ in range(30):
        (ax, ay, bx, by), diameter = random.uniform(-5, 50, 4).tolist(), int(random.integers(1, 12))
        spans = module(page, "ids", f"m.strokeSpans({ax}, {ay}, {bx}, {by}, {diameter}, {WIDTH}, {HEIGHT})")
        centre = np.floor if diameter % 2 else np.round
        (ax, bx), (ay, by) = (
            centre(np.add(two, 0 if diameter % 2 else 1e-9)) + diameter % 2 / 2 for two in ((ax, bx), (ay, by))
        )
        length = max((bx - ax) ** 2 + (by - ay) ** 2, 1e-12)
        along = np.clip(((columns - ax) * (bx - ax) + (rows - ay) * (by - ay)) / length, 0, 1)
        distance = np.hypot(columns - ax - along * (bx - ax), rows - ay - along * (by - ay))
        clear = np.abs(distance - diameter / 2) > 1e-5
        assert np.array_equal(mask(spans)[clear], (distance < diameter / 2)[clear].astype(int))
    for _ in range(10):
        points = random.uniform(-5, 50, (6, 2))
        spans = module(page, "ids", f"m.polygonSpans({points.tolist()}, {WIDTH}, {HEIGHT})")
        inside = np.zeros((HEIGHT, WIDTH), bool)
        for (px, py), (qx, qy) in zip(points, np.roll(points, -1, 0), strict=True):
            inside ^= ((py <= rows) != (qy <= rows)) & (columns > px + (rows - py) / (qy - py) * (qx - px))
        assert np.array_equal(mask(spans), inside.astype(int))
    for _ in range(5):
        data = random.integers(0, 2, (HEIGHT, WIDTH))
        parts = cv2.connectedComponents((data == data[10, 10]).astype(np.uint8), connectivity=4)[1]
        call = (
            f"((d) => m.fillSpans((i) => d[i] === {data[10, 10]}, 10, 10, {WIDTH}, {HEIGHT}))({data.ravel().tolist()})"
        )
        assert np.array_equal(mask(module(page, "ids", call)), (parts == parts[10, 10]).astype(int))
        call = f"((d) => m.allSpans((i) => d[i] === 1, {WIDTH}, {HEIGHT}))({data.ravel().tolist()})"
        assert np.array_equal(mask(module(page, "ids", call)), data)


def test_runs_and_the_limit_of_the_history(window: tuple[Page, str]) -> None:
    page, _ = window
    numbers = np.random.default_rng(0).integers(0, 3, 300).tolist()
    assert module(page, "history", f"[...m.unpackRuns(m.packRuns(Int32Array.from({numbers})), true)]") == numbers
    assert module(page, "history", "[...m.packRuns(Uint8Array.from([7, 7, 7, 0]))]") == [3, 7, 1, 0]
    assert module(page, "history", "[...m.unpackRuns(m.packRuns(new Int32Array(0)), true)]") == []
    script = """(() => { const grid = editor.session.grid, h = new m.History(grid, 200);
      for (let n = 0; n < 9; n++) h.keep(grid.paint([n, 0, 5], [[n % 3 + 1], [n % 3 + 1]]));
      const kept = h.done.length, changed = h.keep(grid.paint([8, 0, 5], [[3], [3]]));
      while (h.undo());
      return [kept, changed, h.bytes, h.undone.length]; })()"""
    kept, changed, size, undone = module(page, "history", script)
    assert changed is None, "painting the same again is no step"
    assert 1 < kept < 9 and undone == kept and size <= 200
