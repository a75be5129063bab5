"""Files of a data set are found as those of a training folder are."""

from pathlib import Path

import pytest

from hdtrans.common.errors import UserError
from hdtrans.common.remarks import DataWarning
from hdtrans.prepare.sources.dataset_files import PhotoIndex, files_under


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder with photos in a linked folder, which leads back to it."""
    for name in ("set/10.JPG", "set/9.jfif", "set/.hidden/1.png", "set/Thumbs.db", "store/night/1.png", "set/a.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "set" / "images").symlink_to(tmp_path / "store")
    (tmp_path / "store" / "back").symlink_to(tmp_path / "set")
    return tmp_path / "set"


def test_links_are_followed(root: Path) -> None:
    assert files_under(root) == [root / "9.jfif", root / "10.JPG", root / "images/night/1.png"]
    assert files_under(root, (".json",)) == [root / "a.json"]
    assert files_under(root, deep=False) == [root / "9.jfif", root / "10.JPG"]
    assert files_under(root / "nothing") == []
    assert PhotoIndex(root).find("images/night/1") == root / "images/night/1.png"


def test_photos_of_one_name(root: Path) -> None:
    (root / "e\u0301.png").touch()
    index = PhotoIndex(root)
    assert index.find("\u00e9") == root / "e\u0301.png" and index.find("11") == root / "11.jfif"
    (root / "9.png").touch()
    with pytest.raises(UserError, match=r"9\.png: is a photo of the same name as .*9\.jfif; keep one"):
        PhotoIndex(root).find("9")


def test_pictures_that_are_not_read_are_counted(root: Path) -> None:
    (root / "b.heic").touch()
    with pytest.warns(DataWarning, match=rf"{root}: 1 file is not read: 1 \.heic\. Files are read that end in \.png"):
        files_under(root)
    with pytest.warns(DataWarning, match=r"3 files are not read: .* end in \.png;"):
        files_under(root, (".png",))
    assert files_under(root, (".json",))
