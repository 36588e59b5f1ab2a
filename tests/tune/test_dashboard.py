"""optuna-dashboard itself, over a study's storage."""

import json
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import psutil

from tests.das.zookeeper_server import free_port
from tests.tune.test_trial_book import book, lived

SHOW = "from exfm_ray.tune.dashboard import show_dashboard; show_dashboard({url!r}, print, {port})"


def test_the_dashboard_shows_the_study_and_listens_on_loopback_alone(tmp_path: Path) -> None:
    one, port = book(tmp_path), free_port()
    opened = one.begin()
    assert opened is not None
    lived(one, opened)
    code = SHOW.format(url=f"sqlite:///{tmp_path}/study.db", port=port)
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    try:
        (summary,) = answer(f"http://127.0.0.1:{port}/api/studies", process)["study_summaries"]
        detail = answer(f"http://127.0.0.1:{port}/api/studies/{summary['study_id']}?after=0", process)
        listening = [
            c.laddr.ip for c in psutil.Process(process.pid).net_connections() if c.status == psutil.CONN_LISTEN
        ]
    finally:
        process.terminate()
        process.wait()
    assert summary["study_name"] == "study"
    assert [trial["values"] for trial in detail["trials"]] == [one.ended()[0].values]
    assert listening == ["127.0.0.1"]


def answer(url: str, process: "subprocess.Popen[bytes]") -> dict[str, list[dict[str, object]]]:
    deadline = time.monotonic() + 120
    while True:
        assert process.poll() is None
        try:
            with urlopen(url, timeout=30) as response:
                found: dict[str, list[dict[str, object]]] = json.load(response)
                return found
        except URLError:
            assert time.monotonic() < deadline, f"{url} does not answer"
            time.sleep(0.2)
