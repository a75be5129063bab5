"""The rooms and laws of the house, read from every file with `ast`.

The tables below are the rules. `findings` holds one source text against them and answers `file:line: rule` lines.
"""

import ast
import re
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from hdtrans.common import errors

ROOT = Path(__file__).resolve().parents[1]
SHARED_BY_METHODS = ("base", "history", "augmentation", "perceptual", "segmenter")
METHODS = {file.stem for file in (ROOT / "hdtrans" / "methods").glob("*.py")} - {"__init__", *SHARED_BY_METHODS}
KINDS = {file.stem for file in (ROOT / "hdtrans" / "data" / "kinds").glob("*.py")} - {"__init__", "base"}

# A room, and the modules of the package it may import besides its own. A module includes what lies under it.
ROOMS: dict[str, tuple[str, ...]] = {
    "__init__": ("api", "inference.translator", "config", "common"),
    "__main__": ("cli",),
    "common": (),
    "config": ("common",),
    "toycity": ("common",),
    "networks": ("config.networks", "common"),
    "losses": ("common",),
    "data": ("config", "common"),
    "methods": (
        "networks",
        "losses",
        *(f"methods.{name}" for name in SHARED_BY_METHODS),
        "config",
        "data.batch",
        "data.fields",
        "common",
    ),
    "engine": ("methods.base", "data", "config", "common"),
    "inference": (
        "networks.kernels.prepacked",
        "engine.checkpoint",
        "engine.precision",
        "engine.distributed",
        "methods.base",
        "data",
        "toycity",
        "config",
        "common",
    ),
    "edit": ("inference", "data", "config", "common"),
    "evaluation": (
        "engine.checkpoint",
        "engine.precision",
        "engine.distributed",
        "methods.base",
        "data",
        "config",
        "common",
    ),
    "prepare": ("data", "config", "common"),
    "benchmark": ("engine", "inference", "prepare", "methods.base", "data", "toycity", "config", "common"),
    "api": ("engine", "inference", "evaluation", "config", "common"),
    "cli": (
        "api",
        "common",
        "config",
        "networks",
        "losses",
        "data",
        "toycity",
        "methods",
        "engine",
        "inference",
        "evaluation",
        "prepare",
        "benchmark",
        "edit",
    ),
}
# A rival for comparison imports nothing of the package; the other benchmarks may import all of it.
OUTSIDE = ("benchmarks/original_way.py",)
CLOSED = {"methods"}  # rooms whose files do not even import each other

# Rooms that must run where torch is not wanted: neither they nor what they import at their top may import it.
WITHOUT_TORCH = ("common", "config", "prepare")
# Rooms that are torch and nothing else from outside (pydantic, numpy... stay out).
ONLY_TORCH = ("networks", "losses")
OF_TORCH = ("torch", "torchvision", "triton")

# What stands in few files alone: a name, and where it may be written.
FEW_PLACES: dict[str, tuple[str, ...]] = {
    # A data kind answers through `DataKind`; these make or read label maps, whatever a recipe says.
    **{f"hdtrans.data.kinds.{kind}": (f"hdtrans/data/kinds/{kind}.py",) for kind in KINDS},
    "hdtrans.data.kinds.label_maps": (
        "benchmarks/comparison.py",
        "hdtrans/benchmark/files.py",
        "hdtrans/benchmark/run.py",
        "hdtrans/cli/train_segmenter.py",
        "hdtrans/evaluation/judges/train_segmenter.py",
    ),
    "torch.distributed": ("hdtrans/engine/distributed.py",),
    "torch.nn.parallel": ("hdtrans/engine/distributed.py",),
    "DistributedDataParallel": ("hdtrans/engine/distributed.py",),
    "torch.autocast": ("hdtrans/engine/precision.py",),
    "torch.amp": ("hdtrans/engine/precision.py",),
    "torch.cuda.amp": ("hdtrans/engine/precision.py",),
    "GradScaler": ("hdtrans/engine/precision.py",),
    # evaluation does not import networks, and needs other ones: Inception and those of LPIPS
    "torchvision": ("hdtrans/networks/perceptual.py", "hdtrans/evaluation/judges/features.py"),
    "triton": ("hdtrans/networks/kernels/fused_norm_kernels.py", "hdtrans/networks/kernels/fused_pad_kernels.py"),
    "yaml.load": ("hdtrans/common/yaml_text.py",),
    "yaml.safe_load": ("hdtrans/common/yaml_text.py",),
    "importlib.import_module": (
        "hdtrans/__init__.py",
        "hdtrans/config/registry.py",
        "hdtrans/cli/__init__.py",
        "hdtrans/prepare/registry.py",
    ),  # the one place per kind of name
}
# Where a kind of input is named, so that a new one is a known, short list of files: its name, what it does in each room
# (read, check, move, resample, a tensor, an export's dimensions: `data/fields.py`), its column of a preview, its value
# in a trial of a published model. Whoever adds a file here has spread what `FieldKind` is for.
INPUT_KINDS = {
    "ids": (
        "hdtrans/config/inputs.py",
        "hdtrans/inference/folder/files.py",  # the maps of a reference photo
        "hdtrans/inference/folder/style_source.py",
        "hdtrans/inference/inputs.py",
        "hdtrans/inference/folder/translate.py",  # results that are maps
        "hdtrans/inference/publish/trial_inputs.py",
        "hdtrans/methods/base.py",
        "hdtrans/prepare/check/contact_sheet.py",
        "hdtrans/prepare/check/findings.py",
        "hdtrans/prepare/check/samples.py",
    ),
    "image": (
        "hdtrans/config/inputs.py",
        "hdtrans/data/fields.py",
        "hdtrans/inference/folder/gallery.py",
        "hdtrans/inference/publish/trial_inputs.py",
        "hdtrans/methods/base.py",
        "hdtrans/prepare/check/contact_sheet.py",
        "hdtrans/prepare/check/findings.py",
    ),
    "vector": ("hdtrans/config/inputs.py",),
    "points": ("hdtrans/inference/publish/trial_inputs.py", "hdtrans/methods/base.py"),
    "seed": (
        "hdtrans/config/inputs.py",
        "hdtrans/inference/publish/trial_inputs.py",
        "hdtrans/inference/translator.py",
        "hdtrans/methods/base.py",
    ),
}
# Where fields of batches are named, beside the methods that read them and the data kinds that make them. `prepare`,
# `toycity` and `benchmark` write data of kinds that they choose, and name them freely.
FIELDS = ("label", "source", "photo")
FREE_FIELDS = ("methods", "data/kinds", "prepare", "toycity", "benchmark")
FIELD_PLACES = (
    "hdtrans/config/networks.py",  # pool: label, a value of a key
    "hdtrans/data/dataset.py",  # the random numbers that the source has always been moved by
    "hdtrans/data/index.py",  # the layouts of CycleGAN's folders
    "hdtrans/evaluation/judges/train_segmenter.py",  # trains on label maps alone
    "hdtrans/evaluation/pairs.py",
    "hdtrans/inference/originals/convert.py",
    "hdtrans/inference/originals/recipe.py",
)
# Imported inside functions.
ONLY_LATE = ("torchvision", "hdtrans.networks.kernels.fused_norm_kernels", "hdtrans.networks.kernels.fused_pad_kernels")

FORBIDDEN_IMPORTS = ("pickle", "cPickle", "dill", "marshal", "shelve", "cloudpickle", "joblib")
FORBIDDEN_CALLS = (
    "eval",
    "exec",
    "os.system",
    "os.popen",
    "yaml.unsafe_load",
    "yaml.full_load",
    "yaml.load_all",
    "torch.hub.load",
)
FORBIDDEN_ARGUMENTS = ("shell", "allow_pickle")  # given as True

# A message of the library names arguments; `hdtrans/cli` writes them as flags.
FLAG = re.compile(r"(?<![\w-])--[a-z][\w-]*")
MESSAGES = {name for name in errors.__all__ if isinstance(getattr(errors, name), type)}
FOREIGN_FLAGS = ("--upgrade", "--nproc_per_node")  # pip, torchrun

FILE_LINES, COMMAND_LINES, FUNCTION_LINES = 399, 79, 60


@dataclass(frozen=True)
class Import:
    """One imported module, or name of a module: `hdtrans.data.batch.Batch`."""

    name: str
    line: int
    late: bool


def findings(source: str, file: str) -> list[str]:
    """Return what breaks a rule in the `source` of `file` (its path in the checkout), as `file:line: rule`."""
    tree = ast.parse(source)
    imported, names = list(imports(tree, file)), list(_dotted_names(tree))
    found = [*_of_imports(imported, names, file), *_of_code(tree, [*imported, *names], file)]
    found += _of_shape(tree, source, file)
    return [f"{file}:{line}: {rule}" for line, rule in sorted(found)]


def imports(tree: ast.Module, file: str) -> Iterator[Import]:
    """Yield what a file imports, relative imports made absolute; of `from a import b` the full `a.b`."""
    late = _late_imports(tree)
    package = file.removesuffix(".py").removesuffix("/__init__").split("/")
    if not file.endswith("__init__.py"):
        package = package[:-1]
    for node in _nodes(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            start = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{start}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (Import(name, node.lineno, id(node) in late) for name in names)


@lru_cache(maxsize=1)
def _nodes(tree: ast.Module) -> tuple[ast.AST, ...]:
    """Return all nodes of a file; walked once for all rules, since walking takes longest."""
    return tuple(ast.walk(tree))


def _late_imports(tree: ast.Module) -> set[int]:
    """Return the ids of the import nodes that run late."""
    found, waiting = set(), [(node, False) for node in tree.body]
    while waiting:
        node, late = waiting.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {id(node)} if late else set()
        elif isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case):
            inside = late or _runs_late(node)
            waiting += [(child, inside) for child in ast.iter_child_nodes(node)]  # type: ignore[misc]
    return found


def _runs_late(node: ast.AST) -> bool:
    """Return True if the code in here runs after the import of its file, or never."""
    never = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    return never or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def _of_imports(imported: list[Import], names: list[Import], file: str) -> Iterator[tuple[int, str]]:
    room = _room(file)
    of_the_package = (name for name in names if name.name.startswith("hdtrans."))
    for given in (*imported, *of_the_package):
        top = given.name.split(".")[0]
        if top in FORBIDDEN_IMPORTS:
            yield given.line, f"{top} is not used: what it reads can run code"
        if given.name in FORBIDDEN_CALLS or given.name in ("torch.load", "builtins.eval", "builtins.exec"):
            yield given.line, f"{given.name} is not imported by its name, which would hide its calls"
        for late in ONLY_LATE:
            if _under(given.name, late) and not given.late:
                yield given.line, f"{late} is imported inside the function that needs it"
        if file in OUTSIDE:
            if top == "hdtrans":
                yield given.line, f"{file} is for comparison, and imports nothing of hdtrans"
        elif not room:
            if (
                file.startswith("tools/")
                and top not in sys.stdlib_module_names
                and not _under(given.name, "hdtrans.cli")
            ):
                yield given.line, f"tools import hdtrans.cli and the standard library, not {given.name}"
        elif top == "hdtrans":
            yield from _of_room(given, room)
        elif room in WITHOUT_TORCH and top in ("torch", "torchvision"):
            yield given.line, f"{room} does not import {top}"
        elif room in ONLY_TORCH and top not in (*sys.stdlib_module_names, *OF_TORCH):
            yield given.line, f"{room} imports torch and no other package, not {top}"


def _of_room(given: Import, room: str) -> Iterator[tuple[int, str]]:
    inner = given.name.removeprefix("hdtrans").removeprefix(".")
    allowed = ROOMS.get(room)
    if allowed is None:
        yield given.line, f"there is no room {room}; give it a line in ROOMS"
    elif inner in ("", "__version__") or (inner.split(".")[0] == room and room not in CLOSED):
        return
    elif not any(_under(inner, name) for name in allowed):
        yield given.line, f"{room} imports {', '.join(allowed) or 'no other room'}, not hdtrans.{inner}"


def _of_code(tree: ast.Module, used: list[Import], file: str) -> Iterator[tuple[int, str]]:
    for given in used:
        for special, places in FEW_PLACES.items():
            found = _under(given.name, special) or ("." not in special and special in given.name.split("."))
            if found and file not in places:
                yield given.line, f"{special} stands in {' and '.join(places)} alone"
                break
    safe = {
        c.name
        for c in tree.body
        if isinstance(c, ast.ClassDef) and any("SafeLoader" in ast.unparse(b) for b in c.bases)
    }
    for node in _nodes(tree):
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            yield node.lineno, "a bare except hides what it catches; name the exception"
        elif isinstance(node, ast.Constant) and _room(file) == "engine" and node.value in METHODS:
            yield node.lineno, f"the engine knows no method, not {node.value!r}"
        elif isinstance(node, ast.Constant) and node.value in FIELDS and not _may_name_fields(file):
            yield node.lineno, f"the field {node.value!r} is named here; ask the method's table of inputs"
        elif isinstance(node, ast.Compare):
            yield from _of_comparison(node, file)
        elif isinstance(node, ast.Call):
            yield from _of_call(node, ast.unparse(node.func), safe)
        if _room(file) not in ("", "cli") and _is_message(node):
            yield from _of_message(node)


def _is_message(node: ast.AST) -> bool:
    """Return True if this makes an error or an advice, or the finding of one."""
    if isinstance(node, ast.Assign):
        return ast.unparse(node.targets[0]) == "finding"
    return isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in MESSAGES


def _of_message(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Find flags of a command in the texts of a message, f-strings included."""
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            for flag in set(FLAG.findall(part.value)) - set(FOREIGN_FLAGS):
                yield part.lineno, f"{flag} is a flag; messages name arguments, and `hdtrans/cli` spells them"


def _may_name_fields(file: str) -> bool:
    free = tuple(f"hdtrans/{room}/" for room in FREE_FIELDS)
    return not _room(file) or file.startswith(free) or file in FIELD_PLACES


def _of_comparison(node: ast.Compare, file: str) -> Iterator[tuple[int, str]]:
    """Find where code asks of which kind an input is."""
    if not _room(file) or file.startswith("hdtrans/prepare/formats/") or not ast.unparse(node.left).endswith(".kind"):
        return  # the annotations of a format have kinds of their own
    for side in (part for each in node.comparators for part in ast.walk(each)):
        places = INPUT_KINDS.get(str(side.value)) if isinstance(side, ast.Constant) else None
        if places is not None and file not in places:
            yield node.lineno, f"asks whether an input is of kind {side.value!r}; `data/fields.py` answers for kinds"


def _of_call(node: ast.Call, name: str, safe_loaders: set[str]) -> Iterator[tuple[int, str]]:
    given: dict[str | None, Any] = {k.arg: k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)}
    if name in FORBIDDEN_CALLS:
        yield node.lineno, f"{name} is not used"
    if name == "yaml.load" and not (len(node.args) == 2 and ast.unparse(node.args[1]) in safe_loaders):
        yield node.lineno, "yaml.load takes a loader of our own that derives from SafeLoader"
    if name == "torch.load" and given.get("weights_only") is not True:
        yield node.lineno, "torch.load says weights_only=True"
    if name != "torch.load" and given.get("weights_only") is False:
        yield node.lineno, "weights_only=False is not used"
    for argument in FORBIDDEN_ARGUMENTS:
        if given.get(argument):
            yield node.lineno, f"{argument}=True is not used"


def _of_shape(tree: ast.Module, source: str, file: str) -> Iterator[tuple[int, str]]:
    room = _room(file)
    if not room:
        return
    lines = len(source.splitlines())
    allowed = COMMAND_LINES if room == "cli" else FILE_LINES
    if lines > allowed:
        yield lines, f"{lines} lines; a file of {room} has at most {allowed}"
    if ast.get_docstring(tree) is None:
        yield 1, "the module has no docstring"
    for node in tree.body:
        public = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith(
            "_"
        )
        if public and ast.get_docstring(node) is None:
            yield node.lineno, f"{node.name} is public and has no docstring"
    for inner in _nodes(tree):
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (inner.end_lineno or inner.lineno) - inner.lineno + 1
            if length > FUNCTION_LINES:
                yield inner.lineno, f"{inner.name} has {length} lines; a function has at most {FUNCTION_LINES}"


def _dotted_names(tree: ast.Module) -> Iterator[Import]:
    """Yield every dotted name that is used: after `import a`, writing `a.b` is as good as an import of it."""
    inner = {id(node.value) for node in _nodes(tree) if isinstance(node, ast.Attribute)}
    for node in _nodes(tree):
        if isinstance(node, ast.Attribute | ast.Name) and id(node) not in inner:
            yield Import(_dotted(node), node.lineno, late=True)


def _dotted(node: ast.expr) -> str:
    """Return `a.b.c` as it is written; unparsing takes ten times as long."""
    parts: list[str] = []
    inner = node
    while isinstance(inner, ast.Attribute):
        parts.append(inner.attr)
        inner = inner.value
    return ".".join([inner.id, *reversed(parts)]) if isinstance(inner, ast.Name) else ast.unparse(node)


def _room(file: str) -> str:
    """Return the room of a file of the package (of `hdtrans/config/recipe.py` too: config), else ''."""
    parts = file.removesuffix(".py").split("/")
    return parts[1] if parts[0] == "hdtrans" else ""


def _under(name: str, module: str) -> bool:
    return name == module or name.startswith(module + ".")


FILES = sorted(
    str(f.relative_to(ROOT)) for folder in ("hdtrans", "tools", "benchmarks") for f in (ROOT / folder).rglob("*.py")
)


@pytest.mark.bar("B5.2", "no call that runs code from files, in the syntax tree of what is shipped")
@pytest.mark.parametrize("file", FILES)
def test_file(file: str) -> None:
    found = findings((ROOT / file).read_text(encoding="utf-8"), file)
    assert not found, "\n".join(["", *found])


def test_rooms_without_torch_do_not_reach_it() -> None:
    """Imports at the top of `common`, `config` and `prepare` lead to no file that imports torch at its top."""
    known = {
        f.removesuffix(".py").removesuffix("/__init__").replace("/", "."): f for f in FILES if f.startswith("hdtrans")
    }
    wants: dict[str, set[str]] = {}
    for module, file in known.items():
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        wants[module] = {given.name for given in imports(tree, file) if not given.late}
    seen: dict[str, tuple[str, ...]] = {}  # each module once: its way to torch, or none

    def way_to_torch(module: str) -> tuple[str, ...]:
        if module in seen:
            return seen[module]
        seen[module] = ()
        for name in sorted(wants[module]):
            if _under(name, "torch"):
                seen[module] = (module, "torch")
                break
            parts = name.split(".")
            reached = [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
            ways = (way_to_torch(other) for other in reached if other in known)
            if way := next((way for way in ways if way), ()):
                seen[module] = (module, *way)
                break
        return seen[module]

    ways = [way_to_torch(module) for module, file in known.items() if _room(file) in WITHOUT_TORCH]
    assert not any(ways), "\n".join(["", *(" -> ".join(way) for way in ways if way)])


def test_lists_of_places_are_as_short_as_they_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file listed as naming a kind of input or a field does so: none stays on a list that it has left."""
    fields = FIELD_PLACES
    listed = {*fields, *(file for files in INPUT_KINDS.values() for file in files)}
    texts = {file: (ROOT / file).read_text(encoding="utf-8") for file in listed}
    for kind, files in list(INPUT_KINDS.items()):
        monkeypatch.setitem(INPUT_KINDS, kind, ())
        assert [file for file in files if not any("is of kind" in line for line in findings(texts[file], file))] == []
        monkeypatch.setitem(INPUT_KINDS, kind, files)
    monkeypatch.setattr(f"{__name__}.FIELD_PLACES", ())
    assert [file for file in fields if not any("the field" in line for line in findings(texts[file], file))] == []


def test_no_basename_stands_twice_in_a_room() -> None:
    """A file's name tells it from all others of its room, whatever sub-folder it lies in."""
    seen: dict[tuple[str, str], list[str]] = {}
    for file in FILES:
        if _room(file) and not file.endswith("__init__.py"):
            seen.setdefault((_room(file), Path(file).name), []).append(file)
    assert not [files for files in seen.values() if len(files) > 1]


def test_every_file_that_is_named_here_is_there() -> None:
    """A clone has each file of the tables above, and each room; what lies beside the checkout is not named."""
    named = {*OUTSIDE, *(file for files in FEW_PLACES.values() for file in files)}
    assert not [file for file in sorted(named) if not (ROOT / file).is_file()]
    rooms = {_room(file) for file in FILES} - {""}
    assert {room.removesuffix(".py") for room in rooms} == set(ROOMS)
    modules = {name.replace(".", "/") for allowed in ROOMS.values() for name in allowed}
    package = ROOT / "hdtrans"
    assert not [m for m in sorted(modules) if not (package / m).is_dir() and not (package / f"{m}.py").is_file()]


def test_the_wheel_has_every_room() -> None:
    """`setup.cfg` lists the folders of the package; it cannot find them, for the recipes lie outside."""
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    listed = settings["options"]["packages"].split()
    folders = {".".join(Path(file).parent.parts) for file in FILES if file.startswith("hdtrans")}
    assert sorted(listed) == sorted([*folders, "hdtrans.recipes"])


DOC = '"""What it is."""\n'


@pytest.mark.parametrize(
    ("file", "source", "rule"),
    [
        ("hdtrans/common/x.py", "import torch", "common does not import torch"),
        (
            "hdtrans/common/x.py",
            "from hdtrans.config.stage import Size",
            "common imports no other room, not hdtrans.config.stage.Size",
        ),
        ("hdtrans/config/recipe.py", "from torch import nn", "config does not import torch"),
        (
            "hdtrans/config/recipe.py",
            "from hdtrans.methods import base",
            "config imports common, not hdtrans.methods.base",
        ),
        ("hdtrans/prepare/x.py", "def _f():\n    import torch.nn", "prepare does not import torch"),
        ("hdtrans/engine/trainer.py", "from hdtrans import networks", "not hdtrans.networks"),
        ("hdtrans/engine/trainer.py", "from ..methods.pix2pixhd import Config", "not hdtrans.methods.pix2pixhd.Config"),
        ("hdtrans/engine/trainer.py", "from hdtrans.methods import pix2pixhd", "not hdtrans.methods.pix2pixhd"),
        ("hdtrans/engine/trainer.py", "import hdtrans\nhdtrans.losses.hinge()", "not hdtrans.losses.hinge"),
        ("hdtrans/engine/trainer.py", "if kind == 'pix2pixhd': pass", "the engine knows no method, not 'pix2pixhd'"),
        ("hdtrans/engine/x.py", "if spec.kind == 'points': pass", "asks whether an input is of kind 'points'"),
        ("hdtrans/inference/x.py", "y = spec.kind in ('none', 'seed')", "asks whether an input is of kind 'seed'"),
        (
            "hdtrans/engine/x.py",
            "from hdtrans.data.kinds.unpaired import Section",
            "hdtrans.data.kinds.unpaired stands in",
        ),
        ("hdtrans/inference/x.py", "batch['photo']", "the field 'photo' is named here"),
        ("hdtrans/evaluation/x.py", "batch.get('label')", "the field 'label' is named here"),
        ("hdtrans/methods/a.py", "from hdtrans.methods.b import Config", "not hdtrans.methods.b.Config"),
        ("hdtrans/methods/a.py", "from . import b", "not hdtrans.methods.b"),
        ("hdtrans/methods/a.py", "from hdtrans.data.io.read import read_label", "not hdtrans.data.io.read.read_label"),
        ("hdtrans/inference/x.py", "import hdtrans.engine.trainer", "not hdtrans.engine.trainer"),
        (
            "hdtrans/networks/x.py",
            "from hdtrans.losses import gan",
            "networks imports config.networks, common, not hdtrans.losses.gan",
        ),
        ("hdtrans/losses/x.py", "import pydantic", "losses imports torch and no other package, not pydantic"),
        ("hdtrans/shed/x.py", "import hdtrans.common", "there is no room shed"),
        ("hdtrans/engine/x.py", "import torch.distributed as dist", "torch.distributed stands in"),
        ("hdtrans/engine/x.py", "import torch\ntorch.distributed.barrier()", "torch.distributed stands in"),
        ("hdtrans/engine/x.py", "from torch import distributed", "torch.distributed stands in"),
        ("hdtrans/engine/x.py", "import torch\nwith torch.autocast('cpu'): pass", "autocast stands in"),
        ("hdtrans/engine/x.py", "from torch.amp import GradScaler", "torch.amp stands in"),
        ("hdtrans/data/x.py", "from os import system", "os.system is not imported by its name"),
        ("hdtrans/data/x.py", "from torch import load as read", "torch.load is not imported by its name"),
        ("hdtrans/networks/x.py", "import torch\ntorch.hub.load('a', 'b')", "torch.hub.load is not used"),
        ("hdtrans/engine/x.py", "scaler: GradScaler", "GradScaler stands in"),
        ("hdtrans/engine/x.py", "import importlib\nimportlib.import_module(name)", "importlib.import_module stands in"),
        ("hdtrans/losses/x.py", "def _f():\n    import torchvision.models", "torchvision stands in"),
        ("hdtrans/networks/perceptual.py", "import torchvision", "torchvision is imported inside the function"),
        ("hdtrans/losses/x.py", "def _f():\n    import triton.language", "triton stands in"),
        (
            "hdtrans/networks/x.py",
            "from hdtrans.networks.kernels import fused_norm_kernels",
            "hdtrans.networks.kernels.fused_norm_kernels is imported inside the function",
        ),
        ("hdtrans/data/x.py", "import yaml\nyaml.safe_load('')", "yaml.safe_load stands in"),
        (
            "hdtrans/common/yaml_text.py",
            "import yaml\nyaml.load('', yaml.Loader)",
            "yaml.load takes a loader of our own",
        ),
        ("hdtrans/common/yaml_text.py", "import yaml\nyaml.unsafe_load('')", "yaml.unsafe_load is not used"),
        ("hdtrans/data/x.py", "try:\n    pass\nexcept:\n    pass", "a bare except"),
        ("hdtrans/data/x.py", "import torch\ntorch.load('a', weights_only=False)", "torch.load says weights_only=True"),
        ("hdtrans/data/x.py", "import torch\ntorch.load('a')", "torch.load says weights_only=True"),
        ("hdtrans/data/x.py", "_read('a', weights_only=False)", "weights_only=False is not used"),
        ("hdtrans/data/x.py", "import pickle", "pickle is not used"),
        ("hdtrans/data/x.py", "import numpy\nnumpy.load('a', allow_pickle=True)", "allow_pickle=True is not used"),
        ("hdtrans/data/x.py", "eval('1')", "eval is not used"),
        ("hdtrans/data/x.py", "exec('1')", "exec is not used"),
        ("hdtrans/data/x.py", "import os\nos.system('ls')", "os.system is not used"),
        ("hdtrans/data/x.py", "import subprocess\nsubprocess.run('ls', shell=True)", "shell=True is not used"),
        ("hdtrans/data/x.py", "raise UserError('give one with --table')", "--table is a flag"),
        ("hdtrans/prepare/formats/x.py", "raise UserError(f'--in {root}: no such folder')", "--in is a flag"),
        ("hdtrans/engine/x.py", "raise ProcessError('give a smaller ' '--size')", "--size is a flag"),
        ("hdtrans/data/x.py", "finding = f'{count} twins; see --photo-dir'", "--photo-dir is a flag"),
        ("hdtrans/data/x.py", "Advice('ready', reason='(or --input)')", "--input is a flag"),
        ("hdtrans/data/x.py", "def plan(): pass", "plan is public and has no docstring"),
        ("hdtrans/data/x.py", "class Plan: pass", "Plan is public and has no docstring"),
        ("hdtrans/data/x.py", "def _f():\n" + "    pass\n" * 60, "_f has 61 lines"),
        ("hdtrans/data/x.py", "\n" * 400, "401 lines; a file of data has at most 399"),
        ("hdtrans/cli/x.py", "\n" * 79, "80 lines; a file of cli has at most 79"),
        ("tools/x.py", "from hdtrans.engine import run", "tools import hdtrans.cli and the standard library"),
        ("tools/x.py", "import numpy", "tools import hdtrans.cli and the standard library"),
        (
            "benchmarks/original_way.py",
            "from hdtrans.cli import main",
            "is for comparison, and imports nothing of hdtrans",
        ),
    ],
)
def test_an_offender_is_caught(file: str, source: str, rule: str) -> None:
    found = findings(DOC + source, file)
    assert len(found) == 1 and rule in found[0], found
    assert found[0].startswith(f"{file}:"), found


def test_the_line_is_told() -> None:
    assert findings(DOC + "\nimport sys\nimport pickle\n", "tools/x.py") == [
        "tools/x.py:4: pickle is not used: what it reads can run code"
    ]


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("hdtrans/common/yaml_text.py", "import yaml\nclass _L(yaml.SafeLoader): pass\nyaml.load('', _L)"),
        ("hdtrans/networks/perceptual.py", "def _f():\n    import torchvision"),
        ("hdtrans/methods/a.py", "from hdtrans.methods.base import Method\nfrom hdtrans.data.batch import Batch"),
        ("hdtrans/engine/distributed.py", "import torch.distributed as dist"),
        ("hdtrans/engine/x.py", "import hdtrans\nversion = hdtrans.__version__"),
        ("hdtrans/engine/x.py", "import yaml\nyaml.safe_dump({})\nprecision.autocast()"),
        (
            "hdtrans/engine/x.py",
            "from hdtrans.engine.distributed import Processes\nimport torch\nnet = torch.nn.ReLU().eval()",
        ),
        ("hdtrans/cli/x.py", "def _f():\n    from hdtrans.engine.run import train"),
        ("hdtrans/networks/perceptual.py", "if TYPE_CHECKING:\n    import torchvision"),
        ("hdtrans/cli/x.py", "raise UserError('--workers is 1 or more')"),
        ("hdtrans/prepare/formats/x.py", "parser.add_argument('--order', help='as --in')"),
        ("hdtrans/common/x.py", "raise UserError('run pip install --upgrade torch; a -- b')"),
        ("tools/x.py", "import sys\nfrom pathlib import Path\nfrom hdtrans.cli import run_tool"),
    ],
)
def test_what_is_allowed_passes(file: str, source: str) -> None:
    assert findings(DOC + source, file) == []


def test_a_missing_module_docstring_is_caught() -> None:
    assert findings("import os\n", "hdtrans/data/x.py") == ["hdtrans/data/x.py:1: the module has no docstring"]
