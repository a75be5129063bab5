"""YAML dialect of recipes: `2e-4` is a number, `no` and `1:30` are words, no duplicate keys, no aliases."""

import re
from typing import Any

import yaml

from hdtrans.common.errors import UserError

LARGEST_TEXT = 1_000_000  # characters; a recipe has a few thousand
# Larger integers can be chosen to share one hash, so that looking them up takes quadratic time.
_LARGEST_KEY = 2**63 - 1

_OWN_RULES = {f"tag:yaml.org,2002:{name}" for name in ("bool", "int", "float", "timestamp", "value")}


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {  # noqa: RUF012 - as the base class has it
        first: [(tag, pattern) for tag, pattern in rules if tag not in _OWN_RULES]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            line = self.peek_event().start_mark.line + 1
            raise UserError(f"line {line}: aliases (*name) are not allowed; repeat the value")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for name, _ in node.value:
            line = name.start_mark.line + 1
            if not isinstance(name, yaml.ScalarNode):
                raise UserError(f"line {line}: a key must be a word, not a list or a section")
            key = self.construct_object(name)
            if isinstance(key, int) and abs(key) > _LARGEST_KEY:
                raise UserError(f"line {line}: the key {key} is too large a number; use a word")
            if key in seen:
                raise UserError(f"line {line}: the key {key!r} stands twice in its section; keep one")
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9]\d*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+|\d+\.\d*|\.\d+|\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"),
    list("-+.0123456789"),
)


class _Dumper(yaml.SafeDumper):
    """Quote words that our loader would read as another type."""

    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers

    def ignore_aliases(self, data: Any) -> bool:
        return True


def yaml_text(values: Any) -> str:
    """Return plain values as YAML; `read_yaml` returns equal values."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def read_yaml(text: str, where: str) -> Any:
    """Parse YAML to plain values; raise UserError with `where` (a file or option) and the line."""
    if len(text) > LARGEST_TEXT:
        raise UserError(f"{where}: {len(text)} characters; at most {LARGEST_TEXT} are allowed")
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - derives from SafeLoader
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{where}: this is not YAML: {error}") from None
    except (RecursionError, ValueError, TypeError) as error:
        raise UserError(f"{where}: cannot be read as YAML: {error}") from None


def read_uncommented(text: str, where: str) -> Any:
    """Parse YAML without comments, as on a command line: `#` is a character like others. Errors as in `read_yaml`."""
    stand_in = next(sign for sign in map(chr, range(0xE000, 0xF900)) if sign not in text)
    return _with_signs(read_yaml(text.replace("#", stand_in), where), stand_in)


def _with_signs(value: Any, stand_in: str) -> Any:
    """Return nested values with every `#` in its place again."""
    if isinstance(value, dict):
        return {_with_signs(name, stand_in): _with_signs(inner, stand_in) for name, inner in value.items()}
    if isinstance(value, list):
        return [_with_signs(inner, stand_in) for inner in value]
    return value.replace(stand_in, "#") if isinstance(value, str) else value


def read_word(text: str) -> Any:
    """Return the number, truth value or null that a text without quotes means in this dialect, or the text itself."""
    loader = _Loader("")
    try:
        return loader.construct_object(yaml.ScalarNode(loader.resolve(yaml.ScalarNode, text, (True, False)), text))
    except (ValueError, yaml.YAMLError):  # a number of too many digits
        return text
