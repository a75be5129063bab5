"""Helpers for format tests: write small files, open a set as the command line does, check its errors."""

import json
import pickle
from argparse import ArgumentParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from hdtrans.common.errors import UserError


def opened(module, root, *words):
    """Return the source of a format."""
    parser = ArgumentParser()
    module.add_options(parser)
    return module.open_source(Path(root), parser.parse_args([str(word) for word in words]))


def only(source):
    """Return the maps of the only item, read as a worker reads it."""
    (item,) = source.items()
    source, item = pickle.loads(pickle.dumps((source, item)))
    assert not hasattr(source, "_items"), "workers get items one by one"
    return source.read(item)


def names(source, maps):
    """Return the label map as the first letters of its classes, `.` for ignored pixels: one text a row."""
    letters = {place: name[0] for place, name in enumerate(source.classes.names)} | {source.classes.ignore: "."}
    return ["".join(letters[number] for number in row) for row in maps.label.tolist()]


def parts(maps):
    """Return the instance map with ids renumbered in order of appearance, `.` for pixels without an instance."""
    order = {-1: "."}
    for number in maps.instance.ravel().tolist():
        order.setdefault(number, str(len(order) - 1))
    return ["".join(order[number] for number in row) for row in maps.instance.tolist()]


def png(path, array):
    """Write (H, W) ids of 8 or 16 bits, or an (H, W, 3) RGB picture."""
    array = np.asarray(array)
    if array.dtype != np.uint16:
        array = array.astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", array[..., ::-1] if array.ndim == 3 else array)[1].tobytes())
    return path


def palette_png(path, array):
    """Write ids as a palette PNG with arbitrary colours."""
    picture = Image.fromarray(np.asarray(array, np.uint8))
    picture.putpalette([255 - place % 256 for place in range(768)])
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    return path


def write(path, content):
    """Write a text, or plain values as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def cut_off(path):
    """Cut a file in its middle."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def refused(call, *words):
    """Check that a call fails with one UserError that has all these words, and return its text."""
    with pytest.raises(UserError) as caught:
        call()
    for word in words:
        assert str(word) in str(caught.value)
    return str(caught.value)
