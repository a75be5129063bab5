"""Weights from another run: classes are taken over by their names."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import UserError
from hdtrans.config.data import Data
from hdtrans.data.kinds.label_maps import Section as LabelMaps
from hdtrans.data.kinds.photos_to_maps import Section as PhotosToMaps
from hdtrans.engine import checkpoint
from hdtrans.engine.initial import initialise_from
from hdtrans.methods import pix2pix, pix2pixhd

THERE = ("road", "car", "sky", "tree")
HERE = ("sky", "bus", "road", "car", "lamp")


def table(names: tuple[str, ...]) -> ClassTable:
    return ClassTable(names, tuple((n, n, n) for n in range(len(names))))


def built(module: Any, config: Any, data: Data, seed: int) -> nn.ModuleDict:
    networks: nn.ModuleDict = module.build_networks(config, data, seed)
    for buffer in networks.buffers():
        if buffer.is_floating_point():
            buffer.uniform_()
    return networks


def take_over(
    tmp_path: Path, module: Any, method: dict[str, Any], there: Data, here: Data, names: tuple[ClassTable, ClassTable]
) -> tuple[nn.ModuleDict, nn.ModuleDict, dict[str, Tensor], str]:
    """Return the networks there and here, the initial weights here, and the message."""
    config = module.Config.model_validate(method)
    old, new = built(module, config, there, 1), built(module, config, here, 2)
    file = tmp_path / "there.pt"
    state = {"recipe": {"method": {"kind": config.kind}}, "networks": old.state_dict()}
    checkpoint.save(file, state | {"classes": names[0].to_dict()})
    fresh = {key: x.clone() for key, x in new.state_dict().items()}
    message = initialise_from(new, file, names[1], lambda: module.class_axes(config, here, new))
    return old, new, fresh, message


PIX2PIXHD: dict[str, Any] = {
    "condition": {"boundary": "labels", "ignored": "channel"},
    "generator": {"width": 4, "downsamples": 1, "blocks": 1, "enhancers": 1},
    "discriminator": {"width": 4, "layers": 1, "spectral_norm": True},
    "segmenter": {"width": 2, "downsamples": 1},
    "features": {"count": 2, "width": 2, "downsamples": 1},
    "perceptual": {"kind": "none"},
}


def of_labels(count: int) -> LabelMaps:
    return LabelMaps(root=".", labels=count)


def test_pix2pixhd_takes_over_classes_by_name_everywhere(tmp_path: Path) -> None:
    names = table(THERE), table(HERE)
    old, new, fresh, message = take_over(tmp_path, pix2pixhd, PIX2PIXHD, of_labels(4), of_labels(5), names)
    assert message.endswith("; classes by name: 3 of 5; new: bus, lamp; left out: tree"), message
    was, now = old.state_dict(), new.state_dict()
    inputs = ["trunk.segments.0", "enhancer1.before.0", "discriminator0.segments.0", "discriminator1.segments.0"]
    for key in (f"{name}.convolution.weight" for name in inputs):
        for n, name in enumerate(HERE):
            wanted = was[key][:, THERE.index(name)] if name in THERE else fresh[key][:, n]
            assert torch.equal(now[key][:, n], wanted), (key, name)
        assert torch.equal(now[key][:, 5:], was[key][:, 4:]), "ignored pixels, boundaries, features, the photo"
    v = "discriminator0.segments.0.convolution.v"
    assert torch.equal(now[v].view(-1, 16)[0], was[v].view(-1, 16)[2])
    for key in ("segmenter.last.weight", "segmenter.last.bias"):
        assert torch.equal(now[key][0], was[key][0]), "fake"
        assert torch.equal(now[key][[1, 3, 4]], was[key][[3, 1, 2]])
        assert torch.equal(now[key][[2, 5]], fresh[key][[2, 5]])
    moved = {f"{name}.convolution.{leaf}" for name in inputs for leaf in ("weight", "v")}
    rest = now.keys() - moved - {"segmenter.last.weight", "segmenter.last.bias"}
    assert all(torch.equal(now[key], was[key]) for key in rest)


def test_classes_in_another_order_are_taken_over_by_name(tmp_path: Path) -> None:
    names = table(THERE), table(THERE[::-1])
    old, new, _, message = take_over(tmp_path, pix2pixhd, PIX2PIXHD, of_labels(4), of_labels(4), names)
    assert message.endswith("; classes by name: 4 of 4")
    key = "trunk.segments.0.convolution.weight"
    assert torch.equal(new.state_dict()[key][:, :4], old.state_dict()[key][:, :4].flip(1))


@pytest.mark.parametrize("names", [(table(THERE), table(THERE)), (ClassTable.generic(4), table(THERE))])
def test_equal_tables_and_tables_without_names_keep_their_ids(
    names: tuple[ClassTable, ClassTable], tmp_path: Path
) -> None:
    old, new, _, message = take_over(tmp_path, pix2pixhd, PIX2PIXHD, of_labels(4), of_labels(4), names)
    assert all(torch.equal(x, new.state_dict()[key]) for key, x in old.state_dict().items())
    assert ("classes by id" in message) == (names[0] != names[1])


@pytest.mark.parametrize("here", [table(HERE), ClassTable.generic(5)])
def test_classes_without_names_do_not_match_other_numbers_of_classes(here: ClassTable, tmp_path: Path) -> None:
    names = ClassTable.generic(4), here
    with pytest.raises(UserError, match="there has other weights than here .* named classes"):
        take_over(tmp_path, pix2pixhd, PIX2PIXHD, of_labels(4), of_labels(5), names)


def test_another_condition_is_refused(tmp_path: Path) -> None:
    """The channels after the classes are no longer the same."""
    config = pix2pixhd.Config.model_validate(PIX2PIXHD | {"condition": {"boundary": "none"}})
    file = tmp_path / "there.pt"
    old = built(pix2pixhd, config, of_labels(4), 1)
    state = {"recipe": {"method": {"kind": "pix2pixhd"}}, "networks": old.state_dict()}
    checkpoint.save(file, state | {"classes": table(THERE).to_dict()})
    own = pix2pixhd.Config.model_validate(PIX2PIXHD)
    new = built(pix2pixhd, own, of_labels(5), 2)
    with pytest.raises(UserError, match="trunk there has other weights than here"):
        initialise_from(new, file, table(HERE), lambda: pix2pixhd.class_axes(own, of_labels(5), new))


@pytest.mark.parametrize("generator", [{"kind": "unet", "downsamples": 2, "width": 2}, {"kind": "resnet", "width": 2}])
def test_pix2pix_takes_over_one_hot_inputs_and_results(generator: dict[str, Any], tmp_path: Path) -> None:
    method: dict[str, Any] = {"generator": generator, "discriminator": {"width": 2, "layers": 1}}
    names = table(THERE), table(HERE)
    places, places_there = [0, 2, 3], [2, 0, 1]
    old, new, _, message = take_over(tmp_path, pix2pix, method, of_labels(4), of_labels(5), names)
    was, now = old.state_dict(), new.state_dict()
    first = [next(key for key in now if key.startswith(name) and now[key].ndim == 4) for name in pix2pix.NETWORKS]
    for key in first:
        assert torch.equal(now[key][:, places], was[key][:, places_there])
    assert "3 of 5" in message

    def maps(count: int) -> PhotosToMaps:
        return PhotosToMaps(kind="photos_to_maps", root=".", labels=count, target="labels")

    old, new, fresh, _ = take_over(tmp_path, pix2pix, method, maps(4), maps(5), names)
    was, now = old.state_dict(), new.state_dict()
    last = [key for key in now if key.startswith("generator") and now[key].ndim == 4][-1]
    dim = int(now[last].shape[0] != 5)
    assert torch.equal(now[last].movedim(dim, 0)[places], was[last].movedim(dim, 0)[places_there])
    assert torch.equal(now[last].movedim(dim, 0)[[1, 4]], fresh[last].movedim(dim, 0)[[1, 4]])
    assert torch.equal(now[first[1]][:, [3, 5, 6]], was[first[1]][:, [5, 3, 4]]), "after the photo's three channels"
