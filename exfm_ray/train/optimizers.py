"""From a recipe's optimizer section to torch optimizers."""

from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.optim import Optimizer

from exfm_ray.config import AdapterConfig, OptimizerConfig
from exfm_ray.train import dense_optimizers
from exfm_ray.train.table_optimizers import Adagrad, LazyAdam, RowwiseAdagrad, TouchedRowsOptimizer

TABLE_OPTIMIZERS: dict[str, type[TouchedRowsOptimizer]] = {
    "rowwise_adagrad": RowwiseAdagrad,
    "adagrad": Adagrad,
    "lazy_adam": LazyAdam,
}


def build_optimizers(
    config: OptimizerConfig, dense: Iterable[nn.Parameter] | Iterable[dict[str, Any]], tables: Iterable[nn.Parameter]
) -> dict[str, Optimizer]:
    """Fused Adam for dense parameters; tables are updated only in the rows that a batch touches.

    Args:
        dense: parameters, or groups of them with settings of their own, as torch's optimizers take them.
    """
    return {
        "dense": dense_optimizers.Adam(dense, lr=config.learning_rate, fused=True),
        "tables": TABLE_OPTIMIZERS[config.embedding](tables, config.table_rate),
    }


def build_adapter_optimizer(config: AdapterConfig, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """The student adapter's own optimizer (ExFM Algorithm 1, line 1)."""
    if config.optimizer == "adam":
        return dense_optimizers.Adam(list(parameters), lr=config.learning_rate, fused=True)
    if config.optimizer == "adagrad":
        return dense_optimizers.Adagrad(list(parameters), lr=config.learning_rate)
    return dense_optimizers.Sgd(list(parameters), lr=config.learning_rate)
