"""Sections that several methods have in common: generators, discriminators, condition, encoder and translation.

The defaults of `UNetSection`, `ResNetSection`, `PatchSection` and `PixelSection` are pix2pix's, and
`hdtrans.networks.build` makes those networks.
"""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, PositiveInt, model_validator

from hdtrans.config.section import Section

Boundary = Literal["instance", "labels", "none"]
Ignored = Literal["zeros", "channel"]
Norm = Literal["instance", "batch", "none"]
Pool = Literal["instance", "label"]

MOST_SCALES = 6
"""Largest number of discriminators of `MultiscaleSection`."""

Width = Annotated[PositiveInt, Field(description="Channels after the first convolution.")]
NormKey = Annotated[Norm, Field(description="Normalisation after convolutions; `batch` trains with one process only.")]
Dropout = Annotated[
    bool,
    Field(
        description="Noise by dropout in the generator: in the innermost layers of a U-Net, in every block of a ResNet."
    ),
]
Upsampling = Annotated[
    Literal["deconv", "resize"],
    Field(
        description="Upsampling: `deconv`, the original's transposed convolution, or `resize`, nearest neighbour and a "
        "convolution, which leaves no checkerboards and costs some more compute."
    ),
]
Recompute = Annotated[
    bool,
    Field(
        description="Keep fewer activations and compute them again in the backward pass: less memory, a third more "
        "compute. Not with batch norm."
    ),
]
Layers = Annotated[
    int,
    Field(ge=1, le=6, description="Convolutions with stride 2; 3 layers judge patches of 70x70 pixels."),
]
Rate = Annotated[
    float,
    Field(gt=0, description="Factor on the learning rate of the stage (two time scales, Heusel et al. 2017)."),
]
SpectralNorm = Annotated[
    bool,
    Field(description="Spectral norm: divide every convolution by its largest singular value (Miyato et al. 2018)."),
]


class ConditionSection(Section):
    """Channels that the networks see beside the one-hot label map or the input picture."""

    boundary: Annotated[
        Boundary,
        Field(
            description="One more channel with boundaries: of the `instance` map, or of the label map (`labels`). "
            "`none` adds no channel."
        ),
    ] = "none"
    ignored: Annotated[
        Ignored,
        Field(description="Pixels with the ignored id: `zeros` in all channels, or a `channel` of their own."),
    ] = "zeros"


class UNetSection(Section):
    """U-Net with skip connections (Isola et al. 2017)."""

    kind: Literal["unet"] = "unet"
    width: Width = 64
    downsamples: Annotated[
        int, Field(ge=2, le=10, description="Times the size is halved: 8 for 256x256 as in the paper, 7 for 128x128.")
    ] = 8
    norm: NormKey = "batch"
    dropout: Dropout = True

    @property
    def stride(self) -> tuple[int, int]:
        """Number that height and width are padded to multiples of, and the least such multiple."""
        return 2**self.downsamples, 1


class ResNetSection(Section):
    """Residual generator of CycleGAN (Johnson et al. 2016)."""

    kind: Literal["resnet"] = "resnet"
    width: Width = 64
    downsamples: Annotated[int, Field(ge=1, le=8, description="Times the size is halved before the blocks.")] = 2
    blocks: Annotated[
        int, Field(ge=0, description="Residual blocks: 9 for 256x256 as in the paper, 6 for 128x128.")
    ] = 9
    norm: NormKey = "batch"
    dropout: Dropout = True
    upsampling: Upsampling = "deconv"
    recompute: Recompute = False
    residual: Annotated[
        bool,
        Field(
            description="Add the output to the input picture, for pictures that change little (super-resolution). Both "
            "have the same channels."
        ),
    ] = False

    @model_validator(mode="after")
    def _fits(self) -> "ResNetSection":
        refuse_recomputed_batch_norm(self.recompute, self.norm)
        return self

    @property
    def stride(self) -> tuple[int, int]:
        """Number that height and width are padded to multiples of, and the least such multiple."""
        return 2**self.downsamples, 2


class CoarseToFineSection(Section):
    """Generator of pix2pixHD: a trunk at the coarsest size, and local enhancers above it (Wang et al. 2018)."""

    width: Annotated[PositiveInt, Field(description="Channels after the first convolution of the trunk.")] = 64
    downsamples: Annotated[int, Field(ge=1, le=8, description="Times the trunk halves the size.")] = 4
    blocks: Annotated[int, Field(ge=0, description="Residual blocks of the trunk.")] = 9
    enhancers: Annotated[
        int, Field(ge=0, le=4, description="Local enhancers; each doubles the size and halves the width.")
    ] = 0
    enhancer_blocks: Annotated[int, Field(ge=0, description="Residual blocks of each enhancer.")] = 3
    norm: Annotated[
        Literal["instance", "batch"],
        Field(description="Normalisation after convolutions; `batch` trains with one process only."),
    ] = "instance"
    upsampling: Upsampling = "deconv"
    recompute: Recompute = False
    rate: Rate = 1.0

    @model_validator(mode="after")
    def _fits(self) -> "CoarseToFineSection":
        if self.width % 2**self.enhancers:
            raise ValueError(f"width {self.width} must be a multiple of {2**self.enhancers}: each enhancer halves it")
        refuse_recomputed_batch_norm(self.recompute, self.norm)
        return self


class EncoderSection(Section):
    """Encoder of per-instance style features; norm, upsampling and recomputing are the generator's."""

    count: Annotated[int, Field(ge=1, le=256, description="Numbers of one style.")] = 3
    width: Annotated[PositiveInt, Field(description="Channels after the encoder's first convolution.")] = 16
    downsamples: Annotated[int, Field(ge=1, le=8, description="Times the encoder halves the size.")] = 4
    pool: Annotated[Pool, Field(description="Owner of a style: each `instance`, or each class (`label`).")] = "instance"


class PatchSection(Section):
    """Discriminator of patches."""

    kind: Literal["patch"] = "patch"
    width: Width = 64
    layers: Layers = 3
    norm: NormKey = "batch"
    spectral_norm: SpectralNorm = False


class PixelSection(Section):
    """Discriminator of single pixels."""

    kind: Literal["pixel"] = "pixel"
    width: Width = 64
    norm: NormKey = "batch"


class MultiscaleSection(Section):
    """Patch discriminators at several scales; each sees half the size of the next."""

    width: Annotated[PositiveInt, Field(description="Channels after the first convolution of each.")] = 64
    layers: Layers = 3
    scales: Annotated[
        int, Field(ge=0, le=MOST_SCALES, description="Number of discriminators; 0 leaves the `segmenter` alone.")
    ] = 2
    norm: NormKey = "instance"
    spectral_norm: SpectralNorm = False
    rate: Rate = 1.0


class BatchNormSection(Section):
    """Batch norm of a trained model in translating."""

    norm: Annotated[
        Literal["running", "image"],
        Field(
            description="Statistics of batch norm: those gathered in training (`running`), or those of each picture "
            "(`image`), as the original does."
        ),
    ] = "running"


class TranslateSection(Section):
    """Dropout and batch norm of a trained model in translating."""

    dropout: Annotated[
        bool, Field(description="Keep the generator's dropout, as the original does: the seed then varies pictures.")
    ] = True
    norm: Annotated[
        Literal["running", "image"],
        Field(
            description="Statistics of batch norm: those gathered in training (`running`), or those of each picture "
            "(`image`), as the original does."
        ),
    ] = "image"


def kind_or(default: str) -> Discriminator:
    """Return a discriminator by the key `kind` of a section that may leave it out."""

    def kind(value: Any) -> Any:
        return value.get("kind", default) if isinstance(value, dict) else getattr(value, "kind", default)

    return Discriminator(kind)


def refuse_recomputed_batch_norm(recompute: bool, norm: Norm) -> None:
    """Raise ValueError if layers with batch norm would be recomputed."""
    if recompute and norm == "batch":
        raise ValueError("recompute runs a layer twice, and batch norm would count the batch twice; use instance")


def refuse_residual(generator: UNetSection | ResNetSection, given: int, wanted: int) -> None:
    """Raise ValueError if the generator cannot add to its input picture.

    Args:
        generator: section of the generator.
        given: channels of the input picture, 0 if the input is none.
        wanted: channels of the target picture.
    """
    if isinstance(generator, ResNetSection) and generator.residual and given != wanted:
        what = f"the input picture has {given} channel(s)" if given else "the input is no picture"
        raise ValueError(
            f"method.generator.residual: adds to the input picture, but {what} and the wanted one has {wanted}; leave "
            "it out"
        )


def refuse_batch_norm(adversarial: str, norm: Norm) -> None:
    """Raise ValueError if a discriminator with this norm cannot have this adversarial loss."""
    if adversarial == "wgangp" and norm == "batch":
        raise ValueError(
            "adversarial.kind: wgangp needs a discriminator that judges each picture for itself, and batch norm mixes "
            "them; give discriminator: {norm: instance} or {norm: none}"
        )
