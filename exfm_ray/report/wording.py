"""Numbers and comparisons as plain English."""

from collections.abc import Sequence

from exfm_ray.config import Recipe
from exfm_ray.report.control import Control
from exfm_ray.report.feedback import Calls, FoundationWork, Labels, fm_is_late, staleness_needed
from exfm_ray.report.results import Results
from exfm_ray.report.statistics import Change, Ordering, Summary, paired_change
from exfm_ray.schema import METHODS

DASH = "–"
"""Stands for a number that is not defined."""


def number(value: float | None, digits: int = 5) -> str:
    """A number with a fixed count of decimals and thousands separated by commas."""
    return DASH if value is None else f"{value:,.{digits}f}"


def percent(value: float | None) -> str:
    """A signed change in percent, without its unit."""
    return DASH if value is None else f"{value:+.2f}".replace("-0.00", "0.00").replace("+0.00", "0.00")


def spread(summary: Summary, digits: int = 5) -> str:
    """Mean ± sd; the mean alone where one value gives no sd."""
    return number(summary.mean, digits) + (f" ± {summary.sd:,.{digits}f}" if summary.sd is not None else "")


def change(value: Change | None) -> str:
    """Mean change in percent ± sd."""
    if value is None:
        return DASH
    return f"{percent(value.mean)} %" + (f" ± {value.sd:.2f}" if value.sd is not None else "")


def share(value: float | None) -> str:
    """A share of 0 to 1 in percent, without its unit."""
    return DASH if value is None else f"{100 * value:.1f}"


def duration(seconds: float) -> str:
    """A time in the unit that suits it: `4.0 ms`, `95.0 s`, `1 h 30 min`."""
    size, sign = abs(seconds), "−" if seconds < 0 else ""
    if size < 0.1:
        return f"{sign}{1_000 * size:.1f} ms"
    if size < 120:
        return f"{sign}{size:.{2 if size < 10 else 1}f} s"
    hours, minutes = divmod(round(size / 60), 60)
    parts = ([f"{hours:,} h"] if hours else []) + ([f"{minutes} min"] if minutes else [])
    return sign + " ".join(parts)


def counted(count: int, noun: str) -> str:
    """`1 day`, `2 days`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def pairs(value: Change | None) -> str:
    """How many pairs a change is over, and in how many of them it is an improvement."""
    if value is None:
        return "no pair of seed and day to compare"
    if value.n == 1:
        outcome = "better" if value.better else "worse" if value.worse else "equal"
        return f"n = 1 pair of seed and day, {outcome}; one pair has no spread"
    return f"n = {value.n} pairs of seed and day, better in {value.better}"


def listed(items: Sequence[object]) -> str:
    """`a, b and c`."""
    words = [str(item) for item in items]
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def days(values: Sequence[int]) -> str:
    """`day 4`, `days 4 to 8`, or each named where some are missing."""
    if len(values) == 1:
        return f"day {values[0]}"
    if list(values) == list(range(values[0], values[-1] + 1)):
        return f"days {values[0]} to {values[-1]}"
    return f"days {listed(values)}"


def run_sentence(recipe: Recipe, results: Results) -> str:
    """What was run."""
    ran = {line.method for line in results.lines}
    methods = f"method{'' if len(ran) == 1 else 's'} {listed([method for method in METHODS if method in ran])}"
    seeds = f"seed{'' if len(results.seeds) == 1 else 's'} {listed(results.seeds)}"
    rows = {(line.vm, line.eval_day): line.rows for line in results.lines}
    return (
        f"One foundation model ({recipe.fm.name}, {recipe.fm.model.type}) taught "
        f"{counted(len(results.vms), 'vertical model')} on the {recipe.data.type} data: {methods}, {seeds}. "
        f"They were evaluated on {days(results.days)}, {_protocol(recipe)}. That gives "
        f"{counted(len(results.lines), 'result')}, over {counted(sum(rows.values()), 'row')} per method and seed."
    )


def _protocol(recipe: Recipe) -> str:
    if recipe.evaluate.protocol == "windows":
        return "each time after training from the start on the day before alone"
    return "each day before training on it"


def headline(results: Results, vm: str) -> str:
    """How much the strongest method that a VM ran, by the paper's order, changes its NE."""
    methods = results.methods(vm)
    taught = [method for method in methods if method != "none"]
    if not taught or "none" not in methods:
        return f"Only {listed(methods)} ran, so there is no change from none to a taught model to tell."
    best = taught[-1]
    value = paired_change(results.series(vm, "none", "ne"), results.series(vm, best, "ne"))
    if value is None:
        return f"With the FM ({best}) the change of next-day NE is not known: {pairs(value)}."
    sentence = f"With the FM ({best}) next-day NE changes by {change(value)} ({pairs(value)})."
    if value.verdict == "tie":
        return f"{sentence} That is within one standard error of no change."
    return f"{sentence} That is worse than without the FM." if value.verdict == "no" else sentence


def worse_than_none(results: Results, vm: str) -> str | None:
    """Names every method whose mean change is for the worse; None where there is none."""
    none, worse = results.series(vm, "none", "ne"), []
    for method in results.methods(vm):
        value = paired_change(none, results.series(vm, method, "ne")) if method != "none" else None
        if value is not None and value.mean > 0:
            worse.append(f"{method} ({change(value)}, {pairs(value)})")
    return f"Worse than none on the mean: {listed(worse)}." if worse else None


def order_sentence(order: Ordering) -> str:
    """The order found on the means, from highest NE to lowest."""
    paper = " > ".join([*(step.worse for step in order.steps), order.steps[-1].better])
    if order.on_the_means is None:
        return f"The paper's order {paper} cannot be checked: the methods share no pair of seed and day."
    found = " > ".join(f"{method} {number(mean)}" for method, mean in order.means)
    verb = "comes out" if order.on_the_means else "does not come out"
    over = counted(order.pairs, "pair")
    return f"On the means the paper's order {paper} {verb}. Found, from highest to lowest mean NE over {over}: {found}."


def control_sentence(control: Control) -> str:
    """What the adapter itself gives."""
    total = f"{control.matched_weight:g}"
    sentence = (
        f"{control.vm} with ah_sa (weight {control.adapter_weight:g} + 1) against {control.matched} with ah "
        f"(weight {total}), the same total distillation weight: NE changes by {change(control.change)} "
        f"({pairs(control.change)})."
    )
    verdicts = {
        "yes": "So the adapter gives something that extra weight does not.",
        "no": "So the adapter is worse than the same weight without it.",
        "tie": "Within one standard error of zero, so the adapter itself cannot be told from extra weight.",
    }
    caveat = f" The two also differ in {listed(control.differences)}." if control.differences else ""
    return f"{sentence} {verdicts[control.change.verdict]}{caveat}"


def uncontrolled_sentence(vm: str) -> str:
    return (
        f"{vm} has no VM beside it that runs ah at the same total distillation weight, so the adapter's own gain "
        "cannot be told from extra weight."
    )


def late_sentence(labels: Labels) -> str:
    """What became of rows whose label came too late."""
    over = f"{counted(labels.rows, 'row')} of {counted(labels.days, 'day')}"
    if labels.late == "negative":
        return f"Of {over}, those whose label was lost trained as negative ones, as they would live."
    return (
        f"Of {over}, those whose label was lost are left out for the VMs of that task. The FM leaves out "
        f"{counted(labels.rows_without_label, 'row')} that lost all labels, and of the others the single labels. "
        "That takes hindsight: live, a row whose label is still to come cannot be told from a negative one."
    )


def clock_sentence(recipe: Recipe, labels: Labels) -> str:
    """When, live, the models of this simulation could be there."""
    waits = listed([f"{task.task} {duration(task.window)}" for task in labels.tasks])
    sentence = (
        "The simulation's clock counts whole days: a VM trained on day t predicts the whole of day t + 1. Live, it "
        f"could not be ready before the last labels of day t are there, after midnight by {waits}, and until then the "
        "VM of the day before would serve."
    )
    if late := fm_is_late(recipe, labels):
        return (
            f"{sentence} The FM learns all tasks and waits for the longest window, so the one that supervises a day "
            f"would be there {duration(late)} after the day has begun; fm.staleness_days: {staleness_needed(labels)} "
            "is what allows for that."
        )
    return f"{sentence} The FM waits for the longest window, which its staleness allows for."


def window_sentence(work: Sequence[FoundationWork]) -> str | None:
    """What the replay says; None without a window."""
    if not work or (use := work[-1].use) is None:
        return None
    days = "the day" if len(work) == 1 else f"all {len(work) - 1} days"
    sentence = (
        f"Over {days}, 99 % of the rows were answered within {duration(use.p99)} of their event, "
        f"{100 * use.p99 / use.window:.1f} % of the shortest window ({duration(use.window)}); {share(use.hidden)} % of "
        "the FM's work was hidden in it."
    )
    if use.head_room >= 0 or use.answer_p99 > use.window:
        return sentence
    return (
        f"{sentence} That is the wait for {work[-1].rows / work[-1].requests:,.0f} rows to fill a request, not the FM: "
        f"after that it answered within {duration(use.answer_p99)}. A live service at this pace would send smaller "
        "requests (das.rows_per_request)."
    )


def calls_sentence(calls: Calls) -> str:
    """What one FM call per event means beside the VMs' rows."""
    return (
        f"FM calls ÷ rows of all VMs: {calls.ratio:.3f} ({counted(calls.fm_rows, 'prediction')} of the FM for "
        f"{counted(calls.vm_rows, 'row')} that VMs read on {days(calls.days)}). The FM is asked once about an event, "
        "however many VMs, methods and seeds read it. Below 1, traffic that VMs share is paid once; 1 is one call for "
        "each row of each VM; above 1, the FM also predicted rows that no VM reads."
    )


def missing_variants(recipe: Recipe, results: Results) -> list[str]:
    """What the recipe asks for and results.jsonl lacks, whole or by days."""
    missing = []
    for vm in recipe.vms:
        for method in recipe.methods_of(vm):
            for seed in recipe.seeds:
                have = {line.eval_day for line in results.of(vm.name, method) if line.seed == seed}
                if lacking := [day for day in results.days if day not in have]:
                    missing.append(f"{vm.name}, {method}, seed {seed}: {days(lacking)}")
    return missing
