"""A head with the job API on this machine alone, until Ctrl-C: bound to loopback, and only for who has the token.

ray get-auth-token --generate      # once; it is kept in ~/.ray/auth_token
python clusters/laptop.py
"""

import argparse
import os
import signal

os.environ["RAY_AUTH_MODE"] = "token"
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray

CPUS_FOR_A_RECIPE = 4
"""that the parts of a small recipe need at once; they share the cores that there are"""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--port", type=int, default=8265, help="of the job API")
    arguments.add_argument("--cpus", type=int, default=max(os.cpu_count() or 1, CPUS_FOR_A_RECIPE))
    given = arguments.parse_args()
    ray.init(
        "local",
        num_cpus=given.cpus,
        include_dashboard=True,
        dashboard_host="127.0.0.1",
        dashboard_port=given.port,
        log_to_driver=False,
        logging_level="error",
        _node_ip_address="127.0.0.1",
    )
    print(f"exfm submit RECIPE --address http://127.0.0.1:{given.port}; Ctrl-C ends it", flush=True)
    try:
        signal.pause()
    except KeyboardInterrupt:
        ray.shutdown()


if __name__ == "__main__":
    main()
