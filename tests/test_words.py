"""Plain words: the worst habits of docstrings and documentation stand nowhere."""

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

OPENINGS = ("What", "Whether", "Which", "How", "Who", "Whom", "Whose", "Where", "When", "Why")
OPENING = re.compile(rf"({'|'.join(OPENINGS)})\b")
TOLD = re.compile(r"\b(?:is|are|was|were|be|been)\s+told\b", re.IGNORECASE)
ARGUMENT = re.compile(r"(?P<name>\w[\w, *]*?): (?P<text>\S.*)")
GENITIVE = re.compile(r"of (?:the|a|an|each|every|all|its|one|such|what)\b")
SECTIONS = ("Args:", "Attributes:", "Class attributes:")


@dataclass(frozen=True)
class Offender:
    """A sentence to rewrite: its file and line, and the habit."""

    place: str
    habit: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.habit}: {self.text}"


def habits(docstring: str) -> Iterator[tuple[int, str, str]]:
    """Yield the line (from 0), the habit and the text of each offender in a docstring."""
    section = False
    for number, line in enumerate(docstring.splitlines()):
        text = line.strip()
        if number == 0 and OPENING.match(text):
            yield number, "opening", text
        if TOLD.search(text):
            yield number, "told", text
        if text in SECTIONS:
            section = True
        elif not text:
            section = False
        elif section and (given := ARGUMENT.match(text)) and GENITIVE.match(given["text"]):
            yield number, "bare genitive", text


def of_python(file: str, source: str) -> Iterator[Offender]:
    """Yield the offenders in the docstrings of a Python file, those of constants included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            for line, habit, text in habits(inspect.cleandoc(node.value.value)):
                yield Offender(f"{file}:{node.lineno + line}", habit, text)
    for number, line in enumerate(source.splitlines(), start=1):
        if "#" in line and TOLD.search(line.partition("#")[2]):
            yield Offender(f"{file}:{number}", "told", line.strip())


def of_page(file: str, text: str) -> Iterator[Offender]:
    """Yield the offenders on a page of documentation: "is told", and headings and list items with such an opening."""
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        opened = re.match(r"(?:#+ |- |\* |\d+\. )\**(.*)", stripped)
        if opened and OPENING.match(opened[1]) and not opened[1].endswith("?"):
            yield Offender(f"{file}:{number}", "opening", stripped)
        if TOLD.search(stripped):
            yield Offender(f"{file}:{number}", "told", stripped)


def offenders() -> list[Offender]:
    """Return all offenders of the package, its tests and tools, the examples, the benchmarks and the documentation."""
    found: list[Offender] = []
    for folder in ("hdtrans", "tools", "examples", "benchmarks", "docs", "tests"):
        for path in sorted({*(ROOT / folder).rglob("*.py")} - {Path(__file__).resolve()}):  # its examples are offenders
            found += of_python(str(path.relative_to(ROOT)), path.read_text(encoding="utf-8"))
    pages = [
        *ROOT.glob("*.md"),
        *(p for folder in ("docs", "docker", "benchmarks") for p in (ROOT / folder).rglob("*.md")),
    ]
    for path in sorted(pages):
        found += of_page(str(path.relative_to(ROOT)), path.read_text(encoding="utf-8"))
    return found


def test_no_habit_is_left() -> None:
    found = offenders()
    assert not found, "\n".join(["", *map(str, found)])


def test_habits_are_found() -> None:
    source = '''
"""What it is."""
def f(a, b, c):
    """Whether it is so; it is told.

    Args:
        a: of the run.
        b, c: of each picture.
        d: seed of the run.
    """
    # the run was told
    """Which."""
class A:
    """Whatever it is.

    Attributes:
        x: the picture of a run.
    """
'''
    found = [(o.place, o.habit) for o in of_python("hdtrans/data/x.py", source)]
    assert found == [
        ("hdtrans/data/x.py:2", "opening"),
        ("hdtrans/data/x.py:4", "opening"),
        ("hdtrans/data/x.py:4", "told"),
        ("hdtrans/data/x.py:7", "bare genitive"),
        ("hdtrans/data/x.py:8", "bare genitive"),
        ("hdtrans/data/x.py:12", "opening"),
        ("hdtrans/data/x.py:11", "told"),
    ]


def test_habits_of_pages_are_found() -> None:
    page = "# How fast it is\n\n## How good is it?\n\n- What is made\n1. Where it lies\nit is told\n"
    assert [o.place for o in of_page("README.md", page)] == [f"README.md:{n}" for n in (1, 5, 6, 7)]
