"""Names of results and thumbnails in an output folder, and the page that shows them."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from hdtrans.common import pages
from hdtrans.common.errors import UserError
from hdtrans.common.files import fitting_name
from hdtrans.data.derived import to_rgb
from hdtrans.data.folders import SampleFiles
from hdtrans.data.io.shards import on_disk
from hdtrans.inference.folder.files import REFERENCE, Folders
from hdtrans.inference.folder.finished import THUMBNAILS, TRUTH
from hdtrans.inference.folder.results import thinned
from hdtrans.inference.translator import Picture, Translator


class Gallery:
    """Results of a folder on one page: inputs, references, results and true pictures, a row for each input.

    Args:
        translator: model.
        folders: inputs, folder of the results, and options.
        ending: ending of the results' names.
        holds_truth: the inputs hold the true pictures.
    """

    def __init__(self, translator: Translator, folders: Folders, ending: str, holds_truth: bool) -> None:
        self.translator, self.folders, self.ending = translator, folders, ending
        self._with_truth = folders.truth is not None or holds_truth

    @property
    def numbers(self) -> range:
        """Numbers of the samples of each input."""
        return range(self.folders.num_samples)

    def folder(self, number: int) -> str:
        """Return the folder of a sample in `out`; '' for a single sample, which lies in `out` itself."""
        return f"sample_{number}" if self.folders.num_samples > 1 else ""

    def target(self, sample: SampleFiles, number: int = 0) -> Path:
        """Return the file of a result."""
        return self.folders.out / self.folder(number) / f"{sample.name}.{self.ending}"

    def small(self, sample: SampleFiles, number: int) -> Path:
        """Return the thumbnail of a result."""
        return self.thumbnail(sample, self.folder(number) or "result")

    def thumbnail(self, sample: SampleFiles, kind: str) -> Path:
        """Return a thumbnail of a sample; of a long name, it has the start and a hash."""
        return self.folders.out / THUMBNAILS / fitting_name(sample.name, f"_{kind}.jpg")

    def write_thumbnails(
        self,
        sample: SampleFiles,
        given: Picture,
        truth: Picture | None,
        reference: Picture | None,
        results: Sequence[Picture],
    ) -> str:
        """Write the thumbnails of a sample; return why one could not be written, or ''."""
        pictures: Mapping[Path, Picture | None] = {
            self.thumbnail(sample, "input"): given,
            self.thumbnail(sample, "truth"): truth,
            self.thumbnail(sample, REFERENCE): reference,
            **{self.small(sample, number): result for number, result in enumerate(results)},
        }
        try:
            for path, picture in pictures.items():
                if picture is not None:
                    pages.write_thumbnail(path, to_rgb(thinned(picture), self.translator.classes))
        except UserError as error:  # the picture itself may still fit
            return str(error)
        return ""

    def write_page(self, samples: Sequence[SampleFiles], failed: Collection[str]) -> None:
        """Write `index.html` with all finished pictures, of all processes."""
        rows = [self._row(sample) for sample in samples if sample.name not in failed]
        columns = ["label map" if self.translator.lead.values == "classes" else "input"]
        columns += [REFERENCE] if self.folders.reference is not None else []
        columns += [self.folder(number) or "result" for number in self.numbers]
        columns += ["truth"] if self._with_truth else []
        shown = [row for row in rows if row]
        name = self.translator.recipe.name
        pages.write_gallery(self.folders.out, f"{name}: {len(shown)} pictures", columns, shown)

    def _row(self, sample: SampleFiles) -> pages.GalleryRow | None:
        """Return a row of the gallery, or None without a result; thumbnails lead to files, but for label maps."""
        targets = [self.target(sample, number) for number in self.numbers]
        if not all(target.is_file() for target in targets):
            return None
        row = [_shown(self._lead_picture(sample), self.thumbnail(sample, "input"))]
        if self.folders.reference is not None:
            row.append(_shown(sample.paths.get(REFERENCE), self.thumbnail(sample, REFERENCE)))
        row += [_shown(str(target), self.small(sample, number)) for number, target in enumerate(targets)]
        if self._with_truth:
            row.append(_shown(sample.paths.get(TRUTH), self.thumbnail(sample, "truth")))
        return pages.GalleryRow(sample.name, row)

    def _lead_picture(self, sample: SampleFiles) -> str | None:
        """Return the file of the lead input if it is a picture, which a page can show; else None."""
        return sample.paths.get(self.translator.lead.name) if self.translator.lead.kind == "image" else None


def _shown(path: str | None, small: Path) -> pages.Picture | None:
    """Return a picture with its thumbnail; without one, the picture itself; None if neither exists.

    Files inside shards have no address: their thumbnail leads to itself.
    """
    small = small.resolve()
    whole = Path(path).resolve() if path and on_disk(path) == path else small
    thumbnail = small if small.is_file() else whole
    return pages.Picture(whole, thumbnail) if whole.is_file() else None
