"""Who ends without a word has one said for them, and who does not has none."""

import signal
import subprocess
import sys

import pytest

LEFT = "from exfm_ray.last_words import leave_word; leave_word('it is gone; $HOME \"go on\"'); leave_word('never'); "

# whoever started these tests may have had them ignore it
INTERRUPTED = "import os, signal; signal.signal(signal.SIGINT, signal.default_int_handler); os.killpg(0, signal.SIGINT)"


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("import os; os._exit(1)", 1),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("import os; os.abort()", -signal.SIGABRT),
    ],
)
def test_an_end_that_python_does_not_know_of_is_told(end: str, code: int) -> None:
    done = ended(LEFT + end)
    assert done.returncode == code
    assert done.stderr == 'it is gone; $HOME "go on"\n'


@pytest.mark.parametrize(
    ("end", "code", "said"),
    [
        ("pass", 0, ""),
        ("import sys; sys.exit(3)", 3, ""),
        ("raise SystemExit('own words')", 1, "own words\n"),
        (INTERRUPTED, -signal.SIGINT, "KeyboardInterrupt"),
    ],
)
def test_who_ends_in_an_ordinary_way_speaks_alone(end: str, code: int, said: str) -> None:
    done = ended(LEFT + end)
    assert done.returncode == code
    assert said in done.stderr
    assert "it is gone" not in done.stderr


def ended(program: str) -> subprocess.CompletedProcess[str]:
    """As a shell starts it: in a process group of its own."""
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, start_new_session=True)
