"""What `hdtrans benchmark` is asked on the command line."""

import argparse
import re
from pathlib import Path

from hdtrans.config.stage import Size


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what is measured, how, and where figures go."""
    parser.add_argument("what", nargs="*", help="inference, training, reading, preparing (default: all)")
    parser.add_argument(
        "--size",
        type=_size,
        default="512x256",
        metavar="WxH",
        help="of the pictures, and of what is read and prepared at a smaller size (default: %(default)s)",
    )
    parser.add_argument("--enhancers", type=int, choices=(0, 1), default=0, help="local enhancers (default: 0)")
    parser.add_argument("--rounds", type=_count, default=3, metavar="N", help="turns of each (default: 3)")
    parser.add_argument("--threads", type=_count, default=1, metavar="N", help="of the CPU (default: 1)")
    parser.add_argument("--dtype", default="auto", help="auto, fp32, bf16, fp16 (default: auto)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="train_label/ train_inst/ train_img/ (default: toy scenes of 2048x1024)",
    )
    parser.add_argument("--original", type=Path, metavar="FILE", help="of the original's way; the file is run")
    parser.add_argument(
        "--growth",
        action="store_true",
        help="also measure from 256x128 up to the size, in batches, and training with two processes",
    )
    parser.add_argument("--json", action="store_true", help="print all figures for programs")
    parser.add_argument("--page", type=Path, metavar="FILE", help="also write an HTML page, with plots of --growth")


def _size(text: str) -> Size:
    found = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", text.lower())
    width, height = (int(found[1]), int(found[2])) if found else (0, 0)
    if min(width, height) < 32:
        raise argparse.ArgumentTypeError(f"got {text!r}; give WIDTHxHEIGHT in pixels, from 32x32 on, such as 512x256")
    return Size(width=width, height=height)


def _count(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,3}", text):
        raise argparse.ArgumentTypeError(f"got {text!r}; give a whole number from 1")
    return int(text)
