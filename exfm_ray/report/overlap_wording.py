"""What the overlap of a run's work means, as plain English."""

from exfm_ray.report.overlap import Overlap, Part
from exfm_ray.report.wording import counted, duration, listed, number, share

PART_WORDS: dict[Part, str] = {
    "days": "the preparation of days",
    "fm": "the FM chain",
    "supervision": "the supervision",
    "vms": "the VMs' work",
    "cascades": "the cascades' evaluation",
    "start": "start-up",
}


def path_sentence(overlap: Overlap) -> str:
    """Wall, critical path, and what the path consists of."""
    parts = [f"{PART_WORDS[part]} {share(seconds / overlap.path)} %" for part, seconds in overlap.path_by_part.items()]
    return (
        f"The run took {number(overlap.wall, 1)} s on the clock, {overlap.ratio:.2f} × its critical path of "
        f"{number(overlap.path, 1)} s: {listed(parts)}."
    )


def bound_sentence(overlap: Overlap) -> str:
    """What would have to be faster, or more, for the run to be faster."""
    cpus, work = counted(overlap.cpus, "CPU"), duration(sum(overlap.work_by_part.values()))
    if overlap.is_bound_by_path:
        part = next(iter(overlap.path_by_part))
        if part == "start":
            return "What bounds it is start-up, the largest part of the critical path, which no day and no VM adds to."
        return (
            f"What bounds it is {PART_WORDS[part]}, the largest part of the critical path; its work, {work} of CPU "
            f"time, would keep {cpus} busy for {duration(overlap.least_for_work)} only, so that more of them would "
            "hardly help."
        )
    part = next(iter(overlap.work_by_part))
    return (
        f"What bounds it is {PART_WORDS[part]}: all work took {work} of CPU time, at least "
        f"{duration(overlap.least_for_work)} on {cpus}, which is longer than the critical path; more CPUs would help."
    )


def pause_sentence(overlap: Overlap) -> str | None:
    """How often a run was continued; None where one command made all of it."""
    if overlap.commands == 1:
        return None
    return (
        f"{counted(overlap.commands, 'command')} made it, one after the other; the {duration(overlap.paused)} between "
        "them are not counted, nor is work that an interruption lost: each command's time and its own critical path, "
        "with its own start-up, are added up."
    )
