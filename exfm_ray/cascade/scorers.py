"""How the model of a stage scores ads for requests: by two towers' vectors, or row by row."""

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from exfm_ray.cascade.plan import has_ad_tower
from exfm_ray.config import TwoTowerModel
from exfm_ray.data.drift.requests import Requests
from exfm_ray.data.encode import encode
from exfm_ray.data.hashing import Integers
from exfm_ray.data.snapshots import SnapshotDatabase
from exfm_ray.data.vocabulary import Vocabularies
from exfm_ray.models.answering import FORWARD_ROWS, answers
from exfm_ray.models.inputs import Inputs
from exfm_ray.models.model import Model
from exfm_ray.models.two_tower import TwoTower
from exfm_ray.schema import Schema

CPU = torch.device("cpu")
Scores = NDArray[np.floating[Any]]


class Scorer(Protocol):
    """Scores of one model; a higher one is of an ad that it takes for better."""

    def score(self, numbers: Integers, candidates: Integers) -> Scores:
        """(C, k) scores of each request's own candidates.

        Args:
            numbers: (C,) of requests.
            candidates: (C, k) of each.
        """

    def score_all(self, numbers: Integers) -> Scores:
        """(C, N) scores of all candidates."""


class RowScorer:
    """Any model: a forward pass over a row per request and ad.

    Args:
        task: place among the model's tasks.
    """

    def __init__(
        self, requests: Requests, model: Model, schema: Schema, vocabularies: Vocabularies, task: int = 0
    ) -> None:
        self.requests, self.model, self.task = requests, model, task
        self.schema, self.vocabularies = schema, vocabularies

    def score(self, numbers: Integers, candidates: Integers) -> Scores:
        pairs = np.repeat(numbers, candidates.shape[1]), candidates.ravel()
        inputs = encode(self.requests.features(*pairs), self.schema, self.vocabularies)
        found: Scores = answers(self.model, inputs, CPU)[:, self.task].numpy().reshape(candidates.shape)
        return found

    def score_all(self, numbers: Integers) -> Scores:
        everything = np.arange(self.requests.candidates)
        return self.score(numbers, np.broadcast_to(everything, (len(numbers), len(everything))))


class TowerScorer:
    """A two-tower model: a vector per request and one per ad, each made once, and products."""

    def __init__(self, requests: Requests, model: TwoTower, schema: Schema, vocabularies: Vocabularies) -> None:
        self.requests, self.model, self.schema, self.vocabularies = requests, model, schema, vocabularies
        with torch.no_grad():
            ads = np.arange(requests.candidates)
            self.items = torch.cat(
                [model.item_vectors(self._inputs(np.zeros_like(part), part)) for part in _parts(ads)]
            )
            numbers = np.arange(requests.count)
            self.users = torch.cat(
                [model.user_vectors(self._inputs(part, np.zeros_like(part))) for part in _parts(numbers)]
            )

    def _inputs(self, numbers: Integers, candidates: Integers) -> Inputs:
        return encode(self.requests.features(numbers, candidates), self.schema, self.vocabularies)

    @torch.no_grad()
    def score(self, numbers: Integers, candidates: Integers) -> Scores:
        users, items = self.users[torch.from_numpy(numbers)], self.items[torch.from_numpy(candidates)]
        return self.model.serve((users[:, None, :] * items).flatten(0, 1)).view(candidates.shape).numpy()

    @torch.no_grad()
    def score_all(self, numbers: Integers) -> Scores:
        return self.model.meet(self.users[torch.from_numpy(numbers)], self.items).numpy()


def _parts(numbers: Integers) -> list[Integers]:
    return [numbers[start : start + FORWARD_ROWS] for start in range(0, len(numbers), FORWARD_ROWS)]


def scorer_of(snapshots: SnapshotDatabase, day: int, task: str, requests: Requests) -> Scorer:
    """That of a published snapshot, by towers where they are of requests and ads.

    Raises:
        DataError: it is not published or cannot be read.
    """
    model, facts = snapshots.load(day)
    vocabularies = snapshots.vocabularies(day)
    if isinstance(model, TwoTower) and isinstance(facts.model, TwoTowerModel) and has_ad_tower(facts.model):
        return TowerScorer(requests, model, facts.inputs, vocabularies)
    return RowScorer(requests, model, facts.inputs, vocabularies, facts.tasks.index(task))
