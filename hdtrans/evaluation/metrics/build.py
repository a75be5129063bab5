"""Build metrics from their names; see `hdtrans.config.metrics` for the list."""

from collections.abc import Sequence

from hdtrans.config.metrics import METRICS
from hdtrans.config.registry import plugin_module
from hdtrans.evaluation.metrics.base import Metric, Settings

_PACKAGE = "hdtrans.evaluation.metrics"


def build_metrics(names: Sequence[str], settings: Settings) -> list[Metric]:
    """Return the metrics of some names, in the order of the list; names of one file keep their own order.

    Raises:
        UserError: weights are missing, or the number of classes is unknown.
    """
    modules = dict.fromkeys(info.module for info in METRICS.values() if info.name in names)
    found: list[Metric] = []
    for module in modules:
        asked = [name for name in names if METRICS[name].module == module]
        found += plugin_module(_PACKAGE, _PACKAGE, module).make(asked, settings)
    return found
