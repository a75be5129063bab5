"""Norms that the context modulates: against the originals' layers, by hand, and in tiles."""

from fractions import Fraction
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdtrans.inference import tiles
from hdtrans.inference.memory import Memory
from hdtrans.networks.blocks import ConvBlock, ResidualBlock, same
from hdtrans.networks.context import ForwardContext, Pyramid
from hdtrans.networks.initialise import initialise
from hdtrans.networks.kernels.prepacked import prepack
from hdtrans.networks.modulation import ClassModulation, Modulation, SpadeModulation, StyleModulation
from hdtrans.networks.norm import Norm, NormKind
from hdtrans.networks.padding import Pad
from hdtrans.networks.parts import Features, added, kept, locally
from hdtrans.networks.spectral_norm import SpectralConv2d
from tests.golden_files import Golden


def spade_state(layer: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the state of a `Norm` with `SpadeModulation` from the original's keys."""
    shared = {f"modulation.shared.{k}": layer[f"mlp_shared.0.{k}"] for k in ("weight", "bias")}
    both = {f"modulation.affine.{k}": torch.cat([layer[f"mlp_{x}.{k}"] for x in ("gamma", "beta")]) for k in layer_keys}
    return {**shared, **both, **running(layer)}


layer_keys = ("weight", "bias")


def running(layer: dict[str, Tensor]) -> dict[str, Tensor]:
    prefix = "param_free_norm."
    return {k.replace(prefix, "batch."): v for k, v in layer.items() if k.startswith(prefix)}


@pytest.mark.parametrize("name", ["batch_8", "batch_128", "instance_8", "instance_128"])
@torch.no_grad()
def test_spade_is_the_original_s(name: str) -> None:
    golden = Golden("spade", f"layer_{name}.npz")
    c = golden.config
    norm = Norm(c["channels"], c["norm"], "none", SpadeModulation(c["channels"], c["condition"], c["hidden"]))
    norm.load_state_dict(spade_state(golden.under("state/layer")))
    context = ForwardContext(condition=Pyramid(golden["input/condition"]))
    found = norm.eval()(golden["input/x"], context)
    assert float((found - golden["output/y"]).abs().max()) < 1e-5


class SpadeBlock(nn.Module):
    """The residual block of SPADE, put together from our pieces: each norm comes before its convolution."""

    def __init__(self, channels: int, out_channels: int, condition: int, kind: NormKind, spectral: bool = True) -> None:
        super().__init__()
        middle = min(channels, out_channels)

        def norm(width: int, activation: Any) -> Norm:
            return Norm(width, kind, activation, SpadeModulation(width, condition, 8))

        def convolution(*given: int, kernel: int, bias: bool = True) -> nn.Conv2d:
            make: Any = SpectralConv2d if spectral else nn.Conv2d
            made: nn.Conv2d = make(*given, kernel, padding=kernel // 2, bias=bias)
            return made

        self.norm_0, self.conv_0 = norm(channels, "leaky_relu"), convolution(channels, middle, kernel=3)
        self.norm_1, self.conv_1 = norm(middle, "leaky_relu"), convolution(middle, out_channels, kernel=3)
        self.shortcut = channels != out_channels
        if self.shortcut:
            self.norm_s = norm(channels, "none")
            self.conv_s = convolution(channels, out_channels, kernel=1, bias=False)

    def forward(self, x: Features, context: ForwardContext) -> Features:
        gather = self.norm_1.looks_at_all(context)
        y = kept(self.conv_0, self.norm_0(x, context), halo=1, gather=gather)
        y = kept(self.conv_1, self.norm_1(y, context), halo=1)
        beside = kept(self.conv_s, self.norm_s(x, context)) if self.shortcut else x
        return added(beside, y, gather)


@pytest.mark.parametrize("name", ["block_6_6", "block_8_4"])
@torch.no_grad()
def test_a_block_of_spade_is_the_original_s(name: str) -> None:
    golden = Golden("spade", f"{name}.npz")
    c, theirs = golden.config, golden.under("state/block")
    block = SpadeBlock(c["channels"], c["out_channels"], c["semantic_nc"], "batch")
    state: dict[str, Tensor] = {}
    for part in ("norm_0", "norm_1", "norm_s"):
        layer = {k.removeprefix(f"{part}."): v for k, v in theirs.items() if k.startswith(f"{part}.")}
        state |= {f"{part}.{k}": v for k, v in (spade_state(layer) if layer else {}).items()}
    for key, value in theirs.items():
        if key.startswith("conv_"):
            state[key.replace("weight_orig", "weight").replace("weight_u", "u").replace("weight_v", "v")] = value
    block.load_state_dict(state)
    found = block.eval()(golden["input/x"], ForwardContext(condition=Pyramid(golden["input/condition"])))
    assert float((found - golden["output/y"]).abs().max()) < 1e-5


@torch.no_grad()
def test_clade_is_the_original_s() -> None:
    golden = Golden("clade", "layer.npz")
    c, layer = golden.config, golden.under("state/layer")
    norm = Norm(c["channels"], c["norm"], "none", ClassModulation(c["channels"], c["labels"]))
    tables = {f"modulation.{k}": layer[f"class_specified_affine.{k}"] for k in layer_keys}
    norm.load_state_dict({**tables, **running(layer)})
    found = norm.eval()(golden["input/x"], ForwardContext(condition=Pyramid(golden["input/condition"])))
    assert float((found - golden["output/y"]).abs().max()) < 1e-5


def test_layer_norm_and_adaptive_norm_are_munit_s() -> None:
    golden = Golden("munit", "norms.npz")
    x = golden["input/x"]
    layer = Norm(3, "layer_deviation", "none")
    layer.load_state_dict({"scale": golden["gamma"], "shift": golden["beta"]})
    assert torch.allclose(layer(x), golden["output/layer_norm"], atol=1e-5)
    assert torch.allclose(layer(x[:1]), golden["output/layer_norm_first"], atol=1e-5)
    weight, bias = (golden[k].view(2, 3) for k in ("weight", "bias"))
    other = torch.full((2, 4), 9.0)
    style = torch.cat([other, bias, weight], 1)
    adaptive = Norm(3, "instance", "none", StyleModulation(3, start=4, shift_first=True))
    assert torch.allclose(adaptive(x, ForwardContext(style=style)), golden["output/adaptive"], atol=1e-5)


def test_layer_instance_norms_are_u_gat_it_s() -> None:
    golden = Golden("ugatit", "norms.npz")
    x, gamma, beta = golden["input/x"], golden["input/gamma"], golden["input/beta"]
    adaptive = Norm(6, "layer_instance", "none", StyleModulation(6))
    assert adaptive.rho is not None and adaptive.rho.unique().tolist() == [pytest.approx(0.9)]
    adaptive.load_state_dict({"rho": golden["state/ada/rho"].flatten()})
    context = ForwardContext(style=torch.cat([gamma, beta], 1))
    assert torch.allclose(adaptive(x, context), golden["output/ada"], atol=1e-5)
    plain = Norm(6, "layer_instance", "none")
    assert plain.rho is not None and plain.rho.unique().tolist() == [0.0]
    own = {"rho": "rho", "scale": "gamma", "shift": "beta"}
    plain.load_state_dict({k: golden[f"state/iln/{v}"].flatten() for k, v in own.items()})
    assert torch.allclose(plain(x), golden["output/iln"], atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_layer_norm_by_hand(dtype: torch.dtype) -> None:
    x = (torch.randn(2, 3, 5, 7, dtype=torch.float64) * 3 + 2).to(dtype)
    norm = Norm(3, "layer", "relu").to(dtype)
    with torch.no_grad():
        for weight in norm.parameters():
            weight.copy_(torch.tensor([0.5, -1, 2]))
    wanted = F.layer_norm(x.double(), x.shape[1:], eps=1e-5)
    wanted = F.relu(wanted * norm.scale.double().view(-1, 1, 1) + norm.shift.double().view(-1, 1, 1))  # type: ignore[union-attr]
    found = norm(x)
    assert found.dtype == dtype
    assert torch.allclose(found.double(), wanted, atol={torch.float64: 1e-12, torch.float32: 1e-5}.get(dtype, 0.05))


def test_an_image_of_one_colour_has_a_finite_gradient() -> None:
    x = torch.full((1, 3, 8, 8), 0.3, requires_grad=True)
    y = Norm(3, "layer_deviation", "none")(x)
    y.sum().backward()
    assert x.grad is not None and bool(x.grad.isfinite().all()) and bool(y.isfinite().all())


def test_a_linear_layer_turns_a_style_into_scale_and_shift() -> None:
    norm = Norm(4, "instance", "none", StyleModulation(4, size=5)).double()
    x, style = torch.randn(2, 4, 6, 6, dtype=torch.float64), torch.randn(2, 5, dtype=torch.float64)
    assert isinstance(norm.modulation, StyleModulation) and norm.modulation.affine is not None
    scale, shift = norm.modulation.affine(style)[:, :, None, None].chunk(2, 1)
    wanted = F.instance_norm(x) * (1 + scale) + shift
    assert torch.allclose(norm(x, ForwardContext(style=style)), wanted, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_style_of_any_type_modulates_prepacked_networks(dtype: torch.dtype) -> None:
    """For bfloat16 convolutions get that type, while linear layers and styles stay float32."""
    block = same(3, 4, 3, Norm(4, "instance", "relu", StyleModulation(4, size=5)), "relu").eval()
    x, style = torch.randn(1, 3, 8, 8), torch.randn(1, 5)
    with torch.inference_mode():
        wanted = block(x, ForwardContext(style=style))
        prepack(block, torch.bfloat16)
        found = block(x.bfloat16(), ForwardContext(style=style.to(dtype)))
    assert (found.float() - wanted).abs().max() < 0.1


def test_norms_that_are_not_modulated_keep_their_bits() -> None:
    x, everything = (
        torch.randn(2, 4, 16, 16),
        ForwardContext(style=torch.ones(2, 8), condition=Pyramid(torch.ones(2, 3, 16, 16))),
    )
    for kind in ("instance", "batch", "none"):
        norm = Norm(4, kind, "leaky_relu").eval()  # type: ignore[arg-type]
        assert torch.equal(norm(x.clone()), norm(x.clone(), everything))
        assert set(norm.state_dict()) == {k for k in norm.state_dict() if k.startswith("batch.")}


def test_callers_of_norms_take_modulated_ones() -> None:
    """A residual block of AdaIN and a block of SPADE, without a word of either in `blocks`."""
    norms = tuple(Norm(4, "instance", a, StyleModulation(4, start=8 * n)) for n, a in enumerate(("relu", "none")))
    block, x = ResidualBlock(4, norms), torch.randn(2, 4, 8, 8)  # type: ignore[arg-type]
    style = torch.randn(2, 16)
    first = F.instance_norm(block.first._convolve(x))
    first = F.relu(first * style[:, :4, None, None] + style[:, 4:8, None, None])
    second = F.instance_norm(block.second._convolve(first))
    wanted = x + second * style[:, 8:12, None, None] + style[:, 12:, None, None]
    assert torch.allclose(block(x, ForwardContext(style=style)), wanted, atol=1e-5)
    condition = torch.randn(2, 3, 16, 16)
    spade = same(4, 6, 3, Norm(6, "instance", "relu", SpadeModulation(6, 3, 8)), "relu")
    assert spade(x, ForwardContext(condition=Pyramid(condition))).shape == (2, 6, 8, 8)


def test_the_condition_at_each_size_is_every_so_many_pixels() -> None:
    finest = torch.arange(2 * 12 * 8.0).view(1, 2, 12, 8)
    pyramid = Pyramid(finest)
    assert pyramid.at(12, 8) is finest
    assert torch.equal(pyramid.at(3, 2), finest[..., ::4, ::4])
    assert pyramid.at(3, 2) is pyramid.at(3, 2)
    assert torch.equal(pyramid.at(3, 2), F.interpolate(finest, (3, 2), mode="nearest"))
    assert torch.equal(pyramid.at(5, 8), F.interpolate(finest, (5, 8), mode="nearest"))
    assert torch.equal(pyramid.at(24, 16), F.interpolate(finest, (24, 16), mode="nearest"))
    assert Pyramid(finest, lambda ratio: ratio).at(6, 4) == 2
    parts = tiles.whole(Memory(2**40, torch.device("cpu"), 1), finest)
    with pytest.raises(ValueError, match="in tiles is no multiple"):
        Pyramid(parts).at(5, 8)


class Tiny(nn.Module):
    """Two blocks with a doubling between: norms before convolutions, one x normalised twice, at two sizes."""

    def __init__(self, kind: NormKind, make: Any) -> None:
        super().__init__()
        self.start = ConvBlock(Pad(1, "reflect"), nn.Conv2d(3, 6, 3), Norm(6, "none", "none"), 1, Fraction(1))
        self.norms = nn.ModuleList(Norm(c, kind, a, make(c)) for c, a in ((6, "relu"), (6, "none"), (4, "leaky_relu")))
        self.forth, self.beside = nn.Conv2d(6, 4, 3, padding=1), nn.Conv2d(6, 4, 1)
        self.last = nn.Conv2d(4, 2, 3, padding=1)

    def forward(self, x: Features, context: ForwardContext) -> Features:
        first, beside, last = self.norms
        x = self.start(x, context)
        x = added(kept(self.forth, first(x, context), halo=1), kept(self.beside, beside(x, context)), gather=True)
        x = locally(double, x, scale=Fraction(2))
        return kept(self.last, last(x, context), halo=1)


def double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


MODULATIONS: dict[str, Any] = {
    "none": lambda channels: None,
    "style": lambda channels: StyleModulation(channels, size=5),
    "spade": lambda channels: SpadeModulation(channels, 7, 8),
    "spade, 5x5": lambda channels: SpadeModulation(channels, 7, 8, kernel=5),
    "classes": lambda channels: ClassModulation(channels, 7),
}


@pytest.mark.parametrize("kind", ["instance", "batch", "layer", "layer_deviation", "layer_instance"])
@pytest.mark.parametrize("modulation", MODULATIONS)
@torch.no_grad()
def test_tiles_of_modulated_norms_are_exact(modulation: str, kind: NormKind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "SIDE", 8)
    network = Tiny(kind, MODULATIONS[modulation])
    initialise(network, "tiny", 0, weights="kaiming")
    network.double().eval()
    x, condition = torch.randn(1, 3, 24, 40, dtype=torch.float64), torch.randn(1, 7, 48, 80, dtype=torch.float64)
    style = torch.randn(1, 5, dtype=torch.float64)
    whole = network(x, ForwardContext(condition=Pyramid(condition), style=style))
    for tile in (1, 20_000):
        memory = Memory(2**40, torch.device("cpu"), tile)
        pyramid = Pyramid(tiles.whole(memory, condition))
        parts = network(tiles.whole(memory, x), ForwardContext(condition=pyramid, style=style))
        for window in parts.windows(100):
            rows, columns = (slice(*span) for span in window)
            assert torch.allclose(parts.read(window), whole[..., rows, columns], rtol=0, atol=1e-11), window


@torch.no_grad()
def test_mutant_a_modulation_without_its_halo_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "SIDE", 8)
    network = Tiny("instance", MODULATIONS["spade"]).eval()
    for module in network.modules():
        if isinstance(module, Modulation):
            module.halo = 1  # type: ignore[assignment]
    x, condition = torch.randn(1, 3, 24, 40), torch.randn(1, 7, 48, 80)
    whole = network(x, ForwardContext(condition=Pyramid(condition)))
    memory = Memory(2**40, torch.device("cpu"), 1)
    parts = network(tiles.whole(memory, x), ForwardContext(condition=Pyramid(tiles.whole(memory, condition))))
    assert float((parts.read(((8, 16), (8, 16))) - whole[..., 8:16, 8:16]).abs().max()) > 1e-4


def test_statistics_that_nobody_gathered_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "SIDE", 8)
    x = torch.randn(1, 3, 20, 30, dtype=torch.float64)
    memory = Memory(2**40, torch.device("cpu"), 1)
    parts = tiles.whole(memory, x)
    gathered = parts.kept(lambda x: x, 0, Fraction(1), True).statistics()
    for other in (
        parts,
        parts.kept(lambda x: x, 0, Fraction(1), False),
        parts.locally(double, (parts,), 0, Fraction(2)),
    ):
        for a, b in zip(gathered, other.statistics(), strict=True):
            assert torch.allclose(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("modulation", ["style", "spade", "classes"])
def test_modulated_norms_are_exported_for_any_size(modulation: str) -> None:
    class Graph(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = Norm(4, "instance", "relu", MODULATIONS[modulation](4))

        def forward(self, x: Tensor, condition: Tensor, style: Tensor) -> Tensor:
            made: Tensor = self.norm(x, ForwardContext(condition=Pyramid(condition), style=style))
            return made

    graph = Graph().eval()

    def inputs(height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
        return torch.randn(1, 4, height, width), torch.randn(1, 7, 2 * height, 2 * width), torch.randn(1, 5)

    height, width = torch.export.Dim("h", min=2), torch.export.Dim("w", min=2)
    sizes = ({2: height, 3: width}, {2: 2 * height, 3: 2 * width}, {})
    program = torch.export.export(graph, inputs(6, 8), dynamic_shapes=sizes)
    given = inputs(10, 14)
    assert torch.allclose(program.module()(*given), graph(*given), atol=1e-4)
