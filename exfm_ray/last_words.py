"""A line for the user where this process ends without a word.

Where its cluster is gone, Ray ends a driver from within, at once and past all of Python: nothing here can be raised or
caught then. So a process beside this one, which is told of an ordinary end, speaks in its place.
"""

import atexit
import subprocess
from contextlib import suppress

WAIT_THEN_SPEAK = 'read -r word; [ "$word" = farewell ] || echo "$1" >&2'
END_SECONDS = 10.0
_speakers: list[subprocess.Popen[str]] = []


def leave_word(line: str) -> None:
    """Have a line said on stderr should this process end in any way that Python does not know of, `kill -9` included.

    Of several calls the first one counts.
    """
    if _speakers:
        return
    # in a session of its own: Ctrl-C is this process's, and an ordinary end
    speaker = subprocess.Popen(
        ["/bin/sh", "-c", WAIT_THEN_SPEAK, "sh", line],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    _speakers.append(speaker)
    atexit.register(_take_leave, speaker)


def _take_leave(speaker: "subprocess.Popen[str]") -> None:
    with suppress(OSError, subprocess.TimeoutExpired):  # who was killed cannot speak either
        speaker.communicate("farewell\n", timeout=END_SECONDS)
