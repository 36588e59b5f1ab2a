"""How a request from outside is turned away."""

import json

SHOWN_CHARACTERS = 60


class RefusedError(Exception):
    """A request that gets no prediction: an HTTP status, and one line that says what was found and what is allowed."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers


def found(value: object) -> str:
    """A JSON value as a refusal shows it: short, whatever the client sent."""
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return "an object"
    text = json.dumps(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…"


def check_names(names: list[str], expected: list[str], where: str) -> None:
    """Every feature once, and nothing else.

    Args:
        where: the prefix of a feature's place, such as `rows[3].`.

    Raises:
        RefusedError: 422, with the first name that is missing, unknown or given twice.
    """
    for name in expected:
        if names.count(name) != 1:
            what = "missing" if name not in names else f"given {names.count(name)} times"
            raise RefusedError(422, f"{where}{name}: {what}; every row has each of {', '.join(expected)} once")
    for name in names:
        if name not in expected:
            raise RefusedError(422, f"{where}{found(name)}: unknown; the features are {', '.join(expected)}")
