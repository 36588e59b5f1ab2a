"""Places in a store, by their URIs."""

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


def test_deleting_what_is_not_there_changes_nothing(tmp_path: Path) -> None:
    Location.of(str(tmp_path / "a")).delete()
    assert list(tmp_path.iterdir()) == []
