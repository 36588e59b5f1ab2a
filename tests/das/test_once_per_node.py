"""Three replicas on a node, each a process with an updater and a loader, read each snapshot from storage once."""

import subprocess
import sys
import textwrap
from pathlib import Path

from exfm_ray.das.embedded_pointer import EmbeddedPointer
from exfm_ray.das.expected import Expected
from exfm_ray.data.snapshots import SnapshotDatabase
from exfm_ray.schema import Schema
from tests.das.published import parameter_file, publish
from tests.s3_server import S3Server

REPLICA = """
    import sys, time
    from pathlib import Path
    from exfm_ray.das.embedded_pointer import EmbeddedPointer
    from exfm_ray.das.expected import Expected
    from exfm_ray.das.loader import SnapshotLoader
    from exfm_ray.das.node_cache import NodeCache
    from exfm_ray.das.updater import Updater
    from exfm_ray.data.location import Location
    from exfm_ray.data.snapshots import SnapshotDatabase

    snapshots, pointer, cache, fingerprint, *tasks = sys.argv[1:]
    service = (SnapshotDatabase(Location(snapshots)), EmbeddedPointer(pointer), 60, time.time)
    shared = (Expected(fingerprint, tuple(tasks)), NodeCache(Path(cache)))
    loader = SnapshotLoader(*service, *shared)
    loader.follow(0.05, Updater(*service, *shared))
    for day in (1, 2):
        while loader.current is None or loader.current.snapshot_day != day:
            time.sleep(0.01)
        maps = Path("/proc/self/maps").read_text()
        print(loader.current.identity, "mapped" if cache in maps else "copied", flush=True)
    sys.stdin.read()
"""


def test_three_replicas_read_each_snapshot_once(s3: S3Server, small_schema: Schema, tmp_path: Path) -> None:
    database = SnapshotDatabase(s3.bucket("once-per-node") / "fm")
    pointer, cache = str(tmp_path / "pointer"), str(tmp_path / "cache")
    expected = Expected.of(small_schema, small_schema.tasks)
    arguments = [database.root.uri, pointer, cache, expected.inputs, *expected.tasks]
    command = [sys.executable, "-c", textwrap.dedent(REPLICA), *arguments]
    replicas = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    try:
        for day in (1, 2):
            publish(database, small_schema, day)
            for replica in replicas:
                assert replica.stdout is not None
                assert replica.stdout.readline() == f"fm/day=00{day} mapped\n"
            assert s3.requests("GET", parameter_file(database, day)) == 1
    finally:
        for replica in replicas:
            replica.kill()
            replica.communicate()
    held = EmbeddedPointer(pointer).read()
    assert held is not None
    assert (held.version, held.snapshot_day) == (2, 2)
