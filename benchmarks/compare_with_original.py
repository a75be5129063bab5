"""Compare hdtrans with the 2018 way, or with another checkout, in turns on this machine.

python benchmarks/compare_with_original.py [inference training reading preparing] [--growth] [--page FILE]
python benchmarks/compare_with_original.py inference training --other CHECKOUT --rounds 7
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)  # not this folder: its modules are `benchmarks.*`


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, measure and print; return 0, or 2 for wrong input, 1 for a lost process."""
    from hdtrans.benchmark.options import add_options

    parser = argparse.ArgumentParser(prog="compare_with_original.py", description=__doc__.partition("\n")[0])
    add_options(parser)
    add = parser.add_argument
    add("--original", type=Path, metavar="FILE", help="Python file with the 2018 way; it is run (default: own)")
    add(
        "--growth",
        action="store_true",
        help="also measure sizes from 256x128 up to --size, batches, and training in two processes",
    )
    add("--other", type=Path, metavar="CHECKOUT", help="compare inference and training with this checkout instead")
    given = parser.parse_args(arguments)
    os.environ.setdefault("KINETO_LOG_LEVEL", "9")  # silences torch's profiler
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    from hdtrans.common.errors import ProcessError, UserError

    try:
        found, text, page = _checkouts(given) if given.other else _original(given)
    except (UserError, ProcessError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(found, indent=1) if given.json else text)
    if given.page is not None:
        given.page.write_text(page, encoding="utf-8")
    return 0


def _settings(given: argparse.Namespace) -> dict[str, Any]:
    names = ("size", "enhancers", "rounds", "threads", "dtype", "device")
    return {name: getattr(given, name) for name in names}


def _original(given: argparse.Namespace) -> tuple[dict[str, Any], str, str]:
    from benchmarks.comparison import compare
    from benchmarks.plan import Comparison, sizes_up_to
    from benchmarks.report import report_page, report_text
    from hdtrans.benchmark.plan import SUBJECTS

    growth = sizes_up_to(given.size) if given.growth else ()
    plan = Comparison(
        given.what or SUBJECTS, **_settings(given), data=given.data, original=given.original, growth=growth
    )
    found = compare(plan, _progress)
    return found, report_text(found), report_page(found)


def _checkouts(given: argparse.Namespace) -> tuple[dict[str, Any], str, str]:
    from benchmarks.checkouts import compare_checkouts, report_text
    from hdtrans.benchmark.plan import Plan
    from hdtrans.common.pages import page

    plan = Plan(given.what or ("inference", "training"), **_settings(given))
    found = compare_checkouts(plan, ROOT, given.other, _progress)
    text = report_text(found)
    return found, text, page("Comparison of two checkouts", f"<pre>{text}</pre>")


def _progress(line: str) -> None:
    print(line, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
