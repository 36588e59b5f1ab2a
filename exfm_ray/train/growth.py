"""Growing a model in training to larger vocabularies: known rows keep what they have learned, new rows are appended."""

from collections.abc import Callable

from torch.optim import Optimizer

from exfm_ray.models.build import seeded
from exfm_ray.models.embedding import Embedding
from exfm_ray.models.model import Model


def grow(model: Model, tables: Optimizer, build: Callable[[], Model], seed: int, *names: str) -> None:
    """Give a model the table rows of larger vocabularies, in place.

    New rows start as those of a new model do, drawn from the seed and the names alone, with nothing learned in the
    optimizer; so a run that is continued grows to the same values.

    Args:
        tables: the optimizer of its table parameters, whose state grows too.
        build: makes a new model of the same architecture for the larger vocabularies.
        names: say what the rows are new for, such as the day.
    """
    larger = seeded(build, seed, *names).to(next(model.parameters()).device)
    for own, other in zip(_embeddings(model), _embeddings(larger), strict=True):
        places = own.places_in(other)
        state = tables.state.get(own.table, {})
        for key, value in state.items():
            if value.shape[:1] == own.table.shape[:1]:  # a number or a vector per row
                state[key] = value.new_zeros(len(other.table), *value.shape[1:]).index_copy_(0, places, value)
        own.grow_to(other, places)


def _embeddings(model: Model) -> list[Embedding]:
    return [module for module in model.modules() if isinstance(module, Embedding)]
