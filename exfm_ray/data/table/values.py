"""What stands in the cells of a reader's own table, as the values of a day partition.

Text is read by its distinct values: each is trimmed, one that `nulls` names is missing, and the rest is parsed once.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from exfm_ray.config.table import MISSING_LEVEL
from exfm_ray.data.hashing import text_id
from exfm_ray.data.table.chunks import Cells

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]

WHOLE = re.compile(r"(-?[0-9]{1,19})(\.0*)?")
SURELY_WHOLE = "^-?[0-9]{1,18}$"
LEAST, LARGEST = -(2**63), 2**63 - 1
TRUTH = {"true": 1.0, "True": 1.0, "TRUE": 1.0, "false": 0.0, "False": 0.0, "FALSE": 0.0}


@dataclass(frozen=True)
class Texts:
    """The distinct texts of a column, and which of them each row has."""

    codes: Integers
    """(N,) places in `distinct`; -1 where missing"""
    distinct: pa.StringArray
    """(D,) trimmed, never null"""


def is_text(kind: pa.DataType) -> bool:
    return any(
        check(kind)
        for check in (
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_string_view,
            pa.types.is_binary,
            pa.types.is_large_binary,
            pa.types.is_dictionary,
        )
    )


def texts(cells: Cells, nulls: Collection[str]) -> Texts:
    """A column of any plain type as text.

    Raises:
        UserError: bytes are no UTF-8.
    """
    values = cells.values
    if pa.types.is_nested(values.type):
        raise cells.mistake(0, str(values.type), "plain values, not a column of this type")
    encoded = values if pa.types.is_dictionary(values.type) else pc.dictionary_encode(values)
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    try:
        distinct = pc.utf8_trim_whitespace(encoded.dictionary.cast(pa.string()))
    except pa.ArrowInvalid as error:
        raise _not_utf8(cells, codes, encoded.dictionary) from error
    missing = pc.is_in(distinct, value_set=pa.array(sorted(nulls), pa.string())).to_numpy(zero_copy_only=False)
    missing |= distinct.is_null().to_numpy(zero_copy_only=False)
    renumbered = np.append(np.where(missing, -1, np.cumsum(~missing) - 1), -1)
    return Texts(renumbered[codes], distinct.filter(pa.array(~missing)))


def _not_utf8(cells: Cells, codes: Integers, dictionary: pa.Array) -> Exception:
    for code, value in enumerate(dictionary.to_pylist()):
        try:
            value.decode()
        except UnicodeDecodeError:
            row = int((codes == code).argmax())
            return cells.mistake(row, value, "UTF-8 text", "convert the file, such as with iconv")
    raise AssertionError("every value is UTF-8")


def ids(cells: Cells, nulls: Collection[str], missing: int) -> tuple[Integers, int]:
    """(N,) ids and how many were missing. A whole number of int64 is itself, any other text its hash.

    Raises:
        UserError: bytes are no UTF-8, or a value is no plain one.
    """
    values = cells.values
    if pa.types.is_integer(values.type) and values.type != pa.uint64():
        whole = values.cast(pa.int64()).fill_null(missing)
        return whole.to_numpy(zero_copy_only=False), int(values.null_count)
    if pa.types.is_floating(values.type):
        return _ids_of_floats(values, missing)
    found = texts(cells, nulls)
    known = np.append(text_ids(found.distinct), missing).astype(np.int64)
    return known[found.codes], int((found.codes < 0).sum())


def _ids_of_floats(values: pa.Array, missing: int) -> tuple[Integers, int]:
    """As a column of ids becomes where some are missing; what is not whole is taken as text."""
    read = np.asarray(values.cast(pa.float64()).to_numpy(zero_copy_only=False))
    whole = (read % 1 == 0) & (np.abs(read) < LARGEST)
    found = np.where(whole, read, 0).astype(np.int64)
    found[np.isnan(read)] = missing
    others = np.flatnonzero(~whole & ~np.isnan(read))
    found[others] = [text_id(str(read[row])) for row in others]
    return found, int(np.isnan(read).sum())


def text_ids(distinct: pa.StringArray) -> Integers:
    """(D,) ids of trimmed texts."""
    if pc.all(pc.match_substring_regex(distinct, SURELY_WHOLE), min_count=0).as_py():
        return np.asarray(distinct.cast(pa.int64()).to_numpy(zero_copy_only=False))
    return np.array([_id_of(text) for text in distinct.to_pylist()], dtype=np.int64)


def _id_of(text: str) -> int:
    whole = WHOLE.fullmatch(text)
    if whole is not None and LEAST <= int(whole[1]) <= LARGEST:
        return int(whole[1])
    return text_id(text)


def numbers(cells: Cells, nulls: Collection[str], allowed: str = "a number or nothing") -> Floats:
    """(N,) numbers, NaN where missing; the words true and false are 1 and 0.

    Raises:
        UserError: a value is no number, or infinite.
    """
    values = cells.values
    if is_text(values.type):
        found = texts(cells, nulls)
        read = np.append(_parsed(found.distinct), np.nan)[found.codes]
        wrong = np.isnan(read) & (found.codes >= 0)
    elif pa.types.is_integer(values.type) or pa.types.is_floating(values.type) or pa.types.is_decimal(values.type):
        read = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        wrong = np.isinf(read)
    else:
        raise cells.mistake(0, str(values.type), f"{allowed}, not a column of this type")
    read = np.asarray(read, dtype=np.float64)
    _refuse(cells, wrong, allowed)
    return read


def _parsed(distinct: pa.StringArray) -> Floats:
    """(D,) numbers of texts; NaN for one that is none or is infinite."""
    try:
        read = np.asarray(distinct.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
    except pa.ArrowInvalid:
        read = np.array([_number_of(text) for text in distinct.to_pylist()], dtype=np.float64)
    return np.where(np.isinf(read), np.nan, read)


def _number_of(text: str) -> float:
    if text in TRUTH:
        return TRUTH[text]
    try:
        return float(pa.scalar(text).cast(pa.float64()).as_py())
    except pa.ArrowInvalid:
        return np.nan


def _refuse(cells: Cells, wrong: Booleans, allowed: str, mend: str = "mend that file") -> None:
    if wrong.any():
        row = int(wrong.argmax())
        raise cells.mistake(row, shown(cells.values[row].as_py()), allowed, mend)


def shown(value: Any) -> Any:
    """A value of a cell as its user knows it."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def features(cells: Cells, nulls: Collection[str], missing: float, transform: str) -> tuple[Any, int]:
    """(N,) float32 of a numeric feature, and how many were missing.

    Raises:
        UserError: a value is no number, or beyond float32.
    """
    read = numbers(cells, nulls)
    empty = np.isnan(read)
    read = np.where(empty, missing, read)
    if transform == "log1p":
        read = np.sign(read) * np.log1p(np.abs(read))
    _refuse(cells, np.abs(read) > np.finfo(np.float32).max, "a number of at most 3.4e38")
    return read.astype(np.float32), int(empty.sum())


def labels(cells: Cells, nulls: Collection[str]) -> Booleans:
    """(N,) which rows are positive.

    Raises:
        UserError: a value is not 0 or 1.
    """
    read = numbers(cells, nulls, "0 or 1")
    _refuse(cells, (read != 0) & (read != 1), "0 or 1", "a label is never missing; mend that file, or drop such rows")
    return np.asarray(read == 1)


def levels(cells: Cells, nulls: Collection[str]) -> pa.DictionaryArray:
    """(N,) texts of a column that domains or stages are made of; whole numbers without `.0`, MISSING_LEVEL for none."""
    values = cells.values.cast(pa.string()) if pa.types.is_floating(cells.values.type) else cells.values
    found = texts(Cells(cells.column, values, cells.place, cells.row_name), nulls)
    names = [WHOLE.fullmatch(text) for text in found.distinct.to_pylist()]
    known = [whole[1] if whole else text for whole, text in zip(names, found.distinct.to_pylist(), strict=True)]
    codes = np.where(found.codes < 0, len(known), found.codes)
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array([*known, MISSING_LEVEL], pa.string()))


def sequences(
    cells: Cells, nulls: Collection[str], separator: str | None, length: int
) -> tuple[pa.ListArray, Callable[[int], int]]:
    """(N,) lists of the last `length` ids, missing ones left out; and the row of each id in them.

    Raises:
        UserError: it is neither a list nor text with a separator, or not in UTF-8.
    """
    offsets, elements = _elements(cells, nulls, separator)
    rows = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    inner = Cells(cells.column, elements, cells.place, lambda index: cells.row_name(int(rows[index])))
    found, _ = ids(inner, nulls, 0)
    present = _present(elements, nulls)
    from_end = _from_end(rows, present, len(offsets) - 1)
    kept = present & (from_end < length)
    counts = np.bincount(rows[kept], minlength=len(offsets) - 1)
    kept_rows = rows[kept]
    return (
        pa.ListArray.from_arrays(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32), pa.array(found[kept])),
        lambda index: int(kept_rows[index]),
    )


def _elements(cells: Cells, nulls: Collection[str], separator: str | None) -> tuple[Integers, pa.Array]:
    values = cells.values
    if is_text(values.type):
        if separator is None:
            raise cells.mistake(0, shown(values[0].as_py()), "a list", "or give the sequence its `separator`")
        found = texts(cells, nulls)
        values = pc.split_pattern(found.distinct, separator).take(pa.array(found.codes, mask=found.codes < 0))
    elif not (pa.types.is_list(values.type) or pa.types.is_large_list(values.type)):
        raise cells.mistake(0, str(values.type), "a list or text with a separator, not a column of this type")
    counts = pc.list_value_length(values).fill_null(0).to_numpy(zero_copy_only=False)
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), values.flatten()


def _present(elements: pa.Array, nulls: Collection[str]) -> Booleans:
    present = elements.is_valid()
    if is_text(elements.type):
        trimmed = pc.utf8_trim_whitespace(elements.cast(pa.string()))
        present = pc.and_(present, pc.invert(pc.is_in(trimmed, value_set=pa.array(sorted(nulls), pa.string()))))
    elif pa.types.is_floating(elements.type):
        present = pc.and_(present, pc.invert(pc.is_nan(elements))).fill_null(False)
    return np.asarray(present.to_numpy(zero_copy_only=False), dtype=np.bool_)


def _from_end(rows: Integers, present: Booleans, count: int) -> Integers:
    """(M,) how many elements that are present follow each one in its row."""
    totals = np.cumsum(np.bincount(rows[present], minlength=count))
    return np.asarray(totals[rows] - np.cumsum(present), dtype=np.int64)


def check_identity(values: Integers, rows: int, row_of: Callable[[int], int], cells: Cells) -> None:
    """Refuse ids that are no rows of an identity-coded table.

    Args:
        values: (M,) ids.
        rows: of the table.
        row_of: the row of `cells` that an id stands in.

    Raises:
        UserError: one is not.
    """
    wrong = (values < 0) | (values >= rows)
    if wrong.any():
        index = int(wrong.argmax())
        raise cells.mistake(
            row_of(index), int(values[index]), f"0 to {rows - 1}", "raise `rows`, or choose encoding: hash"
        )
