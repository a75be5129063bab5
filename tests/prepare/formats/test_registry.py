"""Format discovery: a new file in `prepare/formats/` is a format."""

import subprocess
import sys

import pytest

from hdtrans.prepare import formats
from hdtrans.prepare.registry import format_names, load_format
from tests.prepare.made import files, label, prepare, put

NEW_FORMAT = '''
"""Label maps named *.mask.png."""

from hdtrans.common.classes import ClassTable
from hdtrans.data.io.read import read_label
from hdtrans.prepare.sources.source import Item, Maps

HELP = "label maps named *.mask.png"


def add_options(parser):
    parser.add_argument("--count", type=int, default=2)


def open_source(root, options):
    return Masks(root, options.count)


class Masks:
    def __init__(self, root, count):
        self.root, self.classes = root, ClassTable.generic(count)

    def items(self):
        paths = sorted(self.root.glob("*.mask.png"))
        return [Item(path.name.split(".")[0], None, path.name, None, (path,)) for path in paths]

    def read(self, item):
        return Maps(read_label(item.annotations[0]))
'''


@pytest.fixture
def new_format(tmp_path, monkeypatch):
    """Put one new file, and nothing else, beside the formats."""
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "masks.py").write_text(NEW_FORMAT)
    (folder / "_helper.py").write_text("raise AssertionError")
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(folder)])
    yield "masks"
    sys.modules.pop(f"{formats.__name__}.masks", None)


def test_new_file_is_listed_and_prepares(new_format, tmp_path, capsys):
    assert new_format in format_names() and "_helper" not in format_names()
    with pytest.raises(SystemExit):
        prepare("--help")
    assert "label maps named *.mask.png" in capsys.readouterr().out
    put(tmp_path / "in/a.mask.png", [[0, 2]])
    words = ("--in", tmp_path / "in", "--out", tmp_path / "out")
    assert prepare(new_format, *words, "--count", 3) == 0
    assert files(tmp_path / "out").keys() == {"train_label/a.png"}
    assert label(tmp_path / "out", "train_label/a.png").tolist() == [[0, 2]]
    assert prepare(new_format, *words, "--count", 2) == 2
    assert "format_options.count: was 3, now 2" in capsys.readouterr().err


@pytest.mark.parametrize("name", format_names())
def test_format_follows_the_contract(name, capsys):
    module = load_format(name)
    assert module.HELP and "\n" not in module.HELP and callable(module.open_source)
    with pytest.raises(SystemExit) as stopped:
        prepare(name, "--help")
    assert stopped.value.code == 0 and "--in DIR" in capsys.readouterr().out


def test_one_format_is_imported_alone():
    script = (
        "import sys\nfrom hdtrans.cli.prepare import main\n"
        "try:\n    main(['voc', '--help'])\nexcept SystemExit:\n    pass\n"
        "print([name.split('.')[-1] for name in sys.modules if name.startswith('hdtrans.prepare.formats.')])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['voc']"
