"""`hdtrans benchmark [inference training reading preparing]`: how fast it is here, and against the original's way."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and measure; exit codes: see `hdtrans.cli.run_tool`."""
    parser = argparse.ArgumentParser(
        prog="hdtrans benchmark",
        description="Measure pix2pixHD at full width with random weights: hdtrans and the way of the original program "
        "take turns, and what the machine can do is measured in the same run.",
    )
    parser.add_argument("what", nargs="*", help="inference, training, reading, preparing (default: all)")
    parser.add_argument("--size", default="512x256", metavar="WxH", help="of the pictures (default: %(default)s)")
    parser.add_argument("--enhancers", type=int, choices=(0, 1), default=0, help="local enhancers (default: 0)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (default: 3)")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU (default: 1)")
    parser.add_argument("--dtype", default="auto", help="auto, fp32, bf16, fp16 (default: auto)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="train_label/ train_inst/ train_img/ (toy scenes)")
    parser.add_argument("--original", type=Path, metavar="FILE", help="of the original's way; this file is run")
    parser.add_argument("--growth", action="store_true", help="also at half and a quarter of the size")
    parser.add_argument("--json", action="store_true", help="print all figures for programs")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write an HTML page with plots")
    given = parser.parse_args(arguments)

    os.environ.setdefault("KINETO_LOG_LEVEL", "9")  # torch's profiler tells of itself otherwise
    from hdtrans.benchmark.report import report_page, report_text
    from hdtrans.benchmark.run import SUBJECTS, Plan, benchmark
    from hdtrans.common.files import write_text
    from hdtrans.config import Size

    plan = Plan(
        given.what or SUBJECTS,
        Size.model_validate(given.size),
        given.enhancers,
        given.rounds,
        given.threads,
        given.dtype,
        given.device,
        given.data,
        given.original,
        given.growth,
    )
    found = benchmark(plan, lambda line: print(line, file=sys.stderr))
    print(json.dumps(found, indent=1) if given.json else report_text(found))
    if given.page is not None:
        write_text(given.page, report_page(found))
    return 0
