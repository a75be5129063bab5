"""Published weights of feature networks, verified by SHA-256: given files, torch's cache, or a download."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor

from hdtrans.common.errors import Advice, MissingFile, UnreadableFile, UserError, reading_failure, shown
from hdtrans.common.files import plain_path
from hdtrans.common.hashing import file_digest


@dataclass(frozen=True)
class Published:
    """A published file.

    Attributes:
        what: description for messages.
        url: address of the file.
        sha256: SHA-256 in hex, or its published first digits.
    """

    what: str
    url: str
    sha256: str

    @property
    def name(self) -> str:
        """Name of the file."""
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
"""Published files by short name. Only these bytes are accepted, except for SqueezeNet 1.0, whose figure is ours."""


@dataclass(frozen=True)
class Weights:
    """State dict of a network, with its file and SHA-256."""

    file: Path
    sha256: str
    state: Mapping[str, Tensor]


class MissingWeights(UserError):
    """Published weights that are neither among the given files nor in torch's cache."""


class WeightFiles:
    """Sources of published weights: given files first, then torch's cache.

    Args:
        given: files, and folders of `.pth` files.
        download: fetch missing files into torch's cache.

    Raises:
        UserError: a path does not exist.
    """

    def __init__(self, given: Sequence[Path] = (), download: bool = False) -> None:
        for path in given:
            if not path.exists():
                raise MissingFile(path, "file or folder", argument="weights")
        files = [file for path in given for file in (sorted(path.glob("*.pth")) if path.is_dir() else [path])]
        self._given = {file: file_digest(file) for file in files}
        self._download = download

    def find(self, name: str) -> Weights:
        """Return published weights.

        Args:
            name: key of `PUBLISHED`.

        Raises:
            MissingWeights: no file has them; the message has the address and the place for it.
            UserError: the file is damaged.
        """
        wanted = PUBLISHED[name]
        for file, sha256 in self._given.items():
            if sha256.startswith(wanted.sha256) or (name == "squeezenet1_0" and "squeezenet1_0" in file.name):
                return Weights(file, sha256, _read(file))
        file = fetched_folder() / wanted.name
        if not file.is_file() and self._download:
            _fetch(wanted, file)
        if not file.is_file():
            raise MissingWeights(
                f"weights of {wanted.what} are missing{self._others(wanted)}",
                advice=[
                    f"fetch {wanted.url} and save it as {shown(file)}",
                    Advice("weights", "FILE"),
                    Advice("download"),
                ],
            )
        sha256 = file_digest(file)
        if not sha256.startswith(wanted.sha256):
            raise UserError(
                f"SHA-256 {sha256[:16]}..., expected {wanted.sha256}... of {wanted.what}; remove the file", path=file
            )
        return Weights(file, sha256, _read(file))

    def _others(self, wanted: Published) -> str:
        if not self._given:
            return ""
        others = ", ".join(f"{file.name} {sha256[:8]}" for file, sha256 in list(self._given.items())[:5])
        return f" (no given file has SHA-256 {wanted.sha256[:8]}...: {others})"


def fetched_folder() -> Path:
    """Return torch's cache of fetched files."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def _fetch(wanted: Published, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(wanted.url, str(file), hash_prefix=wanted.sha256, progress=False)
    except (URLError, OSError, RuntimeError) as error:
        raise UserError(
            f"{wanted.url} cannot be fetched: {error}",
            argument="download",
            advice=[Advice("weights", "FILE", "fetched on another machine")],
        ) from None


def _read(file: Path) -> Mapping[str, Tensor]:
    try:
        with plain_path(file) as plain:
            state = torch.load(plain, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds for a file that is no checkpoint
        raise UnreadableFile(file, reading_failure(error), "weights") from None
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError("not a state dict (tensors by name)", path=file)
    return state


def content_key(*parts: str) -> str:
    """Return a hash of all the parts, 32 hex digits."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
