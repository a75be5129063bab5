"""The fused norm and padding: on the CPU in Triton's interpreter, on a GPU where there is one, and where neither is."""

import importlib.util
import os
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import hdtrans.networks.kernels
from hdtrans.networks.kernels import fused
from hdtrans.networks.kernels.fused import suits
from hdtrans.networks.kernels.fused_norm import fused_instance_norm

ROOT = Path(__file__).resolve().parents[3]
needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")


@pytest.mark.unhurried
@needs_triton
@pytest.mark.parametrize(
    ("place", "which"),
    [
        ("interpreter", "not slow"),
        pytest.param("interpreter", "slow", marks=pytest.mark.slow),
        ("gpu", "slow or not slow"),
    ],
)
def test_kernels(place: str, which: str, tmp_path: Path) -> None:
    """Triton reads TRITON_INTERPRET when it is imported, hence a process of its own."""
    if place == "gpu" and not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path), "TRITON_INTERPRET": str(int(place != "gpu"))}
    environment.pop("PYTEST_ADDOPTS", None)
    checks = [str(Path(__file__).with_name(f"fused_{what}_checks.py")) for what in ("norm", "pad")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", which, *checks]
    done = subprocess.run(command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


KERNELS: dict[str, dict[str, Any]] = {
    "_gather": {},
    "_settle": {"EPSILON": 1e-5, "ROWS": 1024, "COLUMNS": 4},
    "_apply": {"SLOPE": 1.0, "ADDS": True},
    "_gather_gradients": {"SLOPE": 0.2},
    "_add_up": {"ROWS": 1024, "COLUMNS": 4},
    "_apply_gradients": {"SLOPE": 0.0},
    "_pad": {"SIZE": 3},
    "_fold": {"SIZE": 1},
}
HALF = ("x", "y", "residual", "gradient", "result")


@needs_triton
@pytest.mark.parametrize("kernel", list(KERNELS))
def test_kernels_compile_for_hopper(kernel: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In bfloat16, to loads of 16 bytes; that takes no GPU."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from hdtrans.networks.kernels import fused_norm_kernels, fused_pad_kernels

    kernels = fused_norm_kernels if hasattr(fused_norm_kernels, kernel) else fused_pad_kernels
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    function = getattr(kernels, kernel)
    constants = {"ROWS": 32, "COLUMNS": 64, **KERNELS[kernel]}
    signature, hints = {}, {}
    for place, name in enumerate(function.arg_names):
        size = name in kernels._SIZES or name == "channels"
        signature[name] = "i32" if size else "*bf16" if name in HALF else "*fp32"
        if name in constants:
            signature[name] = "constexpr"
        elif name not in kernels._SIZES:
            hints[(place,)] = [["tt.divisibility", 16]]
    given = {(function.arg_names.index(name),): value for name, value in constants.items()}
    source = ASTSource(fn=function, signature=signature, constexprs=given, attrs=hints)
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=kernels._OPTIONS)
    assert made.asm["cubin"]
    assert "ld.global.v4.b32" in made.asm["ptx"]
    assert "atom" not in made.asm["ptx"]


@pytest.mark.unhurried
def test_without_a_gpu_triton_is_not_even_imported() -> None:
    script = (
        "import sys, torch\n"
        "from hdtrans.networks.norm import Norm\n"
        "Norm(2, 'instance', 'relu')(torch.rand(1, 2, 20, 20))\n"
        "assert not [name for name in sys.modules if name.split('.')[0] == 'triton']\n"
    )
    environment = {**os.environ, "TRITON_INTERPRET": "0"}
    subprocess.run([sys.executable, "-W", "error", "-c", script], cwd=ROOT, env=environment, check=True)


@pytest.mark.parametrize("there", [False, True])
def test_where_triton_is_missing_or_fails_torch_computes(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    """A kernel that fails is reported once, a missing one is not."""

    def fail(*_: object) -> None:
        raise RuntimeError("Failed to find C compiler\nand more")

    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if there else None)
    kernels = SimpleNamespace(normalise=fail)
    monkeypatch.setattr(hdtrans.networks.kernels, "fused_norm_kernels", kernels, raising=False)
    monkeypatch.setattr(fused, "_works", {})
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert not any(suits(torch.rand(1, 2, 16, 16).half()) for _ in range(3))
    assert [str(w.message).split(": ")[-1] for w in told] == ["Failed to find C compiler"] * there


def test_where_triton_computes_something_else_torch_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = SimpleNamespace(normalise=lambda x, *_: (x, None, None))
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(hdtrans.networks.kernels, "fused_norm_kernels", kernels, raising=False)
    monkeypatch.setattr(fused, "_works", {})
    with pytest.warns(UserWarning, match="its norm is not torch's"):
        assert not suits(torch.rand(1, 2, 16, 16).half())


def test_what_cannot_be_normalised_is_refused() -> None:
    x = torch.rand(1, 2, 4, 4)
    for given, words in [
        ((x[0],), r"\(B, C, H, W\) of floating point numbers, not \(2, 4, 4\)"),
        ((x.int(),), "torch.int32"),
        ((x[:, :, :1, :1],), "more than one pixel"),
        ((x, "tanh"), "activation 'tanh': there is no such"),
        ((x, "none", x[:, :1]), r"residual has shape \(1, 1, 4, 4\)"),
    ]:
        with pytest.raises(ValueError, match=words):
            fused_instance_norm(*given)  # type: ignore[arg-type]
