"""Places in a store, by their URIs."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from exfm_ray.data.location import Location


def test_options_stay_behind_the_path() -> None:
    bucket = Location.of("s3://bucket/runs/?region=eu-west-1&scheme=http")
    assert bucket.uri == "s3://bucket/runs?region=eu-west-1&scheme=http"
    assert (bucket / "first").day(7).uri == "s3://bucket/runs/first/day=007?region=eu-west-1&scheme=http"
    assert (bucket / "first").day(7).name == "day=007"


def test_a_local_path_may_have_a_question_mark(tmp_path: Path) -> None:
    place = Location.of(str(tmp_path / "why?")) / "a"
    assert place.uri == f"{tmp_path}/why?/a"
    place.write(b"x")
    assert (tmp_path / "why?" / "a").read_bytes() == b"x"


def test_listing_a_directory_that_comes_and_goes_never_fails(tmp_path: Path) -> None:
    place, over, listed = Location.of(str(tmp_path / "a")), threading.Event(), set[str]()

    def list_all() -> None:
        while not over.is_set():
            listed.update(child.name for child in place.children())

    with ThreadPoolExecutor(1) as threads:
        reader = threads.submit(list_all)
        for _ in range(500):
            (tmp_path / "a").mkdir()
            (tmp_path / "a" / "b").touch()
            (tmp_path / "a" / "b").unlink()
            (tmp_path / "a").rmdir()
        over.set()
        reader.result()
    assert listed <= {"b"}


def test_deleting_what_is_not_there_changes_nothing(tmp_path: Path) -> None:
    Location.of(str(tmp_path / "a")).delete()
    assert list(tmp_path.iterdir()) == []
