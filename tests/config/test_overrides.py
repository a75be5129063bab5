"""A value of the command line is what its key's type makes of it."""

from pathlib import Path
from typing import Any

import pytest

from hdtrans.common.errors import RecipeError, UserError
from hdtrans.config.loading import load_recipe
from hdtrans.config.stage import Size
from hdtrans.config.training import Ema
from tests.small_runs import small_recipe, write_recipe

# Texts that YAML reads as something else, or not at all.
TEXTS = [
    "data #2",
    "#data",
    "a: b",
    "a:",
    "2e3",
    "007",
    "2024-01-01",
    "yes",
    "true",
    "*x",
    "&x",
    "!x",
    "@x",
    "%x",
    "`x`",
    "|",
    "> x",
    "- x",
    "? x",
    "[a, b]",
    "[a",
    "{a: b}",
    "{",
    "it's",
    "'a' and 'b'",
    "a=b",
    "=",
    "C:\\data\\new",
    "\\\\server\\share #1",
    "Straße/写真 №1",
    "a\tb",
    " a ",
    "none.txt",
    "./none",
    "~/data",
    "a\nb",
    "\ue000#\ue001",
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    values = small_recipe(tmp_path, tmp_path / "run")
    return write_recipe(tmp_path / "small.yaml", values | {"validate": {"metrics": ["l1"]}})


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_stands_as_it_is(text: str, file: Path) -> None:
    recipe = load_recipe(file, [f"{key}={text}" for key in ("data.root", "out", "data.train", "init_from")])
    assert recipe.data.root == recipe.out == Path(text)
    assert recipe.data.train == recipe.init_from == text


def get(value: Any, key: str) -> Any:
    for part in key.split("."):
        value = value[int(part)] if part.isdecimal() else getattr(value, part)
    return value


@pytest.mark.parametrize(
    ("override", "value"),
    [
        # null for keys that may be unset
        *((f"out={word}", None) for word in ("none", "None", "null", "NULL", "~", "", " ")),
        *((f"data.ignore={word}", None) for word in ("none", "null", "~", "")),
        ("training.ema=none", None),
        ("stages.0.learning_rate=None", None),
        ("data.validation=none", None),
        ("data.train=none", "none"),  # cannot be unset
        ("stages.0.geometry=none", "none"),
        ("method.discriminator.norm=none", "none"),
        # quotes
        ("out='007'", Path("007")),
        ('out="none"', Path("none")),
        ('out="C:\\data"', Path("C:\\data")),
        ("out='it''s'", Path("it's")),
        ("name='1'", "1"),
        ("name=1", "1"),
        ("name = other ", "other"),
        ("data.root = a #2", Path("a #2")),
        # numbers, truth values, words
        ("training.seed= 3 ", 3),
        ("training.seed=2e3", 2000),
        ("training.optimizer.learning_rate=2e-5", 2e-5),
        ("training.precision= bf16", "bf16"),
        *((f"data.flip={word}", True) for word in ("yes", "on", "true", "True", "TRUE", "1")),
        *((f"data.flip={word}", False) for word in ("no", "off", "false", "0")),
        ("stages.0.size= 32x16 ", Size(height=16, width=32)),
        ("stages.0.size={width: 32, height: 16}", Size(height=16, width=32)),
        # a number or a text
        ("data.validation=0.25", 0.25),
        ("data.validation=val #2", "val #2"),
        ("data.validation=a: b", "a: b"),
        # lists and sections: no comments
        ("validate.weights=[data #2/a.pt, a: b, 2e3]", (Path("data #2/a.pt"), Path("a: b"), Path("2e3"))),
        ("validate.weights=[C:\\c.pt]", (Path("C:\\c.pt"),)),
        ("validate.weights=['a, b.pt', \"c #1.pt\"]", (Path("a, b.pt"), Path("c #1.pt"))),
        ("validate.weights=[]", ()),
        ("validate.metrics=[l1, ssim,]", ("l1", "ssim")),
        ("training.optimizer.betas=[0, 0.9]", (0.0, 0.9)),
        ("training.ema={half_life: 3}", Ema(half_life=3)),
        ("training.ema=half_life: 3", Ema(half_life=3)),
        ("data={kind: label_maps, root: 'a #2', labels: 19}", Path("a #2")),
        ("data={kind: label_maps, root: a #2, labels: 19}", Path("a #2")),
    ],
)  # fmt: skip
def test_the_type_of_the_key_decides(override: str, value: Any, file: Path) -> None:
    others = ["stages.0.size=none"] if "geometry=none" in override else []
    key = override.partition("=")[0].strip().replace("validate.", "validation.")
    found = get(load_recipe(file, [override, *others]), "data.root" if key == "data" else key)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("data.root=", "data.root: needs a value, and has none"),  # never the current folder
        ("training.seed=3 # mine", "training.seed: .*given: '3 # mine'"),
        ("training.seed=&x", "training.seed: .*given: '&x'"),
        ("data.ignore=!x", "data.ignore: .*given: '!x'"),
        ("data.flip=maybe", "data.flip: .*given: 'maybe'"),
        ("validate.weights=a.pt", "validate.weights: is a list, as in .a, b.; given: 'a.pt'"),
        ("training.ema={half_life: 3} # mine", "training.ema={half_life: 3} # mine: this is not YAML"),
        ("method.nothing=a: b", "method.nothing: there is no such key"),
    ],
)
def test_a_value_that_does_not_fit_is_named(override: str, words: str, file: Path) -> None:
    with pytest.raises(UserError, match=words):
        load_recipe(file, [override])


def test_a_key_of_another_kind_is_read_by_it(file: Path) -> None:
    """The kind that an override before it chooses."""
    overrides = ["data={kind: picture_pairs, root: x}", "method.condition.boundary=none", "data.root=2e3"]
    recipe = load_recipe(file, overrides)
    assert recipe.data.root == Path("2e3")
    with pytest.raises(RecipeError) as caught:
        load_recipe(file, ["method.kind=cyclegan", "method.identity.weight=x: y"])
    assert "method.identity.weight" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "run"),
    [
        ("my recipe #2=a", "my_recipe_2_a"),
        ("a: b", "a_b"),
        ("Straße", "Stra_e"),
        ("写真", "recipe"),
        (".x", "x"),
        ("v1.2-b", "v1.2-b"),
    ],
)
def test_a_recipe_of_any_file_name_is_opened(name: str, run: str, file: Path) -> None:
    values = {key: value for key, value in small_recipe(Path("d"), Path("r")).items() if key not in ("name", "out")}
    recipe = load_recipe(write_recipe(file.with_name(f"{name}.yaml"), values))
    assert recipe.name == run and recipe.folder == Path("runs") / run
