"""One geometry for maps and pictures: the sizes, the places, and that maps and pictures stay aligned."""

import numpy as np
import pytest
from PIL import Image

from hdtrans.common.errors import UserError
from hdtrans.config.stage import Size, Stage
from hdtrans.data.geometry import Geometry, Plan, plan
from tests.mutants.reading import in_8_bits, mixing_neighbours


def size(text):
    """Return a size from `WIDTHxHEIGHT`."""
    return Size.model_validate(text)


def coordinates(height, width):
    """Return a map that numbers its pixels, and a picture that holds row and column in its channels."""
    rows, columns = np.mgrid[:height, :width]
    picture = np.stack([rows, columns, rows], axis=2).astype(np.uint8)
    return (rows * width + columns).astype(np.int32), picture


class TestPlan:
    def test_none_takes_the_file_as_it_is(self):
        assert plan(Geometry(), 5, 7, True, None) == Plan()

    def test_resize(self):
        geometry = Geometry("resize", size("8x4"))
        assert plan(geometry, 5, 7, False, None) == Plan(resize=(4, 8))
        assert plan(geometry, 4, 8, False, None) == Plan()

    def test_scale_width_keeps_the_aspect(self):
        geometry = Geometry("scale_width", size("1024x512"))
        assert plan(geometry, 1024, 2048, False, None) == Plan(resize=(512, 1024))
        assert plan(geometry, 1025, 2048, False, None) == Plan(resize=(512, 1024))  # 512.5 rows
        with pytest.raises(UserError, match=r"1024x768 of 2048x1536.*scale_width_and_crop.*resize"):
            plan(geometry, 1536, 2048, False, None)

    def test_crops_are_centred_without_randomness(self):
        assert plan(Geometry("crop", size("4x2")), 6, 10, True, None) == Plan(crop=(2, 3, 2, 4))
        geometry = Geometry("resize_and_crop", size("4x2"), size("8x8"))
        assert plan(geometry, 100, 50, True, None) == Plan((8, 8), (3, 2, 2, 4))
        geometry = Geometry("scale_width_and_crop", size("4x2"), size("8x4"))
        assert plan(geometry, 100, 50, True, None) == Plan((16, 8), (7, 2, 2, 4))

    def test_a_crop_of_everything_is_none(self):
        assert plan(Geometry("crop", size("10x6")), 6, 10, True, None) == Plan()

    @pytest.mark.parametrize(
        ("geometry", "advice"),
        [
            (Geometry("crop", size("11x4")), "resize_and_crop"),
            (Geometry("resize_and_crop", size("11x4"), size("12x3")), "larger load"),
            (Geometry("scale_width_and_crop", size("11x8"), size("11x8")), "wider load"),
        ],
    )
    def test_a_crop_that_does_not_fit(self, geometry, advice):
        with pytest.raises(UserError, match=rf"size {geometry.size} does not fit into \d+x\d+; .*{advice}"):
            plan(geometry, 6, 10, False, None)

    def test_random_crops_reach_every_place_and_flips_are_even(self):
        random = np.random.default_rng(0)
        plans = [plan(Geometry("crop", size("4x2")), 4, 6, True, random) for _ in range(600)]
        places = {drawn.crop[:2] for drawn in plans}
        assert places == {(top, left) for top in range(3) for left in range(3)}
        assert 250 < sum(drawn.flip for drawn in plans) < 350

    def test_switching_flips_off_moves_no_crop(self):
        geometry = Geometry("crop", size("4x2"))
        flipped = [plan(geometry, 40, 60, True, np.random.default_rng(seed)) for seed in range(20)]
        straight = [plan(geometry, 40, 60, False, np.random.default_rng(seed)) for seed in range(20)]
        assert [drawn.crop for drawn in flipped] == [drawn.crop for drawn in straight]
        assert not any(drawn.flip for drawn in straight)

    def test_of_a_stage(self):
        stage = Stage(size="4x2", load="8x6", geometry="resize_and_crop")  # type: ignore[arg-type]
        assert Geometry.of(stage) == Geometry("resize_and_crop", size("4x2"), size("8x6"))


class TestAlignment:
    @pytest.mark.parametrize("flip", [False, True])
    @pytest.mark.parametrize("crop", [None, (3, 5, 20, 31)])
    def test_crops_and_flips_are_the_same_for_map_and_picture(self, flip, crop):
        label, picture = coordinates(40, 60)
        drawn = Plan(None, crop, flip)
        ids, colours = drawn.map(label), drawn.picture(picture)
        np.testing.assert_array_equal(ids // 60, colours[..., 0])
        np.testing.assert_array_equal(ids % 60, colours[..., 1])
        assert ids.shape == ((20, 31) if crop else (40, 60)) and ids.dtype == np.int32
        assert ids[0, 0] % 60 == (crop[1] if crop else 0) + ((ids.shape[1] - 1) if flip else 0)
        assert ids.flags.c_contiguous and colours.flags.c_contiguous

    @pytest.mark.parametrize("target", [(20, 30), (13, 47), (80, 120), (41, 61)])
    @pytest.mark.parametrize("flip", [False, True])
    def test_scaled_maps_and_pictures_are_aligned(self, target, flip):
        label, picture = coordinates(40, 60)
        drawn = Plan(target, None, flip)
        ids, colours = drawn.map(label), drawn.picture(picture * 4)
        # A smooth ramp is scaled to a smooth ramp; nearest is off by half an old pixel at most.
        inner = (slice(4, -4), slice(4, -4))
        assert np.abs(colours[..., 0][inner] / 4 - (ids // 60)[inner]).max() <= 0.76
        assert np.abs(colours[..., 1][inner] / 4 - (ids % 60)[inner]).max() <= 0.76

    def test_crop_after_scaling_is_the_crop_of_the_scaled(self):
        label, picture = coordinates(40, 60)
        whole, part = Plan((25, 33)), Plan((25, 33), (3, 4, 10, 11), True)
        np.testing.assert_array_equal(part.map(label), whole.map(label)[3:13, 4:15][:, ::-1])
        np.testing.assert_array_equal(part.picture(picture), whole.picture(picture)[3:13, 4:15][:, ::-1])


def changed_ids():
    """Return the share of pixels whose id, of 16 bits, is another when a map is made larger by whole factors."""
    ids = np.random.default_rng(0).permutation(65536).astype(np.int32).reshape(256, 256)
    scaled = Plan(resize=(512, 768)).map(ids)
    return float((scaled != ids.repeat(2, 0).repeat(3, 1)).mean())


class TestMap:
    def test_takes_the_id_at_the_centre_of_the_new_pixel(self):
        row = np.array([[0, 1, 2, 3, 4, 5]])
        np.testing.assert_array_equal(Plan(resize=(1, 3)).map(row), [[1, 3, 5]])
        np.testing.assert_array_equal(Plan(resize=(1, 2)).map(row), [[1, 4]])
        np.testing.assert_array_equal(Plan(resize=(1, 12)).map(row), np.repeat(row, 2, axis=1))
        np.testing.assert_array_equal(Plan(resize=(1, 4)).map(row), [[0, 2, 3, 5]])

    @pytest.mark.parametrize("dtype", [np.uint8, np.int32])
    def test_invents_no_id(self, dtype):
        top = np.iinfo(dtype).max
        ids = np.random.default_rng(0).choice(np.array([0, 7, top - 1, top], dtype), (37, 53))
        for target in ((11, 17), (74, 106), (36, 54)):
            scaled = Plan(resize=target).map(ids)
            assert scaled.dtype == dtype and scaled.shape == target
            assert set(np.unique(scaled)) <= {0, 7, top - 1, top}

    @pytest.mark.bar("B4.3", "every id of a label map is read as it was written")
    def test_every_id_survives_nearest_scaling(self):
        assert changed_ids() == 0

    @pytest.mark.bar("B4.3", "every id of a label map is read as it was written")
    @pytest.mark.parametrize(
        ("mixes", "instead"),
        [
            ("between neighbours", mixing_neighbours),
            ("in 8 bits", in_8_bits),
        ],
    )
    def test_mutant_that_mixes_ids_is_seen(self, mixes, instead, monkeypatch, figure):
        monkeypatch.setattr(Plan, "map", instead)
        share = changed_ids()
        assert share > 0
        figure(f"mutant, scaled {mixes}: {share:.0%} of ids changed")

    def test_label_and_instance_are_sampled_alike(self):
        instance, _ = coordinates(37, 53)
        label = (instance % 251).astype(np.uint8)
        drawn = Plan((20, 31), (2, 3, 11, 12), True)
        np.testing.assert_array_equal(drawn.map(instance) % 251, drawn.map(label))


class TestPicture:
    @pytest.mark.parametrize("target", [(16, 20), (23, 37), (60, 75), (96, 160)])
    def test_is_within_a_level_of_pillow(self, target):
        noise = np.random.default_rng(0).integers(0, 256, (48, 80, 3), dtype=np.uint8)
        expected = np.asarray(Image.fromarray(noise).resize(target[::-1], Image.Resampling.BICUBIC))
        found = Plan(resize=target).picture(noise)
        difference = np.abs(found.astype(int) - expected)
        assert difference.max() <= 2 and (difference > 0).mean() < 0.01

    @pytest.mark.parametrize("channels", [1, 3, 4, 7, 40])
    @pytest.mark.parametrize("target", [(12, 25), (61, 90)])
    def test_any_type_and_number_of_channels(self, channels, target):
        random = np.random.default_rng(0)
        for picture, low, high in (
            (random.integers(0, 256, (48, 80, channels)).astype(np.uint8), 0, 255),
            (random.integers(0, 65536, (48, 80, channels)).astype(np.int32), 0, 65535),
            (random.uniform(-1, 1, (48, 80, channels)).astype(np.float32), -1, 1),
        ):
            found = Plan(target, flip=True).picture(picture)
            assert found.shape == (*target, channels) and found.dtype == picture.dtype
            assert found.min() >= low and found.max() <= high
            if picture.dtype == np.uint8:
                continue
            for channel in (0, channels - 1):
                plane = Image.fromarray(picture[..., channel].astype(np.float32))
                expected = np.asarray(plane.resize(target[::-1], Image.Resampling.BICUBIC))[:, ::-1]
                tolerance = 1 if high > 1 else 1e-4
                assert np.abs(found[..., channel] - np.clip(expected, low, high)).max() <= tolerance

    def test_is_antialiased(self):
        stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))[..., None]
        assert np.ptp(Plan(resize=(16, 16)).picture(stripes)[2:-2, 2:-2].astype(int)) <= 2

    @pytest.mark.parametrize("channels", [1, 3, 5])
    def test_flips_exactly(self, channels):
        picture = np.random.default_rng(0).integers(0, 65536, (4, 5, channels)).astype(np.int32)
        np.testing.assert_array_equal(Plan(flip=True).picture(picture), picture[:, ::-1])
