"""Write the library's arguments as a command's options, in the messages of errors."""

from collections.abc import Mapping

from hdtrans.common.errors import Spelling, as_argument, as_text


def flags(names: Mapping[str, str | None] | None = None) -> Spelling:
    """Return a command's spelling of the library's arguments: `max_memory`, 4G is `--max-memory 4G`.

    Args:
        names: options (`--direction`) and positions (`MODEL`) whose names follow otherwise; None where the command has
            no such option. Keys of a recipe (`data.root`) stay as they are.
    """
    known = names or {}

    def spell(argument: str, value: object) -> str | None:
        if "." in argument:
            return as_argument(argument, value)
        name = known.get(argument, f"--{argument.replace('_', '-')}")
        if name is None or value is None or value is True:
            return name
        return f"{name} {as_text(value)}"

    return spell
