"""How a model is trained: rates, batches, precision."""

from typing import Literal

from pydantic import Field

from exfm_ray.config.section import Positive, Section

ADAGRAD_RATE = 0.02

Precision = Literal["float32", "tf32", "bf16"]


class OptimizerConfig(Section):
    """Adam for the dense part; embedding tables are updated only where a batch touches them."""

    learning_rate: Positive = 2e-3
    embedding: Literal["rowwise_adagrad", "adagrad", "lazy_adam"] = Field(
        default="rowwise_adagrad", description="of tables: Adagrad with a state per row or per number, or lazy Adam"
    )
    embedding_learning_rate: Positive | None = Field(
        default=None, description=f"left out: {ADAGRAD_RATE} for Adagrad, learning_rate for lazy_adam"
    )
    batch_size: int = Field(default=512, ge=1, le=1_048_576, description="rows")
    precision: Precision = Field(
        default="float32",
        description="of matrix products in training; tf32 is for GPUs, and on a CPU the same as float32. Parameters, "
        "optimizers and a VM's predictions are always float32",
    )
    compile: bool = Field(default=False, description="MLPs by torch.compile, which needs a C++ compiler")
    stack: bool = Field(
        default=False,
        description="variants of one structure train as one wider model: for GPUs, which small models leave empty. "
        "Numbers differ by rounding from those of variants that train one after the other",
    )

    @property
    def table_rate(self) -> float:
        """The learning rate of embedding tables. Adagrad's is no multiple of Adam's, so it has a default of its own."""
        if self.embedding_learning_rate is not None:
            return self.embedding_learning_rate
        return self.learning_rate if self.embedding == "lazy_adam" else ADAGRAD_RATE
