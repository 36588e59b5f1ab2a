"""What the rooms of the package agree on: columns, features, tasks, domains and stages of a data set.

A `Schema` travels with the day partitions (`schema.json`) and with every snapshot, so that a model and
the rows that it is shown can be checked against each other by fingerprint.
"""

import hashlib
from collections.abc import Collection, Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

EVENT_ID = "event_id"
"""int64, unique in a data set."""
EVENT_TIME = "event_time"
"""int64, milliseconds since the epoch of the data set; rows of a day are sorted by it."""
DOMAIN = "domain"
"""int16, index into `Schema.domains`."""
STAGE = "stage"
"""int16, index into `Schema.stages`."""
FM_SNAPSHOT = "fm_snapshot"
"""string, the snapshot that made a row's supervision."""

FORBIDDEN_PREFIXES = ("label_", "delay_", "truth_", "fm_")
"""No feature may begin with one of these: a model reads features, and must never read the answers."""

EMPTY_VOCABULARY_ROWS = 2
"""of a counted feature's table where no id is known: padding, and all the ids that are not known"""

Method = Literal["none", "kd", "ah", "ah_sa"]
METHODS: tuple[Method, ...] = ("none", "kd", "ah", "ah_sa")


def label_column(task: str) -> str:
    """Observed feedback, int8 in {0, 1}."""
    return f"label_{task}"


def delay_column(task: str) -> str:
    """Seconds from the event to its positive feedback, int32; null where the label is 0 or the delay is unknown."""
    return f"delay_{task}"


def truth_column(task: str) -> str:
    """True probability of the label, float32 in (0, 1); only a synthetic stream knows it, and no model reads it."""
    return f"truth_{task}"


def supervision_column(task: str) -> str:
    """The FM's pseudo-label, float32 in [0, 1]."""
    return f"fm_{task}"


class Feature(BaseModel):
    """One model input, stored as the day partition's column of the same name.

    `categorical` columns are int64, `numeric` float32, `sequence` list<int64>, the oldest element first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: Literal["categorical", "numeric", "sequence"]
    rows: int = Field(default=0, ge=0, description="rows of its embedding table; 0 for numeric and shared ones")
    encoding: Literal["identity", "hash", "counted"] = Field(
        default="hash",
        description="identity: the value is the row; hash: the mixed value modulo rows is; counted: a vocabulary says",
    )
    shares: str | None = Field(default=None, description="the categorical feature whose table a sequence shares")
    owner: str | None = Field(
        default=None, description="the categorical feature that says whose a sequence is, where one does"
    )
    fm_only: bool = Field(default=False, description="true: too dear for a VM, only the FM reads it")

    @model_validator(mode="after")
    def _check(self) -> "Feature":
        if self.name.startswith(FORBIDDEN_PREFIXES):
            raise ValueError(f"feature name {self.name!r} begins with one of {FORBIDDEN_PREFIXES}, kept for answers")
        if self.kind == "categorical" and self.rows < 1:
            raise ValueError(f"categorical feature {self.name!r} needs rows >= 1 but got {self.rows}")
        if self.kind == "sequence" and self.shares is None:
            raise ValueError(f"sequence feature {self.name!r} needs `shares`, the feature whose table it uses")
        return self


class Schema(BaseModel):
    """Columns of a data set's day partitions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    features: tuple[Feature, ...]
    tasks: tuple[str, ...]
    domains: tuple[str, ...]
    stages: tuple[str, ...]
    has_truth: bool = False
    has_delays: bool = False

    @model_validator(mode="after")
    def _check(self) -> "Schema":
        tables = {feature.name for feature in self.features if feature.kind == "categorical"}
        for feature in self.features:
            if feature.shares is not None and feature.shares not in tables:
                raise ValueError(
                    f"sequence {feature.name!r} shares {feature.shares!r}, which is no categorical feature"
                )
        return self

    def of_kind(self, kind: str) -> tuple[Feature, ...]:
        """Features of a kind, in order."""
        return tuple(feature for feature in self.features if feature.kind == kind)

    def for_vm(self) -> "Schema":
        """The same data set without the features that only the FM reads."""
        return self.model_copy(update={"features": tuple(f for f in self.features if not f.fm_only)})

    def without(self, names: Collection[str]) -> "Schema":
        """The same data set without some features.

        Raises:
            ValueError: a name is no feature, or a feature that stays shares the table of one that goes.
        """
        known = [feature.name for feature in self.features]
        for name in names:
            if name not in known:
                raise ValueError(f"{name!r} is no feature of the data; choose from {', '.join(known)}")
        kept = tuple(feature for feature in self.features if feature.name not in names)
        for feature in kept:
            if feature.shares in names:
                raise ValueError(f"{feature.shares!r} lends its table to {feature.name!r}; leave out both or none")
        return self.model_copy(update={"features": kept})

    def counted(self, but: Collection[str] = ()) -> "Schema":
        """The same data set with counted vocabularies, still empty, instead of hash-coded tables.

        Args:
            but: features that stay hash-coded.
        """
        names = [f.name for f in self.of_kind("categorical") if f.encoding == "hash" and f.name not in but]
        return self._updated({name: {"encoding": "counted", "rows": EMPTY_VOCABULARY_ROWS} for name in names})

    def counted_features(self) -> tuple[Feature, ...]:
        """Features whose rows a vocabulary says, in order."""
        return tuple(feature for feature in self.of_kind("categorical") if feature.encoding == "counted")

    def sized(self, rows: Mapping[str, int]) -> "Schema":
        """The same data set with tables of these rows, by the names of counted features."""
        return self._updated({name: {"rows": count} for name, count in rows.items()})

    def unsized(self) -> "Schema":
        """The same data set with empty vocabularies: equal for all models that read it alike."""
        return self.sized({feature.name: EMPTY_VOCABULARY_ROWS for feature in self.counted_features()})

    def _updated(self, of_feature: Mapping[str, Mapping[str, object]]) -> "Schema":
        features = (feature.model_copy(update=of_feature.get(feature.name)) for feature in self.features)
        return self.model_copy(update={"features": tuple(features)})

    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with any change of the schema, but not with how files store it."""
        told = self.model_dump_json(exclude={"features": {"__all__": {"owner"}}})
        return hashlib.sha256(told.encode()).hexdigest()[:16]
