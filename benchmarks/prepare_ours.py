"""Our side of prepare.py: what `exfm prepare taobao` does; then waits to be ended."""

import json
import sys
import time
from pathlib import Path

from exfm_ray.config import TaobaoData
from exfm_ray.data.location import Location
from exfm_ray.prepare_log import prepare_log, processes_for


def main() -> None:
    path, out = sys.argv[1:]
    started = time.monotonic()
    config = TaobaoData(path=path)
    with processes_for(config, None, Path(f"{out}.logs")) as spread:
        lines = list(prepare_log(config, Location.of(out), spread))
        print(json.dumps({"seconds": time.monotonic() - started, "told": lines}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
