"""Pictures derived from photos and maps: by hand on small arrays."""

import cv2
import numpy as np
import pytest
import scipy.ndimage
import torch

from hdtrans.common.classes import ClassTable
from hdtrans.config.inputs import Input
from hdtrans.data import derived
from hdtrans.data.kinds.photos import Section as Photos
from hdtrans.networks.condition import boundaries as boundary_channel

BOTH = ("source", "photo")


def photos(tmp_path, **given):
    """Return a section of photos with an input."""
    return Photos.model_validate({"kind": "photos", "root": tmp_path, "input": given})


@pytest.fixture
def photo():
    """A coloured picture with a step in the middle."""
    picture = np.full((8, 12, 3), (200, 40, 90), np.uint8)
    picture[:, 6:] = (10, 220, 130)
    return picture


class TestEdges:
    def test_a_step_is_one_black_line(self, photo):
        lines = derived.edges(photo, 50, 100, 0)
        assert lines.shape == (8, 12, 1) and lines.dtype == np.uint8
        assert set(np.unique(lines)) == {0, 255}
        assert (np.flatnonzero(lines[4, :, 0] == 0) >= 5).all() and (lines[4] == 0).sum() == 1

    def test_thresholds_count(self, photo):
        assert (derived.edges(photo, 5000, 9000, 0) == 255).all()

    def test_a_blur_takes_noise_away(self):
        noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        assert (derived.edges(noise, 100, 200, 0) == 0).sum() > 4 * (derived.edges(noise, 100, 200, 2) == 0).sum()

    def test_types_agree(self, photo):
        lines = derived.edges(photo)
        assert np.array_equal(lines, derived.edges(photo.astype(np.int32) * 257))
        assert np.array_equal(lines, derived.edges(photo.astype(np.float32) / 127.5 - 1))


class TestLab:
    def test_known_colours(self):
        white_black_red = np.array([[[255, 255, 255], [0, 0, 0], [255, 0, 0]]], np.uint8)
        lightness, colours = derived.lab_of(white_black_red)
        assert lightness.dtype == colours.dtype == np.float32
        assert lightness[0, :, 0] == pytest.approx([1, -1, 53.24 / 50 - 1], abs=0.01)
        assert colours[0, 2] == pytest.approx([80.1 / 110, 67.2 / 110], abs=0.01)
        assert np.abs(colours[0, :2]).max() < 0.01

    def test_there_and_back(self):
        rows, columns = np.mgrid[:32, :32].astype(np.uint8)
        picture = np.stack([rows * 8, columns * 8, 255 - rows * 4 - columns * 4], 2)
        back = derived.rgb_of(*derived.lab_of(picture))
        assert np.abs(back.astype(int) - picture).max() <= 1

    def test_every_colour_lies_within(self):
        steps = np.arange(0, 256, 17, dtype=np.uint8)
        cube = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
        lab = cv2.cvtColor(cube.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
        assert np.abs(lab[..., 1:]).max() < derived.LARGEST_AB

    def test_types_agree(self, photo):
        first = derived.lab_of(photo)
        for other in (photo.astype(np.int32) * 257, photo.astype(np.float32) / 127.5 - 1):
            for one, two in zip(first, derived.lab_of(other), strict=True):
                assert np.allclose(one, two, atol=1e-4)


class TestLowResolution:
    @pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
    def test_size_type_and_loss(self, dtype):
        picture = np.zeros((13, 10, 3), dtype)
        picture[::2] = 1 if dtype == np.float32 else 200
        low = derived.low_resolution(picture, 4)
        assert low.shape == picture.shape and low.dtype == dtype
        assert np.ptp(low[4:8, 5, 0].astype(float)) < 0.1 * np.ptp(picture), "stripes of one row do not survive"

    def test_a_flat_picture_stays(self):
        flat = np.full((8, 8, 1), 77, np.uint8)
        assert np.array_equal(derived.low_resolution(flat, 2), flat)

    def test_a_tiny_picture(self):
        assert derived.low_resolution(np.full((1, 2, 3), 9, np.uint8), 4).shape == (1, 2, 3)


class TestMaps:
    def test_boundaries_on_both_pixels(self):
        ids = np.array([[1, 1, 2], [1, 1, 2], [7, 7, 7]])
        assert (derived.boundaries(ids)[..., 0] // 255).tolist() == [[0, 1, 1], [1, 1, 1], [1, 1, 1]]

    def test_boundaries_are_those_of_the_networks(self):
        ids = np.random.default_rng(0).integers(0, 3, (9, 11)).astype(np.int32)
        wanted = boundary_channel(torch.from_numpy(ids)[None])[0].numpy().astype(bool)
        assert np.array_equal(derived.boundaries(ids)[..., 0] == 255, wanted)

    def test_components(self):
        label = np.array([[3, 0, 3, 3], [3, 3, 0, 3], [0, 3, 0, 0]], np.uint8)
        ids = derived.components(label)
        assert ids.dtype == np.int32 and ids.flags.c_contiguous
        assert ids.tolist() == [[1, 2, 3, 3], [1, 1, 4, 3], [5, 1, 4, 4]], "not across corners"

    @pytest.mark.parametrize("shape", [(1, 1), (1, 7), (9, 1), (37, 53)])
    def test_components_are_those_of_each_class_by_itself(self, shape):
        label = np.random.default_rng(1).integers(0, 3, shape).astype(np.int32) * 40000
        ids, count = derived.components(label), 0
        for number in np.unique(label):
            parts, found = scipy.ndimage.label(label == number)
            count += found
            for part in range(1, found + 1):
                own = np.unique(ids[parts == part])
                assert len(own) == 1 and (ids == own[0]).sum() == (parts == part).sum()
        assert len(np.unique(ids)) == count
        assert np.array_equal(derived.boundaries(ids), derived.boundaries(label))

    def test_one_hot(self):
        made = derived.one_hot(np.array([[0, 2, 255]], np.uint8), 3)
        assert made.dtype == np.uint8 and made.tolist() == [[[255, 0, 0], [0, 0, 255], [0, 0, 0]]]


class TestSplitPhoto:
    def test_channels_are_those_of_the_section(self, tmp_path, photo):
        for given in ({"kind": "edges"}, {"kind": "grey"}, {"kind": "lab"}, {"kind": "low_resolution", "factor": 2}):
            data = photos(tmp_path, **given)
            made = data.make({"photo": photo}, BOTH, None)
            source, wanted = made["source"], made["photo"]
            assert source.shape == (8, 12, data.source_channels), given
            assert wanted.shape == (8, 12, data.photo_channels), given

    def test_grey_is_as_read_picture_has_it(self, tmp_path, photo):
        made = photos(tmp_path, kind="grey").make({"photo": photo}, BOTH, None)
        source, wanted = made["source"], made["photo"]
        assert source[0, 0, 0] == round(0.299 * 200 + 0.587 * 40 + 0.114 * 90) and wanted is photo

    def test_ready_inputs(self, tmp_path, photo):
        def ready(picture, **given):
            data, file = photos(tmp_path, **given), str(tmp_path / "ready.png")
            cv2.imwrite(file, picture[..., ::-1])
            given, truth = data.read_input(Input.of("source", data.fields["source"]), file, ready=True)
            assert truth is None
            return given

        drawing = np.full((4, 4, 1), 255, np.uint8)
        assert np.array_equal(ready(drawing, kind="edges"), drawing)
        large = ready(photo, kind="low_resolution", factor=4)
        assert large.shape == (32, 48, 3)
        assert np.array_equal(ready(photo, kind="lab"), derived.lab_of(photo)[0])

    def test_arrays_that_callers_give(self, tmp_path, photo):
        """Whole numbers are a picture, whose lightness is taken; floats are a lightness already."""
        data = photos(tmp_path, kind="lab")
        spec, lightness = Input.of("source", data.fields["source"]), derived.lab_of(photo)[0]
        assert np.array_equal(data.check_input(spec, "source", photo), lightness)
        assert np.array_equal(data.check_input(spec, "source", lightness), lightness)


def test_anything_can_be_looked_at_as_rgb() -> None:
    words = np.array([[[0, 65535, 257, 128, 5]]], np.int32)
    assert derived.to_rgb(words).tolist() == [[[0, 255, 1]]], "the first three of many bands, rounded to 8 bits"
    assert derived.to_rgb(np.array([[[-1.0, 1.0]]], np.float32)).tolist() == [[[0, 0, 0]]], "grey, of the first"
    classes = ClassTable.generic(2)
    assert np.array_equal(derived.to_rgb(np.array([[1, 0]]), classes), classes.colourise(np.array([[1, 0]])))
