"""`hdtrans check_data RECIPE_OR_FOLDER`: read all data of a training and report their problems."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from hdtrans.common.cores import cores
from hdtrans.common.errors import UserError
from hdtrans.common.files import write_text
from hdtrans.config.loading import load_recipe, packaged_recipes
from hdtrans.prepare.check.contact_sheet import check_sheet_path, write_sheet
from hdtrans.prepare.check.run import check_data


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and check; return 0 if the data are clean, 1 if there are errors or warnings."""
    parser = argparse.ArgumentParser(
        prog="hdtrans check_data",
        description="Read every file of a recipe's data, or of a training folder, and report all findings at once; the "
        "report ends with recipe lines that fit. Exit codes: 0 clean (notes at most), 1 errors or warnings, 2 usage.",
        epilog=f"Recipes that come with the package: {', '.join(sorted(packaged_recipes()))}.",
    )
    parser.add_argument("given", metavar="RECIPE_OR_FOLDER", help="YAML file, recipe's name, or training folder")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="changes of the recipe, as in hdtrans train")
    parser.add_argument("--json", action="store_true", help="print JSON with every file of every finding")
    parser.add_argument("--json-to", type=Path, metavar="FILE", help="also write that JSON to a file")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="write a contact sheet of 16 samples: .html or .png")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sheet's samples (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=cores(), help="number of reading threads (default: %(default)s)")
    given = parser.parse_intermixed_args(arguments)
    if given.workers < 1 or given.seed < 0:
        raise UserError("--workers is 1 or more, --seed 0 or more")
    if given.sheet:
        check_sheet_path(given.sheet)
    folder = Path(given.given)
    if folder.is_dir() and given.overrides:
        raise UserError(f"{given.overrides[0]!r}: a folder takes no overrides; give a recipe, with data.root={folder}")
    recipe = None if folder.is_dir() else load_recipe(given.given, given.overrides)
    report = check_data(recipe or folder, given.workers)
    print(report.json() if given.json else report.text())
    if given.json_to:
        write_text(given.json_to, report.json())
    if given.sheet:
        write_sheet(report.facts, given.sheet, given.seed)
    return 0 if report.clean else 1
