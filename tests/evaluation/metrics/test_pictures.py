"""L1, PSNR, SSIM and MS-SSIM against known answers, scikit-image and torchmetrics."""

import cv2
import numpy as np
import pytest
import torch
import torchmetrics.functional.image as torchmetrics
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from hdtrans.evaluation.metrics import pictures


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    truth = cv2.GaussianBlur(random.random((240, 272, 3)), (9, 9), 2)
    return truth, np.clip(truth + 0.05 * random.standard_normal(truth.shape), 0, 1)


def test_known_answers() -> None:
    black, grey = np.zeros((4, 4, 3)), np.full((4, 4, 3), 0.1)
    assert pictures.l1(black, grey) == pytest.approx(0.1)
    assert pictures.psnr(black, grey) == pytest.approx(20)
    assert pictures.psnr(grey, grey) == np.inf


def test_equal_pictures_are_similar_at_all_scales(pair: tuple[np.ndarray, np.ndarray]) -> None:
    assert pictures.ssim(pair[0], pair[0]) == pytest.approx(1)
    assert pictures.ms_ssim(pair[0], pair[0]) == pytest.approx(1)
    assert pictures.ms_ssim(*pair) < 0.999


def test_as_scikit_image(pair: tuple[np.ndarray, np.ndarray]) -> None:
    theirs = structural_similarity(
        *pair, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1, channel_axis=2
    )
    assert pictures.ssim(*pair) == pytest.approx(theirs, abs=1e-10)
    assert pictures.psnr(*pair) == pytest.approx(peak_signal_noise_ratio(*pair, data_range=1), abs=1e-10)


def test_as_torchmetrics(pair: tuple[np.ndarray, np.ndarray]) -> None:
    truth, found = (torch.from_numpy(x).permute(2, 0, 1)[None] for x in pair)
    theirs = torchmetrics.multiscale_structural_similarity_index_measure(found, truth, data_range=1.0, normalize="relu")
    # It counts windows that reach beyond the picture, which we leave out as the paper does.
    assert pictures.ms_ssim(*pair) == pytest.approx(theirs.item(), abs=2e-3)


@pytest.mark.parametrize(
    ("picture", "value"),
    [(np.array([255], np.uint8), 1.0), (np.array([65535], np.int32), 1.0), (np.array([0.0], np.float32), 0.5)],
)
def test_unit(picture: np.ndarray, value: float) -> None:
    assert pictures.unit(picture) == [value]


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="one shape"):
        pictures.l1(np.zeros((4, 4, 3)), np.zeros((4, 5, 3)))
    with pytest.raises(ValueError, match="11 pixels or more"):
        pictures.ssim(np.zeros((10, 40, 3)), np.zeros((10, 40, 3)))
    with pytest.raises(ValueError, match="176 pixels or more"):
        pictures.ms_ssim(np.zeros((175, 400, 3)), np.zeros((175, 400, 3)))
