"""Amazon Electronics' official files: where they lie, and their lines read one by one."""

import ast
import json
import re
import warnings
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from exfm_ray.config import AmazonData
from exfm_ray.data.hashing import text_id
from exfm_ray.data.location import Location
from exfm_ray.data.logs.line_ranges import LineBlock, LineRange, line_blocks
from exfm_ray.errors import UserError

REVIEWS, META = "reviews_Electronics_5.json", "meta_Electronics.json"
X1 = ("train.csv", "test.csv")

FIRST_SECOND, LAST_SECOND = 757_382_400, 4_102_444_799
"""1994, when there was no Amazon yet, to 2099."""

MISSING_CATEGORY = -1
"""of an item whose meta line is missing or names no category"""

LONGEST_LINE_BYTES = 2**20
"""The longest of the official files have some 100,000."""
SHOWN_CHARACTERS = 60

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
            f"data.path: {path!r} holds train.csv or test.csv, as AmazonElectronics_x1 does, which has no times and is "
            f"shuffled; a split by time needs the raw files: put {REVIEWS} and {META} (or .gz) there"
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
    files = find_amazon(config.directory)
    first_reviews, first_metas = (LineRange(place, 0, 1) for place in (files.reviews, files.meta))
    for place, lines in ((files.reviews, read_reviews(first_reviews)), (files.meta, read_categories(first_metas))):
        if next(lines, None) is None:
            raise UserError(f"data.path: {place} is empty; put the official file there")


@dataclass(frozen=True)
class _Line:
    """One line of a file, and where it stands should there be a mistake to tell."""

    block: LineBlock
    index: int
    text: str

    def mistake(self, what: str, expected: str, found: str) -> UserError:
        shown = found if len(found) <= SHOWN_CHARACTERS else f"{found[:SHOWN_CHARACTERS]}…"
        return UserError(
            f"data.path: {self.block.place}, line {self.block.line_number(self.index)}, {what}: found {shown!r}, "
            f"expected {expected}; mend that line, or download the file again"
        )

    def text_of(self, content: dict[str, Any], name: str) -> str:
        value = content.get(name)
        if not isinstance(value, str) or not value:
            raise self.mistake(name, "a text that is not empty", repr(value))
        return value


def _lines(lines: LineRange) -> Iterator[_Line]:
    """Lines that are not empty.

    Raises:
        UserError: one is not UTF-8 or too long.
    """
    for block in line_blocks(lines):
        for index, raw in enumerate(block.content.split(b"\n")):
            if not raw.strip():
                continue
            line = _Line(block, index, raw.decode(errors="backslashreplace").rstrip("\r"))
            if len(raw) > LONGEST_LINE_BYTES:
                raise line.mistake(f"of {len(raw):,} bytes", f"at most {LONGEST_LINE_BYTES:,}", line.text)
            try:
                raw.decode()
            except UnicodeDecodeError as error:
                found = f"the byte 0x{raw[error.start]:02x}"
                raise line.mistake(f"column {error.start + 1}", "text in UTF-8", found) from error
            yield line


def read_reviews(lines: LineRange) -> Iterator[Review]:
    """The reviews of a range, in file order.

    Raises:
        UserError: a line is no JSON object, or lacks a needed field or holds a wrong one.
    """
    for line in _lines(lines):
        try:
            content = json.loads(line.text)
        except (ValueError, RecursionError) as error:
            column = error.colno if isinstance(error, json.JSONDecodeError) else 1
            raise line.mistake(f"column {column}", "a JSON object", line.text) from error
        if not isinstance(content, dict):
            raise line.mistake("column 1", "a JSON object", line.text)
        user, item = (_id(line.text_of(content, name)) for name in ("reviewerID", "asin"))
        yield Review(user, item, _second(line, content))


def _id(text: str) -> int:
    """The id of a text, which JSON and Python literals may give half of a surrogate pair that UTF-8 cannot hold."""
    return text_id(text.encode(errors="backslashreplace").decode())


def _second(line: _Line, content: dict[str, Any]) -> int:
    value = content.get("unixReviewTime")
    if type(value) is not int or not FIRST_SECOND <= value <= LAST_SECOND:
        raise line.mistake("unixReviewTime", "whole seconds from 1994 to 2099", repr(value))
    return value


def read_categories(lines: LineRange, wanted: Collection[int] | None = None) -> Iterator[tuple[int, int]]:
    """Item and category (the last of the last list) of each meta line of a range, in file order.

    Args:
        wanted: items; whole lines that begin with another are passed over unparsed. None: all.

    Raises:
        UserError: a line is no Python literal of a dict, or lacks its asin, or has categories of another form.
    """
    for line in _lines(lines):
        begins = ASIN_FIRST.match(line.text)
        if wanted is not None and begins and line.text.endswith("}") and text_id(begins[1]) not in wanted:
            continue
        content = _literal(line)
        item = _id(line.text_of(content, "asin"))
        if wanted is None or item in wanted:
            yield item, _category(line, content)


def _literal(line: _Line) -> dict[str, Any]:
    """The dict that a line writes down; literals alone are read, and nothing is run."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the parser's remarks on odd escapes would be lines without a place
            content = ast.literal_eval(line.text)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        column = getattr(error, "offset", None) or 1
        raise line.mistake(f"column {column}", "a dict as a Python literal", line.text) from error
    if not isinstance(content, dict):
        raise line.mistake("column 1", "a dict as a Python literal", line.text)
    return content


def _category(line: _Line, content: dict[str, Any]) -> int:
    lists = content.get("categories") or [[]]
    last = lists[-1] if isinstance(lists, list) else None
    if not isinstance(last, list) or not all(isinstance(name, str) for name in last):
        raise line.mistake("categories", "a list of lists of names", repr(lists))
    return _id(last[-1]) if last else MISSING_CATEGORY
