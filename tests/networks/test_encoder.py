"""The encoder takes any size, and pooling gives every pixel the mean of its instance."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from hdtrans.networks.encoder import Encoder, pool
from hdtrans.networks.initialise import initialise


def by_masks(features: Tensor, ids: Tensor) -> Tensor:
    """Pool as the paper says it: for each picture and each of its ids, the mean over a mask."""
    pooled = torch.zeros_like(features)
    for picture, its_ids in enumerate(ids):
        for number in its_ids.unique():
            mask = its_ids == number
            pooled[picture][:, mask] = features[picture][:, mask].mean(1, keepdim=True)
    return pooled


def test_by_hand() -> None:
    ids = torch.tensor([[[5, 5, 0], [2**31 - 1, 0, 0]], [[5, 5, 5], [0, 5, 5]]], dtype=torch.int32)
    features = torch.tensor(
        [
            [[[1.0, 3.0, 6.0], [9.0, 0.0, 0.0]], [[0.0, 1.0, 0.0], [0.25, 0.0, 3.0]]],
            [[[1.0, 2.0, 3.0], [7.0, 4.0, 5.0]], [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]],
        ]
    )
    wanted = torch.tensor(
        [
            [[[2.0, 2.0, 2.0], [9.0, 2.0, 2.0]], [[0.5, 0.5, 1.0], [0.25, 1.0, 1.0]]],
            [[[3.0, 3.0, 3.0], [7.0, 3.0, 3.0]], [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]],
        ]
    )
    assert torch.equal(pool(features, ids), wanted), "each picture for itself, though both have ids 0 and 5"
    assert torch.equal(pool(features, ids.long()), wanted)


@pytest.mark.parametrize("kind", [torch.uint8, torch.int32, torch.int64])
@pytest.mark.parametrize("count", [1, 7, 200])
def test_it_is_a_loop_over_masks(kind: torch.dtype, count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    highest = 255 if kind == torch.uint8 else 2**31 - 1
    names = torch.randint(0, highest + 1, (count,), generator=generator)
    ids = names[torch.randint(0, count, (3, 19, 23), generator=generator)].to(kind)
    features = torch.randn(3, 4, 19, 23, dtype=torch.float64, generator=generator)
    torch.testing.assert_close(pool(features, ids), by_masks(features, ids), rtol=0, atol=1e-13)


def test_gradients() -> None:
    ids = torch.tensor([[[1, 1, 2**31 - 1], [1, 0, 0]], [[3, 3, 3], [3, 3, 9]]])
    features = torch.randn(2, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: pool(x, ids), features)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sums_of_half_precision_do_not_saturate(dtype: torch.dtype) -> None:
    """70,000 values are more than fp16 counts to, and in bf16 a sum stops growing at 256."""
    pooled = pool(torch.ones(1, 1, 250, 280, dtype=dtype), torch.zeros(1, 250, 280, dtype=torch.int32))
    assert pooled.dtype == dtype and (pooled == 1).all()


class Shapes(TorchDispatchMode):
    """Notes which operations run, and the shapes that come out."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, tuple[int, ...]]] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        made = function(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else (made,):
            self.seen.append((str(function), tuple(getattr(tensor, "shape", ()))))
        return made


def test_operations_and_shapes_do_not_depend_on_the_ids() -> None:
    """So nothing is looped over, and nothing waits for the device to tell how many there are."""
    notes = []
    for count in (1, 300):
        with Shapes() as shapes:
            pool(torch.ones(2, 3, 20, 30), torch.arange(1200).view(2, 20, 30) % count)
        notes.append(shapes.seen)
    assert notes[0] == notes[1] and len(notes[0]) < 50
    assert not any("unique" in name or "nonzero" in name or "item" in name for name, _ in notes[0])


@pytest.mark.parametrize("size", [(32, 48), (33, 17), (1, 1), (5, 70)])
def test_any_size(size: tuple[int, int]) -> None:
    encoder = Encoder(3, 2, width=2, downsamples=3)
    features = encoder(torch.rand(2, 3, *size) * 2 - 1)
    assert features.shape == (2, 2, *size) and features.abs().max() <= 1


def test_the_border_is_repeated() -> None:
    """A photo is encoded as one whose last row and column go on to the stride."""
    encoder = Encoder(3, 2, width=2, downsamples=2)
    initialise(encoder, "encoder", 0)
    photo = torch.rand(1, 3, 13, 22) * 2 - 1
    longer = nn.functional.pad(photo, (0, 2, 0, 3), mode="replicate")
    assert torch.equal(encoder(photo), encoder(longer)[..., :13, :22])


def test_recomputing_changes_no_gradient() -> None:
    gradients = []
    for recompute in (False, True):
        encoder = Encoder(3, 2, width=2, downsamples=2, recompute=recompute)
        initialise(encoder, "encoder", 0)
        photo = torch.linspace(-1, 1, 3 * 16 * 16).view(1, 3, 16, 16)
        pool(encoder(photo), torch.arange(256).view(1, 16, 16) % 5).square().sum().backward()
        gradients.append([p.grad for p in encoder.parameters()])
    for one, other in zip(*gradients, strict=True):
        assert one is not None and torch.equal(one, other)  # type: ignore[arg-type]
