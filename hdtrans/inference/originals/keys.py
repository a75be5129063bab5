"""Map keys of our state dicts to those of the original programs.

Each function returns the original's module prefix by ours; `rename` applies the map to a state dict. Golden files and
imported checkpoints both use it: no other file knows the originals' keys.
"""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from hdtrans.common.errors import UserError

Keys = dict[str, str]


def pix2pixhd_generator(networks: Mapping[str, nn.Module], enhancers: int) -> Keys:
    """Return the keys of `GlobalGenerator` (no enhancers) or `LocalEnhancer`, for our networks by name."""
    keys, index = _sequence("trunk.segments", networks["trunk"].get_submodule("segments"), "model", first=1)
    if not enhancers:
        keys["head.segment.convolution"] = f"model.{index + 1}"
    for n in range(1, enhancers + 1):
        enhancer = networks[f"enhancer{n}"]
        keys |= _sequence(f"enhancer{n}.before", enhancer.get_submodule("before"), f"model{n}_1", first=1)[0]
        after, index = _sequence(f"enhancer{n}.after", enhancer.get_submodule("after"), f"model{n}_2", first=0)
        keys |= after
        if n == enhancers:
            keys[f"enhancer{n}.head.segment.convolution"] = f"model{n}_2.{index + 1}"
    return keys


def pix2pixhd_discriminator(networks: Mapping[str, nn.Module], scales: int, features: bool = True) -> Keys:
    """Return the keys of `MultiscaleDiscriminator`, with intermediate features or as plain sequences."""
    keys = {}
    for scale in range(scales):
        index = 0
        for layer, segment in enumerate(networks[f"discriminator{scale}"].get_submodule("segments").children()):
            ours = f"discriminator{scale}.segments.{layer}"
            original, at = (f"scale{scale}_layer{layer}", 0) if features else (f"layer{scale}", index)
            keys[f"{ours}.convolution"] = f"{original}.{at}"
            keys[f"{ours}.norm.batch"] = f"{original}.{at + 1}"
            index += 2 if _has_no_norm(segment) else 3
    return keys


def unet(name: str, network: nn.Module) -> Keys:
    """Return the keys of `UnetGenerator`, a nest of blocks, for our U-Net called `name`."""
    levels = len(list(network.get_submodule("encoder").children()))
    first, last = f"{name}.encoder.0.convolution", f"{name}.decoder.{levels - 1}.convolution"
    keys = {first: "model.model.0", last: "model.model.3"}
    block = "model.model.1.model"
    for level in range(1, levels):
        innermost = level == levels - 1
        rising = 3 if innermost else 5
        encoder, decoder = f"{name}.encoder.{level}", f"{name}.decoder.{levels - 1 - level}"
        keys |= {f"{encoder}.convolution": f"{block}.1", f"{decoder}.convolution": f"{block}.{rising}"}
        keys[f"{decoder}.norm.batch"] = f"{block}.{rising + 1}"
        if not innermost:
            keys[f"{encoder}.norm.batch"] = f"{block}.2"
        block += ".3.model"
    return keys


def resnet(name: str, network: nn.Module) -> Keys:
    """Return the keys of `ResnetGenerator`, or of pix2pixHD's `Encoder`, for our ResNet or encoder called `name`."""
    keys, index = _sequence(f"{name}.segments", network.get_submodule("segments"), "model", first=1)
    return {**keys, f"{name}.last.convolution": f"model.{index + 1}"}


def discriminator(name: str, network: nn.Module) -> Keys:
    """Return the keys of `NLayerDiscriminator` or `PixelDiscriminator`, for our discriminator called `name`."""
    segments = network.get_submodule("segments")
    first = segments.get_submodule("0.convolution")
    original = "net" if getattr(first, "kernel_size", None) == (1, 1) else "model"
    keys, index = {}, 0
    for place in range(len(list(segments.children()))):
        keys[f"{name}.segments.{place}.convolution"] = f"{original}.{index}"
        keys[f"{name}.segments.{place}.norm.batch"] = f"{original}.{index + 1}"
        index += 3 if place else 2
    return keys


def by_letter(kind: str, networks: Mapping[str, nn.Module], enhancers: int, features: bool) -> dict[str, Keys]:
    """Return the keys of a method's networks for each file of the original, by its letters for them.

    Args:
        kind: method.
        networks: our networks in use, by name.
        enhancers: number of enhancers in use (pix2pixHD).
        features: True for discriminators with intermediate features, as feature matching needs (pix2pixHD).
    """
    if kind == "pix2pixhd":
        scales = sum(name.startswith("discriminator") for name in networks)
        keys = {
            "G": pix2pixhd_generator(networks, enhancers),
            "D": pix2pixhd_discriminator(networks, scales, features),
        }
        return keys | ({"E": resnet("encoder", networks["encoder"])} if "encoder" in networks else {})
    names = {"G": "generator", "D": "discriminator"}
    if kind == "cyclegan":  # the original's D_A judges what G_A makes, pictures of B
        names = {"G_A": "generator_AtoB", "G_B": "generator_BtoA", "D_A": "discriminator_B", "D_B": "discriminator_A"}
    return {letter: _of_network(name, networks[name]) for letter, name in names.items()}


def _of_network(name: str, network: nn.Module) -> Keys:
    if hasattr(network, "encoder"):
        return unet(name, network)
    return resnet(name, network) if hasattr(network, "last") else discriminator(name, network)


def to_original(ours: Mapping[str, Tensor], keys: Keys) -> dict[str, Tensor]:
    """Return our weights under the original's names, as far as `keys` covers them: the inverse of `rename`."""
    renamed = {}
    for name, tensor in ours.items():
        module, _, leaf = name.rpartition(".")
        if module in keys:
            renamed[f"{keys[module]}.{leaf}"] = tensor
    return renamed


def rename(
    ours: Mapping[str, Tensor], keys: Keys, original: Mapping[str, Tensor], file: Path | None = None
) -> dict[str, Tensor]:
    """Return the weights of the original under our names.

    Args:
        ours: state dict of the networks to fill; keys that `keys` does not cover are ignored.
        keys: the original's module prefix by ours.
        original: state dict of the original.
        file: its file, for the message.

    Raises:
        UserError: weights are missing, are left over, or have another shape; the message names them.
    """
    renamed, problems, used = {}, [], set()
    for name, tensor in ours.items():
        module, _, leaf = name.rpartition(".")
        if module not in keys:
            continue
        key = f"{keys[module]}.{leaf}"
        used.add(key)
        if key not in original:
            problems.append(f"{key} is missing (for {name})")
        elif original[key].shape != tensor.shape:
            problems.append(f"{key} has shape {tuple(original[key].shape)}, {name} has {tuple(tensor.shape)}")
        else:
            renamed[name] = original[key]
    problems += [f"{key} has no place here" for key in original if key not in used]
    if problems:
        more = f" and {len(problems) - 10} more" if len(problems) > 10 else ""
        raise UserError(f"these weights do not fit the networks: {'; '.join(problems[:10])}{more}", path=file)
    return renamed


def _has_no_norm(segment: nn.Module) -> bool:
    return bool(segment.get_submodule("norm").kind == "none")


def _sequence(ours: str, modules: nn.Module, original: str, first: int) -> tuple[Keys, int]:
    """Return the keys of blocks, counted as in the original's nn.Sequential, and the next index."""
    keys: Keys = {}
    index = first
    for place, module in enumerate(modules.children()):
        name = f"{ours}.{place}"
        if hasattr(module, "first"):
            for part, at in (("first", 1), ("second", 5 if getattr(module, "dropout", None) is None else 6)):
                keys[f"{name}.{part}.convolution"] = f"{original}.{index}.conv_block.{at}"
                keys[f"{name}.{part}.norm.batch"] = f"{original}.{index}.conv_block.{at + 1}"
            index += 1
        else:
            keys[f"{name}.convolution"] = f"{original}.{index}"
            keys[f"{name}.norm.batch"] = f"{original}.{index + 1}"
            index += 3
    return keys, index
