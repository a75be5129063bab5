"""Mixed precision: types, layouts, loss scaling, and the choice by device."""

import copy

import pytest
import torch
from torch import nn

from hdtrans.common.errors import UserError
from hdtrans.config.training import Adam
from hdtrans.engine import precision as precision_module
from hdtrans.engine.optim import load_adam, make_adam, step_adam
from hdtrans.engine.precision import Precision, Scaler, choose_precision, set_up_backend

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("name", "weights", "compute"),
    [
        ("fp64", torch.float64, torch.float64),
        ("fp32", torch.float32, torch.float32),
        ("bf16", torch.float32, torch.bfloat16),
        ("fp16", torch.float32, torch.float16),
    ],
)
def test_types(name: str, weights: torch.dtype, compute: torch.dtype) -> None:
    precision = choose_precision(name, CPU)
    assert (precision.weights, precision.compute) == (weights, compute)
    network, fixed = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
    precision.prepare(network, CPU)
    precision.prepare(fixed, CPU, fixed=True)
    assert (network.weight.dtype, fixed.weight.dtype) == (weights, compute)
    with precision.autocast():
        assert network(torch.zeros(1, 3, 5, 5, dtype=compute)).dtype == compute
        with precision.full():
            assert network(torch.zeros(1, 3, 5, 5, dtype=weights)).dtype == weights
        assert network(torch.zeros(1, 3, 5, 5, dtype=compute)).dtype == compute
    assert (precision.scaler() is not None) == (name == "fp16")


def test_auto_is_bf16_on_devices_that_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for there in (True, False):
        monkeypatch.setattr(precision_module, "computes_bf16", lambda device, there=there: there)
        assert choose_precision("auto", CPU).name == ("bf16" if there else "fp32")


@pytest.mark.parametrize(
    ("known", "wanted"),
    [({"avx512_bf16": True}, True), ({"amx_bf16": True}, True), ({"avx512_f": True, "avx512_bf16": False}, False)],
)
def test_bf16_of_a_cpu(monkeypatch: pytest.MonkeyPatch, known: dict[str, bool], wanted: bool) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    assert precision_module.computes_bf16(CPU) is wanted


def test_a_type_without_cpu_instructions_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_fp16": True}, raising=False)
    assert "bf16: this CPU has no instructions for it" in Precision("bf16", "cpu").remark
    others = [Precision("bf16", "cuda"), *(Precision(name, "cpu") for name in ("fp16", "fp32", "fp64"))]
    assert not any(other.remark for other in others)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_half_precision_is_laid_out_channels_last(device: str) -> None:
    for name, wanted in (("bf16", True), ("fp16", True), ("fp32", False), ("fp64", False)):
        precision = Precision(name, device)
        assert precision.channels_last is wanted
        network = nn.Conv2d(3, 4, 3)
        precision.prepare(network, CPU)
        assert network.weight.is_contiguous(memory_format=torch.channels_last) is wanted
        assert network.weight.is_contiguous() is not wanted


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_moments_of_any_layout_continue_unchanged(layout: torch.memory_format) -> None:
    """A checkpoint may hold moments in another memory layout than the weights."""

    def steps(module: nn.Module, optimizer: torch.optim.Adam) -> None:
        for _ in range(2):
            optimizer.zero_grad()
            module(torch.arange(2.0 * 3 * 6 * 6).view(2, 3, 6, 6) / 100).square().mean().backward()
            step_adam(optimizer, None, torch.zeros(()))

    torch.manual_seed(1)
    plain = nn.Conv2d(3, 4, 3)
    first = make_adam(plain.parameters(), Adam(), 0.1)
    steps(plain, first)
    going_on = copy.deepcopy(plain).to(memory_format=layout)  # type: ignore[call-overload]
    second = make_adam(going_on.parameters(), Adam(), 0.1)
    load_adam(second, copy.deepcopy(first.state_dict()))
    steps(plain, first)
    steps(going_on, second)
    assert torch.allclose(going_on.weight, plain.weight, atol=1e-6)
    moments = second.state[going_on.weight]
    assert moments["exp_avg"].stride() == going_on.weight.stride()


def test_the_scale_of_losses_halves_and_grows_as_torch_does_it() -> None:
    ours, theirs = Scaler(CPU), torch.amp.GradScaler("cpu", growth_interval=3)
    ours.growth_interval = 3
    parameter = nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.SGD([parameter], lr=0.0)
    for overflow in (True, False, False, False, False, True, True, False, False, False, False):
        theirs.scale(parameter).backward()
        parameter.grad = torch.tensor(float("inf") if overflow else 1.0)
        theirs.step(optimizer)
        theirs.update()
        ours.update(torch.tensor(overflow), frozen=torch.tensor(False))
        before = ours.state_dict()
        ours.update(torch.tensor(overflow), frozen=torch.tensor(True))
        assert ours.state_dict() == before
        assert before["scale"] == theirs.get_scale()
    again = Scaler(CPU)
    again.load_state_dict(theirs.state_dict())
    assert again.state_dict() == ours.state_dict()


def test_auto_on_a_cpu_without_bf16_is_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True}, raising=False)
    assert choose_precision("auto", CPU) == Precision("fp32", "cpu")


@pytest.mark.parametrize(("capability", "auto"), [((7, 5), "fp32"), ((8, 0), "bf16"), ((9, 0), "bf16")])
def test_auto_on_a_gpu(capability: tuple[int, int], auto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
    assert choose_precision("auto", CUDA) == Precision(auto, "cuda")
    if auto == "bf16":
        assert choose_precision("bf16", CUDA).name == "bf16"
    else:
        with pytest.raises(UserError, match="use fp16 or fp32"):
            choose_precision("bf16", CUDA)
    assert choose_precision("fp16", CUDA).name == "fp16"


def test_the_backend_is_deterministic_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    before = torch.backends.cudnn.benchmark
    try:
        for deterministic, equal_sizes in ((True, True), (True, False), (False, True), (False, False)):
            set_up_backend(deterministic, equal_sizes)
            assert torch.are_deterministic_algorithms_enabled() == deterministic
            assert torch.backends.cudnn.benchmark == (equal_sizes and not deterministic)
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.benchmark = before
