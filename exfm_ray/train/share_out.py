"""Sharing out passes, and the variants in them, over workers."""

from collections.abc import Mapping, Sequence

READING = 0.25
"""what reading the rows of a pass costs, in trainings of one variant on them"""

Held = dict[int, int]
"""how many variants of each pass a worker has"""


def share_out(passes: Sequence[int], workers: int) -> list[list[tuple[int, int]]]:
    """Who trains what, for each worker as (pass, variant of it).

    Whole passes first, the dearest first, each to the worker that has least (Graham's longest first). Then, as long as
    that relieves the worker that has most by a variant at least, a part of one of its passes goes to the worker that
    has least, which reads the rows of that pass once more.

    Args:
        passes: how many variants share each pass; all variants are taken to cost the same.
        workers: at least one.
    """
    held: list[Held] = [{} for _ in range(workers)]
    for index in sorted(range(len(passes)), key=lambda index: (-passes[index], index)):
        _least(held)[index] = passes[index]
    while _relieve(held):
        pass
    shares: list[list[tuple[int, int]]] = [[] for _ in range(workers)]
    for index, variants in enumerate(passes):
        counts = {worker: share[index] for worker, share in enumerate(held) if index in share}
        for variant, worker in enumerate(_dealt(counts)):
            shares[worker].append((index, variant))
        assert sum(counts.values()) == variants
    return shares


def load(share: Mapping[int, int]) -> float:
    """What a worker's share costs, in trainings of one variant."""
    return sum(READING + variants for variants in share.values())


def _least(held: Sequence[Held]) -> Held:
    return min(held, key=load)


def _relieve(held: Sequence[Held]) -> bool:
    """Move that part of a pass which makes the most loaded worker and the least loaded one most equal, if it pays."""
    most, least = max(held, key=load), _least(held)
    moves = [(index, count) for index, variants in most.items() for count in range(1, variants + 1)]
    if not moves:
        return False
    after = {move: max(load(_with(most, move[0], -move[1])), load(_with(least, *move))) for move in moves}
    index, count = min(moves, key=lambda move: after[move])
    if load(most) - after[index, count] < 1:
        return False
    most_after, least_after = _with(most, index, -count), _with(least, index, count)
    for share, changed in ((most, most_after), (least, least_after)):
        share.clear()
        share.update(changed)
    return True


def _with(share: Held, index: int, count: int) -> Held:
    """A share with `count` more variants of a pass; without the pass where none is left."""
    variants = share.get(index, 0) + count
    return {**share, index: variants} if variants else {other: n for other, n in share.items() if other != index}


def _dealt(counts: Mapping[int, int]) -> list[int]:
    """Workers in turn, each as often as it has variants, evenly spaced.

    Neighbours in a recipe are often alike (the same method or architecture), so every worker gets some of each.
    """
    turns = [((turn + 0.5) / count, worker) for worker, count in counts.items() for turn in range(count)]
    return [worker for _, worker in sorted(turns)]
