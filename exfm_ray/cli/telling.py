"""How a command speaks, and how it ends.

Exit codes: 0 done, 1 our failure (its traceback kept in the log), 2 the user's mistake (one line), 130 interrupted.
"""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console

from exfm_ray.errors import UserError


class Teller:
    """How a command speaks, and where its traceback goes should it fail."""

    def __init__(self) -> None:
        self.console = Console()
        self.logs: Path | None = None

    def line(self, text: str) -> None:
        self.console.print(text, soft_wrap=True, highlight=False, markup=False)

    def warning(self, text: str) -> None:
        print(f"exfm: {text}", file=sys.stderr)

    def failed(self, error: Exception) -> str:
        """One line; the traceback is kept in the run's logs, or shown where there is no run or no room for it."""
        trace = "".join(traceback.format_exception(error))
        reason = next(iter(str(error).strip().splitlines()), "")
        line = f"failed: {type(error).__name__}: {reason}"
        if self.logs is None:
            return f"{trace}\nexfm: {line}"
        place = self.logs / "failure.log"
        try:
            self.logs.mkdir(parents=True, exist_ok=True)
            place.write_text(trace)
        except OSError:  # such as the full disk that the command failed of
            return f"{trace}\nexfm: {line}; the same command goes on from what is committed"
        return f"{line}; the traceback is in {place}; the same command goes on from what is committed"


@contextmanager
def telling(interrupted: str = "interrupted; the same command goes on from here") -> Iterator[Teller]:
    """Turn what goes wrong in a command into a line and an exit code.

    Args:
        interrupted: what is said after Ctrl-C.
    """
    teller = Teller()
    try:
        yield teller
    except typer.Exit:
        raise  # told already
    except UserError as error:
        raise ended(str(error), 2) from error
    except KeyboardInterrupt as error:
        raise ended(interrupted, 130) from error
    except Exception as error:
        raise ended(teller.failed(error), 1) from error


def ended(message: str, code: int) -> typer.Exit:
    """Say why a command ends; what is to be raised for it."""
    print(f"exfm: {message}", file=sys.stderr)
    return typer.Exit(code)
