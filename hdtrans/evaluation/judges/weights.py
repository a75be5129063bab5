"""Published weights of feature networks: known by their SHA-256, found or fetched, never guessed and never random."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor

from hdtrans.common.errors import UserError, reading_failure, shown
from hdtrans.engine.checkpoint import digest


@dataclass(frozen=True)
class Published:
    """One published file.

    Attributes:
        what: for people.
        url: where it is published.
        sha256: of its bytes, or what that starts with where no more is published.
    """

    what: str
    url: str
    sha256: str

    @property
    def name(self) -> str:
        """The name of the file."""
        return self.url.rsplit("/", 1)[1] if "lpips" not in self.url.lower() else f"lpips_{self.url.rsplit('/', 1)[1]}"


_TORCHVISION = "https://download.pytorch.org/models"
_HEADS = "https://github.com/richzhang/PerceptualSimilarity/raw/master/lpips/weights/v0.1"

PUBLISHED: Mapping[str, Published] = {
    "inception": Published(
        "the Inception network of FID and KID",
        "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
        "6726825d",
    ),
    "alex": Published("AlexNet (for LPIPS)", f"{_TORCHVISION}/alexnet-owt-7be5be79.pth", "7be5be79"),
    "vgg": Published("VGG16 (for LPIPS)", f"{_TORCHVISION}/vgg16-397923af.pth", "397923af"),
    "squeeze": Published("SqueezeNet 1.1 (for LPIPS)", f"{_TORCHVISION}/squeezenet1_1-b8a52dc0.pth", "b8a52dc0"),
    "lpips_alex": Published(
        "the LPIPS head for AlexNet",
        f"{_HEADS}/alex.pth",
        "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
    ),
    "lpips_vgg": Published(
        "the LPIPS head for VGG16",
        f"{_HEADS}/vgg.pth",
        "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
    ),
    "lpips_squeeze": Published(
        "the LPIPS head for SqueezeNet 1.1",
        f"{_HEADS}/squeeze.pth",
        "4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76",
    ),
    "squeezenet1_0": Published("SqueezeNet 1.0", f"{_TORCHVISION}/squeezenet1_0-b66bff10.pth", "b66bff10"),
}
"""What figures need, by a short name. Only these bytes are taken, but for SqueezeNet 1.0, whose figure is our own."""


@dataclass(frozen=True)
class Weights:
    """Weights as read from a file."""

    file: Path
    sha256: str
    state: Mapping[str, Tensor]


class WeightFiles:
    """The files that weights may come from: those given, then torch's own folder of fetched ones.

    Args:
        given: files, and folders whose `.pth` files are looked at.
        download: fetch what is missing into torch's folder.

    Raises:
        UserError: a path is not there.
    """

    def __init__(self, given: Sequence[Path] = (), download: bool = False) -> None:
        for path in given:
            if not path.exists():
                raise UserError(f"--weights {shown(path)}: there is no such file or folder")
        files = [file for path in given for file in (sorted(path.glob("*.pth")) if path.is_dir() else [path])]
        self._given = {file: digest(file) for file in files}
        self._download = download

    def find(self, name: str) -> Weights:
        """Return published weights.

        Args:
            name: a key of `PUBLISHED`.

        Raises:
            UserError: they are nowhere; the message says what to fetch and where to put it. Or the file is damaged.
        """
        wanted = PUBLISHED[name]
        for file, sha256 in self._given.items():
            if sha256.startswith(wanted.sha256) or (name == "squeezenet1_0" and "squeezenet1_0" in file.name):
                return Weights(file, sha256, _read(file))
        file = fetched_folder() / wanted.name
        if not file.is_file() and self._download:
            _fetch(wanted, file)
        if not file.is_file():
            raise UserError(
                f"{wanted.what} is needed, and its weights are not here: fetch {wanted.url} and give it with --weights "
                f"FILE, or put it there as {file}, or give --download{self._unfit()}"
            )
        sha256 = digest(file)
        if not sha256.startswith(wanted.sha256):
            raise UserError(f"{file}: is not {wanted.what} as published (SHA-256 {wanted.sha256}...); remove it")
        return Weights(file, sha256, _read(file))

    def _unfit(self) -> str:
        if not self._given:
            return ""
        told = ", ".join(f"{file.name} {sha256[:8]}" for file, sha256 in list(self._given.items())[:5])
        return f". None of the files given has its SHA-256: {told}"


def fetched_folder() -> Path:
    """Return where torch keeps what it fetched."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def _fetch(wanted: Published, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(wanted.url, str(file), hash_prefix=wanted.sha256, progress=False)
    except (URLError, OSError, RuntimeError) as error:
        raise UserError(
            f"--download: {wanted.url} cannot be fetched ({error}); fetch it elsewhere and give it with --weights FILE"
        ) from None


def _read(file: Path) -> Mapping[str, Tensor]:
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds for a file that is no checkpoint
        reason = reading_failure(error)
        raise UserError(f"{shown(file)}: cannot be read as weights ({reason})") from None
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{shown(file)}: holds no state dict")
    return state


def content_key(*parts: str) -> str:
    """Return a short name for what follows from all the parts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
