import pyarrow as pa
import pytest

from exfm_ray.data.logs.joined_numbers import as_bytes, from_bytes, split_numbers

LARGEST = 2**63 - 1


@pytest.mark.parametrize(
    ("texts", "lists"),
    [
        (["1^20^300", "4"], [[1, 20, 300], [4]]),
        ([None, "7", "", "8^9", None], [[], [7], [], [8, 9], []]),
        (["", None], [[], []]),
        ([], []),
        (["0^00^012", f"{LARGEST}"], [[0, 0, 12], [LARGEST]]),
    ],
)
def test_each_text_gives_its_numbers(texts: list[str | None], lists: list[list[int]]) -> None:
    found = split_numbers(pa.array(texts, pa.string()), "^", LARGEST)
    assert found is not None
    assert found.to_pylist() == lists
    assert from_bytes(as_bytes(found)).to_pylist() == lists


@pytest.mark.parametrize("wrong", ["1^^2", "^1", "1^", "^", "-1", "+1", "1.0", "0x1", " 1", "1 ^2", "a", "²", "9" * 19])
def test_anything_else_is_refused(wrong: str) -> None:
    assert split_numbers(pa.array(["3^4", wrong, "5"]), "^", LARGEST) is None
    assert split_numbers(pa.array([wrong]), "^", LARGEST) is None


def test_numbers_above_the_largest_are_refused() -> None:
    assert split_numbers(pa.array(["4", "3^5"]), "^", 4) is None
    assert split_numbers(pa.array(["4", "3^5"]), "^", 5) is not None


def test_a_slice_is_read_as_it_stands() -> None:
    texts = pa.array(["1^2", "3", None, "4^5^6"]).slice(1, 3)
    found = split_numbers(texts, "^", LARGEST)
    assert found is not None
    assert found.to_pylist() == [[3], [], [4, 5, 6]]
    assert from_bytes(as_bytes(found.slice(1, 2))).to_pylist() == [[], [4, 5, 6]]
    assert from_bytes(as_bytes(found).slice(1, 2)).to_pylist() == [[], [4, 5, 6]]
