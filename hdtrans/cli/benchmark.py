"""`hdtrans benchmark [inference training reading preparing]`: speed and memory on this machine."""

import argparse
import json
import os
import sys
from collections.abc import Sequence

from hdtrans.cli.flags import flags

SPELLING = flags({"root": "--data", "label_dir": None, "photo_dir": None, "instance_dir": None})


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and measure; exit codes: see `hdtrans.cli.run_tool`."""
    from hdtrans.benchmark.options import add_options

    parser = argparse.ArgumentParser(
        prog="hdtrans benchmark",
        description="Measure pix2pixHD at full width with random weights: time, memory, and the share of the "
        "machine's ceiling (a large convolution; for files, the codecs alone) measured in the same rounds.",
    )
    add_options(parser)
    given = parser.parse_args(arguments)

    os.environ.setdefault("KINETO_LOG_LEVEL", "9")  # silences torch's profiler
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    from hdtrans.benchmark.plan import SUBJECTS, Plan
    from hdtrans.benchmark.report import report_page, report_text
    from hdtrans.benchmark.run import benchmark
    from hdtrans.common.cores import cores
    from hdtrans.common.files import write_text

    plan = Plan(
        what=given.what or SUBJECTS,
        size=given.size,
        enhancers=given.enhancers,
        rounds=given.rounds,
        threads=given.threads or (cores() if given.busy else 1),
        busy=given.busy,
        dtype=given.dtype,
        device=given.device,
        data=given.data,
        width=given.width,
    )
    found = benchmark(plan, lambda line: print(line, file=sys.stderr))
    print(json.dumps(found, indent=1) if given.json else report_text(found))
    if given.page is not None:
        write_text(given.page, report_page(found))
    return 0
