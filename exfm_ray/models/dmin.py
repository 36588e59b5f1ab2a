"""Deep multi-interest network (Xiao 2020)."""

import torch
from torch import nn

from exfm_ray.config import DminModel, InterestGroup
from exfm_ray.models.batch_norm import BatchNorm
from exfm_ray.models.embedding import Embedding
from exfm_ray.models.histories import LongestFirst
from exfm_ray.models.inputs import Inputs
from exfm_ray.models.interests import InterestExtractor, Refiner
from exfm_ray.models.mlp import mlp
from exfm_ray.models.model import Model
from exfm_ray.models.towers import task_outputs
from exfm_ray.models.vectors import Vectors
from exfm_ray.schema import Schema


class Dmin(Model):
    """Logits of the tasks from x = MLP[interests of every group ; all other fields].

    A group's sequences are read element by element beside each other, its targets likewise, so that both have
    d = D × features in the group dimensions. Sequences outside every group are averaged, as everywhere.
    With several tasks and `tower_hidden` this is hard parameter sharing: one trunk, a tower per task.

    Raises:
        ValueError: a group names a feature that the schema lacks.
    """

    def __init__(self, config: DminModel, schema: Schema, tasks: int) -> None:
        super().__init__()
        if (problem := config.disagreement(schema)) is not None:
            raise ValueError(problem)
        self.groups = nn.ModuleList(GroupInterests(config, group, schema) for group in config.groups)
        grouped = {name for group in config.groups for name in group.sequences}
        sequences = [feature.name for feature in schema.of_kind("sequence")]
        self.averaged = [index for index, name in enumerate(sequences) if name not in grouped]
        self.embedding = Embedding(schema, config.embedding_dim)
        fields = self.embedding.fields - len(sequences) + len(self.averaged)
        of_groups = config.heads * sum(len(group.sequences) for group in config.groups)
        inputs = (fields + of_groups) * config.embedding_dim
        self.norm: nn.Module = BatchNorm(inputs) if config.batch_norm else nn.Identity()
        self.deep = mlp(inputs, config.hidden, activation=config.activation, dropout=config.dropout)
        self.width = config.hidden[-1]
        self.out = task_outputs(self.width, config.tower_hidden, tasks)

    def backbone(self, inputs: Inputs) -> torch.Tensor:
        vectors = self.embedding.vectors(inputs)
        fields = vectors.fields(self.averaged)
        interests = [group(vectors, inputs, fields) for group in self.groups]
        x: torch.Tensor = self.deep(self.norm(torch.cat([*interests, fields.flatten(1)], dim=1)))
        return x

    def serve(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.out(x)
        return logits


class GroupInterests(nn.Module):
    """The interests of a batch's rows in a group's targets: (B, H·d)."""

    def __init__(self, config: DminModel, group: InterestGroup, schema: Schema) -> None:
        super().__init__()
        categorical = [feature.name for feature in schema.of_kind("categorical")]
        sequences = [feature.name for feature in schema.of_kind("sequence")]
        self.names = group.sequences
        self.targets = [categorical.index(name) for name in group.targets]
        self.sequences = [sequences.index(name) for name in group.sequences]
        dim = config.embedding_dim * len(group.sequences)
        self.width = config.heads * dim
        self.refiner = Refiner(dim, config.heads) if config.refiner else None
        self.extractor = InterestExtractor(dim, config)

    def forward(self, vectors: Vectors, inputs: Inputs, fields: torch.Tensor) -> torch.Tensor:
        """
        Args:
            fields: (B, F, D), the categorical ones first.

        Raises:
            ValueError: the group's sequences differ in length.
        """
        offsets = inputs.sequences[self.sequences[0]].offsets
        for name, index in zip(self.names[1:], self.sequences[1:], strict=True):
            if not torch.equal(inputs.sequences[index].offsets, offsets):
                raise ValueError(f"sequence {name} must be as long as {self.names[0]} in every row, as one group's are")
        ordered = LongestFirst.of(offsets)
        if not len(ordered.histories):
            return fields.new_zeros(len(inputs), self.width)
        target, history = fields[:, self.targets].flatten(1), vectors.elements(self.sequences)
        target, history = ordered.of_rows(target), ordered.of_elements(history)
        if self.refiner is not None:
            history = self.refiner(history, ordered.histories)
        return ordered.back(self.extractor(target, history, ordered.histories))
