"""Documents by requests: what is painted, translated, saved and exported."""

import io
import json
import os
import shlex
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from hdtrans.cli import run_tool
from hdtrans.edit.projects import ENDING
from tests.edit.running import CLASSES, HEIGHT, WIDTH, Editor, Response, editor


def layers(running: Editor, path: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the label and instance map of a document."""
    data = np.frombuffer(running.send("GET", f"{path}/layers").body, "<i4").reshape(2, HEIGHT, WIDTH).copy()
    return data[0], data[1]


def patch(running: Editor, path: str, base: int, box: tuple[int, int, int, int], label: int, instance: int) -> Response:
    """Paint a rectangle."""
    x, y, w, h = box
    body = np.concatenate([np.full(w * h, value, "<i4") for value in (label, instance)]).tobytes()
    return running.send("PATCH", f"{path}?base={base}&x={x}&y={y}&w={w}&h={h}", body)


def picture(running: Editor, path: str, **given: object) -> tuple[np.ndarray, Response]:
    answer = running.send("POST", f"{path}/picture", {"format": "rgb", **given})
    assert answer.status == 200, answer.body
    width, height = map(int, answer.headers["x-size"].split(","))
    return np.frombuffer(answer.body, np.uint8).reshape(height, width, 3), answer


def test_facts_and_inputs(plain: Editor, maps: Path) -> None:
    facts = plain.send("GET", "/api/model").json
    assert [(each["name"], each["paint"]) for each in facts["layers"]] == [
        ("label", "classes"),
        ("instance", "objects"),
    ]
    assert [each["id"] for each in facts["classes"]] == list(range(CLASSES)) and facts["style"] is None
    listed = plain.send("GET", "/api/inputs").json
    assert listed == {"total": 2, "inputs": [{"id": 0, "name": "0"}, {"id": 1, "name": "1"}]}
    assert plain.send("GET", "/api/inputs?after=1").json["inputs"] == [{"id": 1, "name": "1"}]
    small = cv2.imdecode(np.frombuffer(plain.send("GET", "/api/inputs/0/thumbnail").body, np.uint8), 1)
    assert small.shape == (HEIGHT, WIDTH, 3)


def test_an_input_is_opened_as_it_is(plain: Editor, maps: Path) -> None:
    path = plain.opened(1)
    label, instance = layers(plain, path)
    assert np.array_equal(label, cv2.imread(str(maps / "1.png"), cv2.IMREAD_UNCHANGED))
    assert np.array_equal(instance, cv2.imread(str(maps.with_name("test_inst") / "1.png"), cv2.IMREAD_UNCHANGED))
    facts = plain.send("GET", path).json
    assert (facts["width"], facts["height"], facts["things"]) == (WIDTH, HEIGHT, [3])


def test_a_rectangle_changes_map_and_picture(plain: Editor) -> None:
    path = plain.opened()
    before, _ = picture(plain, path)
    answer = patch(plain, path, 0, (4, 2, 9, 7), 3, 3005)
    assert answer.json["revision"] == 1
    label, instance = layers(plain, path)
    assert (label[2:9, 4:13] == 3).all() and (instance[2:9, 4:13] == 3005).all() and (instance == 3005).sum() == 63
    after, answered = picture(plain, path)
    assert answered.headers["x-revision"] == "1" and not np.array_equal(before, after)
    direct = plain.studio.translator(label, instance)
    assert np.array_equal(after, direct)


def test_a_newer_picture_takes_the_place_of_one_that_waits(plain: Editor) -> None:
    path, go = plain.opened(), threading.Event()
    busy = plain.studio.worker.every(lambda: go.wait(30))
    with ThreadPoolExecutor(2) as pool:
        older = pool.submit(plain.send, "POST", f"{path}/picture", {})
        while not plain.studio.worker.waits(path.rpartition("/")[2]):
            time.sleep(0.005)
        newer = pool.submit(plain.send, "POST", f"{path}/picture", {})
        answer = older.result(30)
        go.set()
        assert answer.status == 409 and answer.json["superseded"] is True
        assert newer.result(30).status == 200
    assert busy.result(30)


@pytest.mark.parametrize(
    ("query", "size", "words"),
    [
        ("base=0&x=40&y=0&w=9&h=1", 72, "lies outside of the document, 48x32"),
        ("base=0&x=-1&y=0&w=2&h=1", 16, "lies outside"),
        ("base=0&x=0&y=0&w=0&h=1", 0, "lies outside"),
        ("base=0&x=0&y=0&w=2&h=1", 15, "has 15 bytes; 16 are expected"),
        ("base=0&x=0&y=0&w=2", 16, "h: is None; a whole number is expected"),
        ("base=0&x=0&y=0&w=2&h=1e1", 16, "h: is '1e1'"),
    ],
)
def test_wrong_rectangles(query: str, size: int, words: str, plain: Editor) -> None:
    path = plain.opened()
    answer = plain.send("PATCH", f"{path}?{query}", bytes(size))
    assert answer.status == 422 and words in answer.json["error"], answer.body
    negative = plain.send("PATCH", f"{path}?base=0&x=0&y=0&w=1&h=1", np.array([-1, 0], "<i4").tobytes())
    assert negative.status == 422 and "label: holds the id -1" in negative.json["error"]


def test_a_second_window_is_noticed(plain: Editor) -> None:
    path = plain.opened()
    assert patch(plain, path, 0, (0, 0, 1, 1), 2, 2).status == 200
    answer = patch(plain, path, 0, (0, 0, 1, 1), 1, 1)
    assert answer.status == 409 and answer.json["revision"] == 1
    assert layers(plain, path)[0][0, 0] == 2


def test_a_class_that_does_not_exist_is_named_when_the_picture_is_made(plain: Editor) -> None:
    path = plain.opened()
    patch(plain, path, 0, (0, 0, 1, 1), 77, 77)
    answer = plain.send("POST", f"{path}/picture", {})
    assert answer.status == 422 and "ids that are no class: 77 (1 pixel" in answer.json["error"]


def unpacked(answer: Response, folder: Path) -> dict[str, object]:
    """Unpack a project file into a folder and return its note."""
    zipfile.ZipFile(io.BytesIO(answer.body)).extractall(folder)
    note: dict[str, object] = json.loads((folder / "edit.json").read_text())
    return note


@pytest.mark.parametrize("which", ["plain", "styled"])
def test_an_export_is_what_infer_makes_of_the_exported_maps(
    which: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running: Editor = request.getfixturevalue(which)
    path = running.opened()
    patch(running, path, 0, (4, 2, 9, 7), 3, 70_000)  # more than a 16-bit PNG holds
    if which == "styled":
        photo = cv2.imencode(".png", np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))[1]
        styles = running.send("POST", f"{path}/encode?name=photo.png", photo.tobytes()).json["instances"]
        assert set(styles) == {"0", "1", "3000", "3001", "70000"} and len(styles["0"]) == 2
        style = {"others": "mean", "classes": {}, "instances": styles}
        assert running.send("PUT", f"{path}/style", {"style": style, "seed": 5}).status == 200
    shown = running.send("POST", f"{path}/picture", {"format": "png"})
    assert shown.status == 200, shown.body
    exported = running.send("GET", f"{path}/export?what=picture")
    name = exported.headers["content-disposition"].split("''")[1]
    note = unpacked(running.send("GET", f"{path}/export?what=project"), tmp_path)
    monkeypatch.chdir(tmp_path)
    words = shlex.split(str(note["command"]))
    assert words[:2] == ["hdtrans", "infer"] and run_tool("infer", words[2:]) == 0
    assert (tmp_path / "pictures" / name).read_bytes() == exported.body
    decoded = [cv2.imdecode(np.frombuffer(each.body, np.uint8), -1) for each in (shown, exported)]
    assert np.array_equal(*decoded)


def test_a_project_is_saved_by_itself_and_opened_again(plain: Editor, tmp_path: Path) -> None:
    path = plain.opened()
    patch(plain, path, 0, (4, 2, 9, 7), 3, 70_000)
    name = plain.send("GET", path).json["name"]
    file = plain.studio.options.out / f"{name}{ENDING}"
    ends = time.monotonic() + 20
    while plain.send("GET", path).json["saved"] != 1:
        assert time.monotonic() < ends
        time.sleep(0.05)
    data = file.read_bytes()
    assert data == plain.send("GET", f"{path}/export?what=project").body, "equal documents give equal files"
    again = plain.send("POST", "/api/projects?name=x.zip", data)
    assert again.status == 201 and again.json["notes"] == [] and again.json["name"] != name
    for one, other in zip(layers(plain, path), layers(plain, f"/api/documents/{again.json['document']}"), strict=True):
        assert np.array_equal(one, other)
    continued = plain.send("POST", "/api/documents", {"project": name})
    assert continued.json["name"] == name and continued.json["things"] == [3]


def test_a_project_of_another_model_is_opened_with_a_remark(plain: Editor, styled: Editor) -> None:
    path = plain.opened()
    patch(plain, path, 0, (0, 0, 2, 2), 1, 1)
    data = plain.send("GET", f"{path}/export?what=project").body
    answer = styled.send("POST", "/api/projects?name=x.zip", data)
    assert answer.status == 201, answer.body
    assert answer.json["notes"] == ["the project was made with other weights (plain); its picture may differ"]


def test_damaged_projects(plain: Editor) -> None:
    data = plain.send("GET", f"{plain.opened()}/export?what=project").body
    assert "cannot be read as a project" in plain.send("POST", "/api/projects", data[:-30]).json["error"]
    for change, words in [
        (lambda note: note.update(format=9), "was written by a later hdtrans"),
        (lambda note: note["layers"].pop("instance"), "has no instance, which this model reads"),
        (lambda note: note["layers"].update(label="../../etc/passwd"), "cannot be read as a project"),
        (lambda note: note.update(seed="x"), "edit.json is missing or wrong"),
        (lambda note: note.pop("things"), "edit.json is missing or wrong"),
    ]:
        packed, source = io.BytesIO(), zipfile.ZipFile(io.BytesIO(data))
        note = json.loads(source.read("edit.json"))
        change(note)  # type: ignore[no-untyped-call]
        with zipfile.ZipFile(packed, "w") as archive:
            for each in source.namelist():
                archive.writestr(each, json.dumps(note) if each == "edit.json" else source.read(each))
        answer = plain.send("POST", "/api/projects?name=p.zip", packed.getvalue())
        assert answer.status == 422 and words in answer.json["error"], answer.body


def test_uploads(plain: Editor) -> None:
    path = plain.opened()
    label = np.full((HEIGHT, WIDTH), 2, np.uint8)

    def upload(array: np.ndarray, ending: str = ".png", layer: str = "label") -> Response:
        data = cv2.imencode(ending, array)[1].tobytes()
        return plain.send("PUT", f"{path}/upload?layer={layer}&name=my{ending}", data)

    assert upload(label).json == {"revision": 1}
    assert (layers(plain, path)[0] == 2).all()
    for answer, words in [
        (upload(label[:8]), "label: the file is 48x8, the document 48x32"),
        (upload(label, ".jpg"), "my.jpg: a label map is expected, but this is a JPEG"),
        (upload(np.dstack([label] * 3)), "my.png: a label map (one id a pixel) is expected"),
        (upload(label + 30), "my.png: ids that are no class: 32"),
        (upload(label, layer="photo"), "this model has no layer photo; it has label, instance"),
        (plain.send("PUT", f"{path}/upload?layer=label&name=x.png", b"nonsense"), "x.png: "),
        (plain.send("PUT", f"{path}/upload?layer=label&name=x.png", b""), "x.png: "),
    ]:
        assert answer.status == 422 and words in answer.json["error"], answer.body


def test_objects_and_wrong_styles(styled: Editor) -> None:
    path = styled.opened()
    found = styled.send("GET", f"{path}/objects").json["objects"]
    assert found[0]["area"] >= found[-1]["area"]
    assert {(each["id"], each["class"], each["area"]) for each in found} >= {(3000, 3, 64), (3001, 3, 64)}
    assert "clusters of styles are missing" in styled.send("POST", f"{path}/picture", {}).json["error"]
    for given, words in [
        ({"style": {"colour": 1}}, "there is no key 'colour'"),
        ({"style": [1, 2]}, "is no style"),
        ({"style": {"instances": {"x": 1}}}, "'x' is no instance id"),
        ({"seed": -1}, "a seed is a number from 0"),
        ({"seed": "a"}, "seed: is 'a'"),
    ]:
        answer = styled.send("PUT", f"{path}/style", given)
        assert answer.status == 422 and words in answer.json["error"], answer.body
    assert styled.send("GET", path).json["revision"] == 0


def test_a_model_of_pictures_is_drawn_for(tmp_path: Path) -> None:
    """The lead of `pix2pix_edges` is a grey picture; its project's command takes drawings as they are."""
    from tests.small_runs import made_checkpoint

    data = {"kind": "photos", "root": ".", "input": {"kind": "edges"}}
    model = made_checkpoint(
        tmp_path / "edges.pt", data, {"kind": "pix2pix", "generator": {"width": 4, "downsamples": 3}}
    )
    with editor(model, tmp_path / "out") as running:
        assert [each["paint"] for each in running.send("GET", "/api/model").json["layers"]] == ["picture"]
        blank = {"width": WIDTH, "height": HEIGHT, "class": 0}
        opened = running.send("POST", "/api/documents", {"blank": blank}).json
        path = f"/api/documents/{opened['document']}"
        assert running.send("GET", f"{path}/layers").body == b"\xff" * (WIDTH * HEIGHT)
        assert running.send("PATCH", f"{path}?base=0&x=0&y=0&w={WIDTH}&h=2", bytes(2 * WIDTH)).status == 200
        exported = running.send("GET", f"{path}/export?what=picture")
        note = unpacked(running.send("GET", f"{path}/export?what=project"), tmp_path)
    here = os.getcwd()
    os.chdir(tmp_path)
    try:
        assert run_tool("infer", shlex.split(str(note["command"]))[2:]) == 0
    finally:
        os.chdir(here)
    assert (tmp_path / "pictures" / "blank.png").read_bytes() == exported.body
