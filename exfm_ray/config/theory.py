"""What a recipe of one of the paper's theorems may say (ExFM A.2, A.3): the linear settings, no data, no models."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from exfm_ray.config.section import Name, Positive, Section

Size = Annotated[int, Field(ge=1, le=4_096)]


class Theorem31(Section):
    """Does a single head keep the teachers' bias, and do auxiliary heads lose it (A.2)?"""

    type: Literal["theorem31"] = "theorem31"
    input_dim: Size = Field(default=32, description="D, of x")
    model_dim: int = Field(default=4, ge=2, le=64, description="d, of Z·x; there are d - 1 teachers")
    teacher_biases: tuple[Positive, ...] = Field(default=(0.25, 0.5, 1.0), min_length=1, description="each a mu")
    label_weight: float = Field(
        default=0.5, gt=0, lt=1, description="alpha_1, of the true label; teachers share 1 - it"
    )
    steps: int = Field(default=20_000, ge=10, le=10_000_000)
    rows_per_step: int = Field(default=64, ge=1, le=65_536, description="fresh x per step of gradient descent")
    learning_rate: Positive = Field(default=0.01, description="eta")
    near: Positive = Field(default=0.1, description="distance of the start near Z, in norms of Z")

    @model_validator(mode="after")
    def _check(self) -> "Theorem31":
        if self.input_dim < self.model_dim:
            raise ValueError(f"input_dim: {self.input_dim} must be at least model_dim, {self.model_dim}")
        return self


class Theorem32(Section):
    """How close does a student with an adapter come to the truth (A.3)? One size is varied at a time."""

    type: Literal["theorem32"] = "theorem32"
    input_dim: Size = Field(default=64, description="d")
    adapter_dim: Size = Field(default=4, description="s, rows of H")
    rows: int = Field(default=4_000, ge=10, le=10_000_000, description="N")
    noise: Positive = Field(default=10.0, description="gamma, standard deviation of each z_i")
    gap: float = Field(default=1.0, ge=0, description="w - w_hat inside span(H), in expected errors of least squares")
    input_dims: tuple[Size, ...] = Field(default=(16, 32, 64, 128, 256), min_length=3)
    adapter_dims: tuple[Size, ...] = Field(default=(1, 2, 4, 8, 16, 32), min_length=3)
    row_counts: tuple[Annotated[int, Field(ge=10, le=10_000_000)], ...] = Field(
        default=(1_000, 2_000, 4_000, 8_000, 16_000), min_length=3
    )
    noises: tuple[Positive, ...] = Field(default=(1.0, 3.0, 10.0, 30.0), min_length=3)
    outside: tuple[Annotated[float, Field(ge=0)], ...] = Field(
        default=(0.0, 0.5, 1.0, 2.0), description="w - w_hat outside span(H), in the same unit; the theorem assumes 0"
    )
    repeats: int = Field(default=10, ge=1, le=10_000, description="draws of the data per seed, averaged")

    @model_validator(mode="after")
    def _check(self) -> "Theorem32":
        if max(self.adapter_dims) > self.input_dim or self.adapter_dim > min(self.input_dims):
            raise ValueError(
                "adapter_dims may not exceed input_dim, nor adapter_dim any of input_dims: H is orthonormal"
            )
        if max(self.input_dims) >= self.rows or self.input_dim >= min(self.row_counts):
            raise ValueError("rows and row_counts must exceed the input dimensions: least squares needs it")
        return self


class TheoryRecipe(Section):
    """One theorem, measured beside what it predicts."""

    name: Name
    seeds: tuple[Annotated[int, Field(ge=0, le=2**31)], ...] = Field(default=(0, 1, 2, 3, 4), min_length=1)
    theorem: Annotated[Theorem31 | Theorem32, Field(discriminator="type")]

    @model_validator(mode="after")
    def _check(self) -> "TheoryRecipe":
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds repeats a value; leave each once")
        return self
