"""Documentation: links lead somewhere, commands and recipes exist as they are shown, Python code compiles and runs."""

import contextlib
import importlib.util
import io
import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

import hdtrans
from hdtrans.cli import COMMANDS, run_tool
from hdtrans.common.classes import ClassTable
from hdtrans.config.loading import load_recipe, packaged_recipes
from hdtrans.prepare.registry import format_names

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")),
    *(ROOT / folder / "README.md" for folder in ("docker", "benchmarks")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").glob("*/README.md")),
]
RUN_HERE = {"docs/develop/add-a-method.md"}
"""Pages whose Python needs no data; that of README.md and docs/translate.md is run by tests of `inference`."""

STAND_INS = {"COMMAND", "FORMAT", "RECIPE", "X"}
NOTHING_AFTER = ("#", "|", "&&", ">")


def name_of(page: Path) -> str:
    """Return the path of a page as it is written in the others."""
    return page.relative_to(ROOT).as_posix()


def prose(text: str) -> str:
    """Return a page without its code blocks."""
    return re.sub(r"^( *)```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)


def blocks(text: str, language: str) -> list[str]:
    """Return the code blocks of a language."""
    return [code for _, code in re.findall(rf"^( *)```{language}\n(.*?)^\1```", text, flags=re.DOTALL | re.MULTILINE)]


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page.read_text(encoding="utf-8")), flags=re.MULTILINE)
    plain = (re.sub(r"\[(.*?)\]\(.*?\)", r"\1", heading) for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


def broken_links(page: Path) -> list[str]:
    """Return the links of a page that lead to no file, folder or heading."""
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    return broken


def shown_commands(text: str) -> list[list[str]]:
    """Return the words of each `hdtrans ...` that a page shows, in blocks of shell and in the text."""
    lines = [line for code in blocks(text, "(?:sh|bash|)") for line in code.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`((?:\$ )?hdtrans [^`]+)`", prose(text))
    found = []
    for line in lines:
        if match := re.search(r"(?:^|[;&] *|\$ )(?:hdtrans|torchrun .*?tools/(\w+)\.py)\s(.*)", line):
            words = shlex.split(f"{match[1] or ''} {match[2]}", comments=True)
            ends = [place for place, word in enumerate(words) if word in NOTHING_AFTER]
            found.append(words[: ends[0]] if ends else words)
    return found


@cache
def help_of(*words: str) -> str:
    """Return what a command prints for `--help`."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.raises(SystemExit):
        run_tool(words[0], [*words[1:], "--help"])
    return printed.getvalue()


def wrong_parts(words: list[str]) -> list[str]:
    """Return what a shown command has that the command line does not know."""
    name, *rest = words
    if name.startswith("-") or name in STAND_INS or name == "...":
        return []
    if name not in COMMANDS:
        return [name]
    if name == "prepare" and rest and not rest[0].startswith("-") and rest[0] not in STAND_INS:
        if rest[0] not in {*format_names(), "shards"}:
            return [rest[0]]
        known = help_of(name, rest[0])
    else:
        known = help_of(name)
        if name == "prepare":
            return []
    options = (word.partition("=")[0] for word in rest if re.match(r"--[a-z]", word))
    return [option for option in options if not re.search(rf"{option}\b", known)]


def refused(words: list[str]) -> str:
    """Return why a shown recipe with its overrides does not load; '' if it does, or if none is shown."""
    name, *rest = words
    values = [word for word in rest if re.match(r"[a-z][\w.]*=", word)]
    recipes = [word for word in rest if word in packaged_recipes()]
    if name not in ("train", "check_data") or not recipes:
        return ""
    try:
        load_recipe(recipes[0], values)
    except hdtrans.UserError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    assert broken_links(page) == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_exists_with_its_options_and_recipe(page: Path) -> None:
    commands = shown_commands(page.read_text(encoding="utf-8"))
    assert [(" ".join(words), wrong) for words in commands if (wrong := wrong_parts(words))] == []
    assert [(" ".join(words), why) for words in commands if (why := refused(words))] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_code_compiles_and_names_what_is_public(page: Path) -> None:
    for code in blocks(page.read_text(encoding="utf-8"), "python"):
        compile(code, name_of(page), "exec")
        named = set(re.findall(r"\bhdtrans\.([a-zA-Z]\w*)\(", code))
        named |= {name for line in re.findall(r"from hdtrans import (.+)", code) for name in line.split(", ")}
        assert named <= set(hdtrans.__all__)
        if name_of(page) in RUN_HERE:
            names: dict[str, Any] = {}
            exec(code, names)
            assert names["picture"].shape == (1, 3, 64, 96)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_yaml_and_json_blocks_can_be_read(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for code in (*blocks(text, "yaml"), *blocks(text, "json")):  # JSON is YAML
        assert isinstance(yaml.safe_load(code), dict)


def test_the_readme_is_a_door() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 200
    (picture,) = re.findall(r"!\[.+\]\((.+)\)", text)
    assert (ROOT / picture).stat().st_size <= 300_000
    pages = {page for page in (ROOT / "docs").rglob("*.md") if f"]({name_of(page)}" not in text}
    assert pages == set(), "README links every page of docs/"


def test_every_recipe_is_named_in_the_documentation() -> None:
    text = "".join((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("train.md", "data.md"))
    assert [name for name in packaged_recipes() if f"`{name}`" not in text] == []


def test_every_format_and_command_is_named_in_the_documentation() -> None:
    text = (ROOT / "docs/prepare.md").read_text(encoding="utf-8")
    assert [name for name in format_names() if f"| `{name}` |" not in text] == []
    everything = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [name for name in COMMANDS if f"hdtrans {name}" not in everything] == []


def test_the_strip_has_a_row_for_each_scene(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("make_strip", ROOT / "docs/make_strip.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    classes = ClassTable(("sky", "car"), ((10, 20, 30), (200, 100, 0)))
    for folder, value in (("toycity/test_label", 1), ("pictures", (1, 2, 3)), ("toycity/test_img", (4, 5, 6))):
        (tmp_path / folder).mkdir(parents=True)
        for name in ("a", "b", "c"):
            Image.new("L" if value == 1 else "RGB", (100, 40), value).save(tmp_path / folder / f"{name}.png")
    classes.write(tmp_path / "toycity/dataset.json")
    module.main(str(tmp_path), str(tmp_path / "strip.png"), "c", "b")
    with Image.open(tmp_path / "strip.png") as strip:
        assert strip.size == (3 * 100 + 2 * module.GAP, module.BAND + 2 * 40 + module.GAP)
        row = module.BAND + 40 + module.GAP + 20
        found = [strip.getpixel((50 + column * (100 + module.GAP), row)) for column in range(3)]
    assert found == [(200, 100, 0), (1, 2, 3), (4, 5, 6)]


def test_mistakes_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A b, `c`\n[x](#a-b-c) [y](#a-b) [z](none.md) [w](https://none)\n```\n[v](none.md)\n```\n")
    assert broken_links(page) == ["#a-b", "none.md"]
    lines = (
        "hdtrans infer a --inptu b # --c",
        "hdtrans prepare citiscapes",
        "hdtrans train pix2pix_labels training.sed=1",
    )
    text = "\n".join(("`hdtrans trian`", "```sh", *lines, "```"))
    infer, prepare, train, trian = shown_commands(text)
    assert wrong_parts(trian) == ["trian"]
    assert wrong_parts(infer) == ["--inptu"]
    assert wrong_parts(prepare) == ["citiscapes"]
    assert "training.sed" in refused(train) and not wrong_parts(train)
