"""Content keys: what is made of the same things in the same way has one name, in whatever run it is made."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def canonical(made_of: Mapping[str, Any]) -> bytes:
    """The one JSON text of plain values, whatever the order in which they were put together.

    Raises:
        ValueError: a number is not finite.
        TypeError: a value is none of JSON's.
    """
    return json.dumps(made_of, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def content_key(made_of: Mapping[str, Any]) -> str:
    """64 hexadecimal digits that change with anything that something is made of.

    Args:
        made_of: plain values; those of other works are their keys.
    """
    return hashlib.sha256(canonical(made_of)).hexdigest()
