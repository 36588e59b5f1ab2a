import os
from pathlib import Path

from exfm_ray.data.location import Location
from exfm_ray.data.logs.input_files import identity


def test_identity_changes_with_whatever_may_change_the_days(tmp_path: Path) -> None:
    file = tmp_path / "log.txt"
    file.write_text("abc")
    place = Location.of(str(file))
    first = identity([place], "{}")
    assert identity([place], "{}") == first
    assert identity([place], "{days: 3}") != first
    os.utime(file, (1, 1))
    touched = identity([place], "{}")
    assert touched != first
    file.write_text("abcd")
    os.utime(file, (1, 1))
    assert identity([place], "{}") not in (first, touched)
