import numpy as np
import pytest

from exfm_ray.data.logs.distinct import BOUND, DistinctSketch


@pytest.mark.parametrize("distinct", [1, 100, BOUND - 1])
def test_few_are_counted_exactly(distinct: int) -> None:
    values = np.random.default_rng(1).integers(-(2**62), 2**62, distinct)
    sketch = DistinctSketch.of(np.concatenate([values, values[::-1]]))
    assert (sketch.count(), sketch.is_exact, sketch.told()) == (distinct, True, distinct)


@pytest.mark.parametrize("distinct", [BOUND, 100_000, 1_000_000])
def test_many_are_estimated(distinct: int) -> None:
    sketch = DistinctSketch.of(np.arange(distinct))
    assert not sketch.is_exact
    assert abs(sketch.count() / distinct - 1) < 0.06  # four standard errors
    assert sketch.told() == f"about {sketch.count()}"


def test_sketches_of_parts_merge_to_that_of_the_whole() -> None:
    values = np.random.default_rng(2).integers(0, 30_000, 50_000)
    merged = DistinctSketch.of(values[:0])
    for part in np.array_split(values, 7):
        merged = merged.merged(DistinctSketch.of(part))
    np.testing.assert_array_equal(merged.smallest, DistinctSketch.of(values).smallest)
