"""What only the pointer in a directory can get wrong."""

from pathlib import Path

import pytest

from exfm_ray.das.embedded_pointer import EmbeddedPointer
from exfm_ray.das.pointer import RECORD_BYTES
from exfm_ray.errors import DataError


@pytest.mark.parametrize(
    ("content", "told"), [("{", "not a pointer's record"), (" " * (RECORD_BYTES + 1), "at most 65536")]
)
def test_a_damaged_record_is_told(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "latest.json").write_text(content)
    with pytest.raises(DataError, match=told):
        EmbeddedPointer(str(tmp_path)).read()


def test_a_record_from_before_older_leases_were_kept_is_read(tmp_path: Path) -> None:
    (tmp_path / "latest.json").write_text('{"version": 3, "snapshot_day": 2, "lease_until": 60.0}')
    held = EmbeddedPointer(str(tmp_path)).read()
    assert held is not None
    assert (held.version, held.older_until) == (3, 0.0)
