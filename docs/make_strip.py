"""Draw the README's strip: label map, result and true picture of two test scenes of a demo.

`python docs/make_strip.py DEMO docs/strip.jpg 00002 00006` reads the folders of `hdtrans demo --out DEMO`.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hdtrans.common.classes import ClassTable

CAPTIONS = ("label map", "result", "true picture")
GAP, BAND = 6, 24  # pixels between pictures, and of the captions above them


def columns_of(demo: Path, name: str, classes: ClassTable) -> list[Image.Image]:
    """Return the coloured label map, the result and the true picture of one test scene, all of one size."""
    label = np.asarray(Image.open(demo / "toycity" / "test_label" / f"{name}.png"))
    result = Image.open(demo / "pictures" / f"{name}.png").convert("RGB")
    truth = Image.open(demo / "toycity" / "test_img" / f"{name}.png").convert("RGB")
    return [Image.fromarray(classes.colourise(label)), result, truth]


def strip(rows: list[list[Image.Image]]) -> Image.Image:
    """Return one picture of all rows, with captions above the first."""
    width, height = rows[0][0].size
    canvas = Image.new("RGB", (3 * width + 2 * GAP, BAND + len(rows) * (height + GAP) - GAP), "white")
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=14)
    for column, caption in enumerate(CAPTIONS):
        centre = column * (width + GAP) + width // 2
        draw.text((centre, BAND // 2), caption, fill=(40, 40, 40), font=font, anchor="mm")
    for row, pictures in enumerate(rows):
        for column, picture in enumerate(pictures):
            canvas.paste(picture, (column * (width + GAP), BAND + row * (height + GAP)))
    return canvas


def main(demo: str, out: str, *names: str) -> None:
    """Draw the named test scenes of a demo; without names, the first two."""
    folder = Path(demo)
    classes = ClassTable.read(folder / "toycity" / "dataset.json")
    names = names or tuple(sorted(file.stem for file in (folder / "pictures").glob("*.png"))[:2])
    strip([columns_of(folder, name, classes) for name in names]).save(out, quality=90, subsampling=0)
    print(f"{out}: {', '.join(names)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
