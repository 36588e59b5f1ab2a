"""Amazon Electronics' official files: where they lie, and their lines read one by one."""

import ast
import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from exfm_ray.config import AmazonData
from exfm_ray.data.hashing import key
from exfm_ray.data.location import Location
from exfm_ray.data.numbered_lines import numbered_lines
from exfm_ray.errors import UserError

REVIEWS, META = "reviews_Electronics_5.json", "meta_Electronics.json"
X1 = ("train.csv", "test.csv")

FIRST_SECOND, LAST_SECOND = 757_382_400, 4_102_444_799
"""1994, when there was no Amazon yet, to 2099."""

MISSING_CATEGORY = -1
"""of an item whose meta line is missing or names no category"""

ASIN_FIRST = re.compile(r"\{'asin': '([A-Za-z0-9]+)'[,}]")
"""How nearly all meta lines begin."""


@dataclass(frozen=True)
class AmazonFiles:
    reviews: Location
    meta: Location


@dataclass(frozen=True)
class Review:
    user: int
    item: int
    second: int
    """since the Unix epoch; reviews have a date only, so midnight UTC of it"""


def find_amazon(path: str) -> AmazonFiles:
    """The two files in a directory.

    Raises:
        UserError: it lacks one, or holds AmazonElectronics_x1.
    """
    root = Location.of(path)
    if not root.is_directory():
        found = "is a file" if root.is_file() else "does not exist"
        raise UserError(f"data.path: {path!r} {found}; give the directory that holds {REVIEWS} and {META}")
    names = {child.name for child in root.children()}
    if not names & {REVIEWS, f"{REVIEWS}.gz"} and names & {*X1}:
        raise UserError(
            f"data.path: {path!r} holds AmazonElectronics_x1, whose files have no times and whose train.csv is "
            f"shuffled; days need the raw files: put {REVIEWS} and {META} (or .gz) there"
        )
    return AmazonFiles(_find(root, names, REVIEWS), _find(root, names, META))


def _find(root: Location, names: set[str], name: str) -> Location:
    for candidate in (name, f"{name}.gz"):
        if candidate in names:
            return root / candidate
    raise UserError(f"data.path: {root} lacks {name} or {name}.gz; put the official file there")


def check_amazon(config: AmazonData) -> None:
    """Find the files and read the first line of each.

    Raises:
        UserError: one is missing or not of the official form.
    """
    files = find_amazon(config.path)
    for place, lines in ((files.reviews, read_reviews(files.reviews)), (files.meta, read_categories(files.meta))):
        if next(lines, None) is None:
            raise UserError(f"data.path: {place} is empty; put the official file there")


def string_id(text: str) -> int:
    """64 bits of a text as an id, the same in any process."""
    return int.from_bytes(key(text).tobytes(), "little", signed=True)


def read_reviews(place: Location) -> Iterator[Review]:
    """The reviews, in file order.

    Raises:
        UserError: a line is no JSON object, or lacks a needed field or holds a wrong one.
    """
    for number, line in numbered_lines(place):
        try:
            content = json.loads(line)
        except (ValueError, RecursionError) as error:
            column = error.colno if isinstance(error, json.JSONDecodeError) else 1
            raise _bad(place, number, f"column {column}, is no JSON", "a JSON object", line) from error
        if not isinstance(content, dict):
            raise _bad(place, number, "is JSON of another kind", "a JSON object", line)
        user, item = (_text(content, name, place, number) for name in ("reviewerID", "asin"))
        yield Review(string_id(user), string_id(item), _second(content, place, number))


def read_categories(place: Location, wanted: Collection[int] | None = None) -> Iterator[tuple[int, int]]:
    """Item and category (the last of the last list) of each meta line, in file order.

    Args:
        wanted: items; whole lines that begin with another are passed over unparsed. None: all.

    Raises:
        UserError: a line is no Python literal of a dict, or lacks its asin, or has categories of another form.
    """
    for number, line in numbered_lines(place):
        begins = ASIN_FIRST.match(line)
        if wanted is not None and begins and line.endswith("}") and string_id(begins[1]) not in wanted:
            continue
        content = _literal(place, number, line)
        item = string_id(_text(content, "asin", place, number))
        if wanted is None or item in wanted:
            yield item, _category(content, place, number)


def _literal(place: Location, number: int, line: str) -> dict[str, Any]:
    """The dict that a line writes down; literals alone are read, and nothing is run."""
    try:
        content = ast.literal_eval(line)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        column = getattr(error, "offset", None) or 1
        raise _bad(place, number, f"column {column}, is no Python literal", "a Python dict", line) from error
    if not isinstance(content, dict):
        raise _bad(place, number, "is a Python literal of another kind", "a Python dict", line)
    return content


def _category(content: dict[str, Any], place: Location, number: int) -> int:
    lists = content.get("categories") or [[]]
    last = lists[-1] if isinstance(lists, list) else None
    if not isinstance(last, list) or not all(isinstance(name, str) for name in last):
        raise _bad(place, number, "categories", "a list of lists of names", repr(lists))
    return string_id(last[-1]) if last else MISSING_CATEGORY


def _text(content: dict[str, Any], name: str, place: Location, number: int) -> str:
    value = content.get(name)
    if not isinstance(value, str) or not value:
        raise _bad(place, number, name, "a text that is not empty", repr(value))
    return value


def _second(content: dict[str, Any], place: Location, number: int) -> int:
    value = content.get("unixReviewTime")
    if type(value) is not int or not FIRST_SECOND <= value <= LAST_SECOND:
        raise _bad(place, number, "unixReviewTime", "whole seconds from 1994 to 2099", repr(value))
    return value


def _bad(place: Location, number: int, what: str, allowed: str, found: str) -> UserError:
    shown = found if len(found) <= 80 else f"{found[:80]}…"
    return UserError(
        f"data.path: {place}, line {number}, {what}: found {shown!r}, expected {allowed}; mend that line, or download "
        "the file again"
    )
