"""Infer a recipe from weights and options of the original programs, and their options from a recipe."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hdtrans.common.errors import UserError
from hdtrans.inference.originals.shapes import Guess

Options = Mapping[str, str]
Values = dict[str, Any]

_UNETS = {7: "unet_128", 8: "unet_256"}


@dataclass(frozen=True)
class Findings:
    """Known facts on a model of an original program.

    Attributes:
        where: file of the generator.
        letters: letters of the networks whose weights exist.
        generator: generator inferred from its weights; `G_A` of two.
        discriminator: discriminator inferred from its weights, or None.
        encoder: encoder of pix2pixHD inferred from its weights, or None.
        biased: True if the generator's layers have a bias before batch norm.
        options: options of the original training, as far as they are known.
        given: values of the recipe given by the user.
    """

    where: str
    letters: tuple[str, ...]
    generator: Guess
    discriminator: Guess | None
    encoder: Guess | None
    biased: bool
    options: Options
    given: Values

    def section(self, name: str) -> Values:
        """Return a section of the user's values."""
        section = self.given.get(name, {})
        return section if isinstance(section, dict) else {}


def recipe_values(name: str, found: Findings) -> tuple[Values, list[str]]:
    """Return plain values of a recipe, and the assumptions made, one line each.

    Raises:
        UserError: weights, options and the user's values do not determine the inputs; the message names keys to give.
    """
    kind = _method_kind(found)
    data, method, assumed = _pix2pixhd(found) if kind == "pix2pixhd" else _of_pictures(found, kind)
    data = {"root": found.options.get("dataroot", "."), "photo_channels": found.generator.out_channels, **data}
    if data["kind"] == "photos":
        del data["photo_channels"]
    return {"name": name, "data": data, "method": {"kind": kind, **method}, "stages": [_stage(found.options)]}, assumed


def _method_kind(found: Findings) -> str:
    """Return the method; the global generator of pix2pixHD equals the ResNet of CycleGAN, so other signs decide."""
    given = found.section("method").get("kind")
    if given is not None:
        return str(given)
    if "G" not in found.letters:
        return "cyclegan"
    judge = None if found.discriminator is None else found.discriminator.kind
    signs = [
        ("pix2pix", found.generator.kind == "unet"),
        ("pix2pixhd", found.generator.kind == "enhanced" or judge in ("multiscale", "multiscale_plain")),
        ("pix2pixhd", found.encoder is not None),
        ("pix2pix", judge is not None),
        ("pix2pixhd", "label_nc" in found.options or "labels" in found.section("data")),
        ("pix2pix", "dataset_mode" in found.options),
        ("pix2pixhd", found.biased and found.generator.section["norm"] == "batch"),
        ("pix2pix", found.generator.section["downsamples"] == 2 and found.generator.channels in (1, 3)),
    ]
    return next((kind for kind, sign in signs if sign), "pix2pixhd")


def _pix2pixhd(found: Findings) -> tuple[Values, Values, list[str]]:
    options, given, reads = found.options, found.section("data"), found.generator.channels
    of_pictures = options.get("label_nc") == "0" and "labels" not in given
    kind = given.get("kind", "picture_pairs" if of_pictures else "label_maps")
    key = "labels" if kind == "label_maps" else "source_channels"
    default = options.get("label_nc") if kind == "label_maps" else options.get("input_nc", 3)
    count = given.get(key, default)
    features, assumed = _features(found)
    encoded = features["count"] if features else 0
    if count is None:
        labels = reads - encoded
        beside = f", beside {encoded} features of an encoder," if features else ""
        raise UserError(
            f"the first layer reads {reads} channels, and neither the weights nor an opt.txt beside them describe "
            f"these{beside.rstrip(',')}. Give data.labels={labels - 1} for {labels - 1} classes and the boundaries of "
            f"instance maps (the original's default), data.labels={labels} for {labels} classes without, or "
            "data.kind=picture_pairs for a picture (with data.source_channels, if it has not 3)",
            path=found.where,
        )
    more = reads - int(count) - encoded
    if more not in (0, 1) and more + encoded in (0, 1):
        features, assumed, more = None, [], more + encoded
    if more not in (0, 1):
        noun = "classes" if key == "labels" else "channels of a picture"
        beside = f" with {encoded} features of an encoder (method.features.count)," if features else ""
        instead = "" if features else ". If it was trained with features of an encoder, put latest_net_E.pth beside it"
        raise UserError(
            f"the first layer reads {reads} channels, which are not {count} {noun} (data.{key}){beside} alone or with "
            f"the boundaries of instances{instead}",
            path=found.where,
        )
    section = {k: v for k, v in found.generator.section.items() if k not in ("kind", "dropout")}
    judge = found.discriminator
    plain = judge.kind == "multiscale_plain" if judge else _is_set(options, "no_ganFeat_loss")
    silent = _is_set(options, "no_vgg_loss") or found.generator.out_channels != 3
    method = {
        "condition": {"boundary": "instance" if more else "none"},
        "generator": section,
        "features": features,
        "discriminator": judge.section if judge else {},
        "adversarial": {"kind": "vanilla" if _is_set(options, "no_lsgan") else "lsgan"},
        "feature_matching": {"weight": 0 if plain else _number(options, "lambda_feat", 10)},
        "perceptual": {"kind": "none"} if silent else {"weight": _number(options, "lambda_feat", 10)},
        "translate": {"norm": "image"} if section["norm"] == "batch" else {},
    }
    return {"kind": kind, key: int(count)}, method, assumed


def _features(found: Findings) -> tuple[Values | None, list[str]]:
    """Return the section `features` of a model with an encoder, else None; and the assumptions made."""
    options, given = found.options, found.section("method").get("features")
    is_set = _is_set(options, "instance_feat") or _is_set(options, "label_feat")
    is_unset = "instance_feat" in options and not is_set
    if not given and not is_set and (found.encoder is None or is_unset):
        return None, []
    section = {
        "count": _number(options, "feat_num", 3),
        "width": _number(options, "nef", 16),
        "downsamples": _number(options, "n_downsample_E", 4),
        "pool": "label" if _is_set(options, "label_feat") else "instance",
    }
    section |= found.encoder.section if found.encoder else {}
    section |= given if isinstance(given, dict) else {}
    known = is_set or (isinstance(given, dict) and "pool" in given)
    return section, [] if known else ["features are pooled by instance (method.features.pool)"]


def _of_pictures(found: Findings, kind: str) -> tuple[Values, Values, list[str]]:
    """Return the sections `data` and `method` of pix2pix or CycleGAN, and the assumptions made."""
    options, judge, assumed = found.options, found.discriminator, []
    section = dict(found.generator.section)
    section.setdefault("kind", "resnet")
    if section["kind"] == "unet":
        section["dropout"] = not _is_set(options, "no_dropout") if "no_dropout" in options else kind == "pix2pix"
        if "no_dropout" not in options and "dropout" not in found.section("method").get("generator", {}):
            word = "with" if section["dropout"] else "without"
            assumed.append(f"{word} dropout, as {kind} has it by default (method.generator.dropout)")
    method: Values = {"generator": section, "discriminator": judge.section if judge else {}}
    default = "vanilla" if kind == "pix2pix" else "lsgan"
    if "no_lsgan" in options:
        default = "vanilla" if _is_set(options, "no_lsgan") else "lsgan"
    loss = options.get("gan_mode", default)
    if loss != "wgangp" or (judge is not None and judge.section["norm"] != "batch"):
        method["adversarial"] = {"kind": loss}
    a, b = found.generator.channels, found.generator.out_channels
    if kind == "cyclegan":
        a, b = (a, b) if "G_A" in found.letters else (b, a)
        method["cycle"] = {"weight_a": _number(options, "lambda_A", 10), "weight_b": _number(options, "lambda_B", 10)}
        share = _number(options, "lambda_identity", _number(options, "identity", 0.5))
        method["identity"] = {"weight": share if a == b else 0}
        if options.get("direction", options.get("which_direction")) == "BtoA":
            assumed.append("it was trained with direction BtoA: its A are the pictures of trainB")
        return {"kind": "unpaired", "source_channels": a, "photo_channels": b}, method, assumed
    method["l1"] = {"weight": _number(options, "lambda_L1", 100)}
    return _paired_data(found, a, b), method, assumed


def _paired_data(found: Findings, a: int, b: int) -> Values:
    """Return the section `data` of pix2pix."""
    mode = found.options.get("dataset_mode")
    kind = found.section("data").get("kind")
    if mode == "colorization" and kind is None:
        return {"kind": "photos", "input": {"kind": "lab"}}
    kind = kind or ("side_by_side" if mode == "aligned" and (a == b or {a, b} == {1, 3}) else "picture_pairs")
    data = {"kind": kind}
    if kind in ("picture_pairs", "side_by_side"):
        backwards = found.options.get("direction", found.options.get("which_direction")) == "BtoA"
        data |= {"source_channels": a, "direction": "BtoA" if backwards else "AtoB"}
    return data


def _stage(options: Options) -> Values:
    """Return the one stage of a recipe: the original's sizes if a stage can have them, else files as they are."""
    crop = _number(options, "crop_size", _number(options, "fineSize", 0))
    load = _number(options, "load_size", _number(options, "loadSize", 0))
    geometry = options.get("preprocess", options.get("resize_or_crop"))
    stage: Values = {"geometry": "none"}
    if geometry == "resize_and_crop" and load >= crop > 0:
        stage = {"geometry": geometry, "size": f"{crop:g}x{crop:g}", "load": f"{load:g}x{load:g}"}
    elif geometry == "crop" and crop > 0:
        stage = {"geometry": geometry, "size": f"{crop:g}x{crop:g}"}
    epochs = {
        "epochs": _number(options, "n_epochs", _number(options, "niter", 100)),
        "decay_epochs": _number(options, "n_epochs_decay", _number(options, "niter_decay", 100)),
    }
    return {**stage, **epochs}


def _is_set(options: Options, key: str) -> bool:
    return options.get(key) == "True"


def _number(options: Options, key: str, default: float) -> float:
    try:
        number = float(options[key])
    except (KeyError, ValueError):
        return default
    return int(number) if number.is_integer() else number


def original_options(data: Values, method: Values, enhancers: int, scales: int) -> tuple[Options, list[str]]:
    """Return the options with which an original program builds these networks, and its limits, one line each.

    Args:
        data, method: sections of a resolved recipe, as plain values.
        enhancers: number of enhancers in use (pix2pixHD).
        scales: number of discriminators (pix2pixHD).

    Raises:
        UserError: the original has no such layers.
    """
    generator, judge = method["generator"], method["discriminator"]
    if generator.get("upsampling", "deconv") != "deconv":
        finding = "the original programs have transposed convolutions alone"
        raise UserError(finding, argument="method.generator.upsampling", value="resize")
    if generator.get("residual"):
        finding = "the original programs have no generator that adds to its input"
        raise UserError(finding, argument="method.generator.residual", value=True)
    condition = method.get("condition", {"boundary": "none", "ignored": "zeros"})
    labels = data.get("labels", 0) if data["kind"] == "label_maps" else 0
    if labels and data["ignore"] is not None and condition["ignored"] == "channel":
        labels += 1
    boundary = condition["boundary"] != "none"
    notes = _notes_on_instances(data, method)
    if condition["boundary"] == "labels":
        notes.append("its boundaries are those of the label maps: give the original the label maps as instance maps")
    if generator["norm"] != judge["norm"]:
        notes.append(f"generator and discriminator have different norms ({generator['norm']}, {judge['norm']})")
    options: dict[str, Any] = {
        "input_nc": data.get("source_channels", 3),
        "output_nc": data["photo_channels"],
        "norm": generator["norm"],
        "ngf": generator["width"] // 2**enhancers,
        "ndf": judge["width"],
        "n_layers_D": judge.get("layers", 3),
    }
    if method["kind"] == "pix2pixhd":
        options |= {"label_nc": labels, "no_instance": not boundary, "num_D": scales, **_pix2pixhd_options(method)}
        options |= {"netG": "local", "n_local_enhancers": enhancers} if enhancers else {"netG": "global"}
    else:
        net, more = _net(generator)
        notes += more
        options |= {"netG": net, "direction": data.get("direction", "AtoB"), **_options_of_pictures(method)}
        if labels or boundary:
            options["input_nc"] = (labels or data["source_channels"]) + boundary
            notes.append("it reads class channels or boundaries, which the original's data sets do not make")
    return {key: str(value) for key, value in options.items()}, notes


def _pix2pixhd_options(method: Values) -> Values:
    generator = method["generator"]
    return {
        "n_downsample_global": generator["downsamples"],
        "n_blocks_global": generator["blocks"],
        "n_blocks_local": generator["enhancer_blocks"],
        "no_ganFeat_loss": method["feature_matching"]["weight"] == 0,
        "lambda_feat": method["feature_matching"]["weight"],
        "no_lsgan": method["adversarial"]["kind"] == "vanilla",
        "no_vgg_loss": method["perceptual"]["kind"] == "none",
        **_feature_options(method.get("features")),
    }


def _feature_options(features: Values | None) -> Values:
    if not features:
        return {"instance_feat": False, "label_feat": False}
    return {
        "instance_feat": features["pool"] == "instance",
        "label_feat": features["pool"] == "label",
        "feat_num": features["count"],
        "nef": features["width"],
        "n_downsample_E": features["downsamples"],
    }


def _notes_on_instances(data: Values, method: Values) -> list[str]:
    """Return lines on instance maps that the original would lack."""
    notes = []
    if data.get("instances") == "components":
        notes.append("its instance maps are the connected components of label maps: give the original such maps")
    features, condition = method.get("features"), method.get("condition", {})
    if features and features["pool"] == "instance" and condition.get("boundary") == "none":
        notes.append("it pools by instance and sees no boundaries: with no_instance, the original reads no such maps")
    return notes


def _options_of_pictures(method: Values) -> Values:
    model, mode = ("cycle_gan", "unaligned") if method["kind"] == "cyclegan" else ("pix2pix", "aligned")
    return {
        "model": model,
        "dataset_mode": mode,
        "no_dropout": not method["generator"]["dropout"],
        "netD": "pixel" if method["discriminator"]["kind"] == "pixel" else "n_layers",
        "gan_mode": method["adversarial"]["kind"],
    }


def _net(generator: Values) -> tuple[str, list[str]]:
    """Return the original's name for a generator, and a line if it has none."""
    if generator["kind"] == "unet":
        name = _UNETS.get(generator["downsamples"])
    else:
        fits = generator["downsamples"] == 2 and generator["blocks"] in (6, 9)
        name = f"resnet_{generator['blocks']}blocks" if fits else None
    if name:
        return name, []
    return generator["kind"], [
        "the original's define_G builds unet_128, unet_256, resnet_6blocks and resnet_9blocks alone"
    ]
