"""The cascade's numbers and findings as plain English."""

from itertools import pairwise

from exfm_ray.config import CascadeConfig
from exfm_ray.report.cascade import CascadeReport, Gain, taught_by
from exfm_ray.report.wording import DASH, listed, percent


def gain(value: Gain | None) -> str:
    """Mean gain ± sd, without its unit."""
    if value is None:
        return DASH
    return percent(value.mean) + (f" ± {value.sd:.2f}" if value.sd is not None else "")


def won(value: Gain | None) -> str:
    """In how many pairs a gain is one."""
    return DASH if value is None else f"better in {value.better} of {value.n}"


def cascade_sentence(config: CascadeConfig) -> str:
    """What was asked of the cascade."""
    return (
        f"{config.requests:,} requests per evaluated day, none of them an event of the log, each with the same "
        f"{config.candidates:,} ads to choose from: retrieval lets {config.retrieved:,} of them through, early "
        f"{config.early:,}, and later shows {config.shown:,}. The VMs are of one method and seed, trained through the "
        "day before."
    )


def cascade_findings(report: CascadeReport) -> list[str]:
    """Whether the paper's order of stages comes out, and which methods have no cascade."""
    found = []
    if gains := taught_by(report):
        method = report.methods[-1]
        means = ", ".join(f"{stage} {percent(of.mean)} %" for stage, of in gains.items())
        falls = all(earlier.mean > later.mean for earlier, later in pairwise(gains.values()))
        found.append(
            f"NE gain by {method}: {means}. In the paper (Figure 6) it is 0.11 to 0.25 %, the more the earlier the "
            f"stage; on the means that order {'comes out' if falls else 'does not come out'} here."
        )
    found += [f"{method} has no cascade: {listed(vms)} did not run it." for method, vms in report.lacking.items()]
    return found
