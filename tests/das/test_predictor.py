"""What a model is asked is cut into pieces that suit the processor; nobody can tell from the answer."""

import numpy as np
import pytest

from exfm_ray.das.predictor import Predictor
from exfm_ray.data.snapshots import SnapshotDatabase
from exfm_ray.models import answering
from exfm_ray.schema import Schema
from tests.das.test_loader import database, publish, rows

__all__ = ["database"]


@pytest.mark.parametrize("count", [0, 1, 7, 50])
def test_pieces_give_the_answer_of_the_whole(
    database: SnapshotDatabase, small_schema: Schema, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    publish(database, small_schema, 1)
    loaded = Predictor.load(database, 1)
    whole = loaded.predict(rows(count))
    monkeypatch.setattr(answering, "FORWARD_ROWS", 7)
    pieces = loaded.predict(rows(count))
    assert pieces.num_rows == count
    for name in ("fm_click", "fm_like"):
        np.testing.assert_allclose(pieces[name].to_numpy(), whole[name].to_numpy(), rtol=1e-6)
        assert count < 2 or len(set(pieces[name].to_pylist())) > 1
