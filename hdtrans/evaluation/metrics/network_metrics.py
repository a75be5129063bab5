"""The metrics that look at pictures through published networks, with their weights."""

from collections.abc import Callable, Sequence

import torch

from hdtrans.evaluation.judges.features import InceptionFeatures, Lpips, SqueezeNetFeatures
from hdtrans.evaluation.judges.weights import WeightFiles
from hdtrans.evaluation.metrics.folder_metrics import LpipsMetric, Metric
from hdtrans.evaluation.metrics.set_distances import RealFeatures, SetDistance, told_of

KeptFeatures = Callable[[str, str, str], RealFeatures]
"""From a network's name, the SHA-256 of its weights and how it sees pictures, to the features of the real ones."""


def lpips_metric(kind: str, weights: WeightFiles, device: torch.device) -> Metric:
    """Return LPIPS with the network `alex`, `vgg` or `squeeze`; raise UserError where its weights are not there."""
    backbone, heads = weights.find(kind), weights.find(f"lpips_{kind}")
    network = Lpips(kind, backbone, heads).to(device)
    told = {"network": kind, "weights": str(backbone.file), "sha256": backbone.sha256, "heads_sha256": heads.sha256}
    return LpipsMetric(network, told, device)


def set_distances(
    names: Sequence[str], weights: WeightFiles, device: torch.device, kept: KeptFeatures | None = None
) -> list[Metric]:
    """Return a metric for each network that distances between sets are asked of.

    Args:
        names: those of them that are no such distances are passed over.
        weights: where those of the networks are.
        device: where they compute.
        kept: where features of the real pictures are kept; None computes them each time.

    Raises:
        UserError: weights are not there.
    """
    metrics: list[Metric] = []
    for what, figures in (("inception", ("fid", "kid")), ("squeezenet1_0", ("squeezenet_distance",))):
        wanted = [name for name in figures if name in names]
        if not wanted:
            continue
        known = weights.find(what)
        network = InceptionFeatures(known) if what == "inception" else SqueezeNetFeatures(known)
        told = told_of(what, known, network.how)
        real = None if kept is None else kept(what, known.sha256, network.how)
        metrics.append(SetDistance(wanted, network.to(device), network.width, told, device, real))
    return metrics
