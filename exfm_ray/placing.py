"""Whether processes that may run on some nodes alone ever find room there; Ray would wait for it for ever."""

from collections.abc import Mapping, Sequence

from exfm_ray.config.placement import ACCELERATOR, Placement
from exfm_ray.errors import UserError

Node = Mapping[str, float]
"""its resources, by Ray's names"""


def room_on(placement: Placement, nodes: Sequence[Node]) -> int:
    """How many of the processes fit at once, if nothing else runs there."""
    return sum(_room_on_one(placement, node) for node in nodes)


def check_placement(kind: str, placement: Placement, processes: int, who: str, nodes: Sequence[Node]) -> None:
    """Compare what a recipe says of the nodes for some of its processes with the nodes.

    Args:
        kind: fm or vm, which the names of the fields begin with.
        who: the processes in words, with their number.

    Raises:
        UserError: no node is allowed, or the allowed ones are too few.
    """
    if placement.accelerator and not _with(nodes, [f"{ACCELERATOR}{placement.accelerator}"]):
        types = sorted({name.removeprefix(ACCELERATOR) for node in nodes for name in node if ACCELERATOR in name})
        there = f"there are {', '.join(types)}" if types else "there is none of a known type"
        raise UserError(
            f"resources.{kind}_accelerator: no node has a {placement.accelerator!r}, {there}; name one of them, leave "
            "it out, or add such nodes (or say in resources.coming_nodes that they may come)"
        )
    if placement.nodes and not _with(nodes, [placement.nodes]):
        raise UserError(
            f"resources.{kind}_nodes: no node has the custom resource {placement.nodes!r}; start some with "
            f"--resources='{{\"{placement.nodes}\": 1}}', leave it out, or say in resources.coming_nodes that they may "
            "come"
        )
    if (room := room_on(placement, nodes)) < processes and placement.is_restricted:
        each = f"a CPU{f' and {placement.gpus:g} GPUs' if placement.gpus else ''} each"
        raise UserError(
            f"resources.{kind}_{'accelerator' if placement.accelerator else 'nodes'}: {who} need {each}, and the nodes "
            f"that they may run on have room for {room}; have fewer of them, or add such nodes"
        )


def _with(nodes: Sequence[Node], names: Sequence[str]) -> list[Node]:
    return [node for node in nodes if all(node.get(name, 0) > 0 for name in names)]


def _room_on_one(placement: Placement, node: Node) -> int:
    if not _with([node], placement.wanted_of_a_node()):
        return 0
    room = int(node.get("CPU", 0))
    if not placement.gpus:
        return room
    gpus = int(node.get("GPU", 0))
    by_gpu = gpus * int(1 / placement.gpus + 1e-6) if placement.gpus < 1 else int(gpus // placement.gpus)
    return min(room, by_gpu)
