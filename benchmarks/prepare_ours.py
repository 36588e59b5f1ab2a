"""Our side of prepare.py: what `exfm prepare taobao` does, on a Ray cluster of this machine; then waits to be ended."""

import json
import sys
import time
from pathlib import Path

from exfm_ray.cluster import task_cluster
from exfm_ray.config import TaobaoData
from exfm_ray.data.location import Location
from exfm_ray.prepare_log import prepare_log


def main() -> None:
    path, out = sys.argv[1:]
    started = time.monotonic()
    with task_cluster(None, Path(f"{out}.logs")) as spread:
        lines = list(prepare_log(TaobaoData(path=path), Location.of(out), spread))
        print(json.dumps({"seconds": time.monotonic() - started, "told": lines}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
