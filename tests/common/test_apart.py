import re
from pathlib import Path

import pytest

from hdtrans.common.apart import check_apart
from hdtrans.common.errors import UserError

INSIDE = "whose sub-folders are searched too; give a folder outside of it"
HOLDS = "holds inputs of this command as well"


@pytest.mark.parametrize(
    ("out", "folder", "words"),
    [
        ("photos", "photos", HOLDS),
        ("photos/out", "photos", INSIDE),
        ("photos/day/../out/deep", "photos", INSIDE),
        ("photos", "photos/day", HOLDS),
        ("link/out", "photos", INSIDE),
        ("photos/out", "link", INSIDE),
        ("photos", "link/day", HOLDS),
        ("photos2", "photos", ""),
        ("out", "photos", ""),
        ("photos", "photos2", ""),
    ],
)
def test_folders(out: str, folder: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "photos" / "day").mkdir(parents=True)
    (tmp_path / "link").symlink_to("photos")
    if not words:
        check_apart(tmp_path / out, [tmp_path / folder])
        return
    with pytest.raises(UserError, match=re.escape(f"out={tmp_path / out}: ") + f".*{words}"):
        check_apart(tmp_path / out, [tmp_path / "other", tmp_path / folder])


def test_files(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "photos").mkdir()
    (tmp_path / "out" / "a.png").write_bytes(b"")
    (tmp_path / "photos" / "b.png").symlink_to(tmp_path / "out" / "a.png")
    (tmp_path / "photos" / "results").symlink_to(tmp_path / "out")
    check_apart(tmp_path / "photos" / "out", files=[tmp_path / "photos" / "a.png", f"{tmp_path}/x.csv/row"])
    for file in ("out/a.png", "photos/b.png", "photos/results/a.png"):
        with pytest.raises(UserError, match=rf"pictures={tmp_path}/out: {HOLDS} \({tmp_path / file}\)"):
            check_apart(tmp_path / "out", files=[tmp_path / "other.png", tmp_path / file], argument="pictures")
