"""The one place that knows which store a pointer's address means."""

from exfm_ray.config.pointer import pointer_place
from exfm_ray.das.embedded_pointer import EmbeddedPointer
from exfm_ray.das.pointer import LatestPointer
from exfm_ray.das.zookeeper_pointer import ZooKeeperPointer
from exfm_ray.errors import UserError


def pointer_at(address: str) -> LatestPointer:
    """Open a latest pointer; a store behind a network is connected to at the first operation.

    Args:
        address: `zookeeper://host:port[,host:port]/path`, `embedded:/absolute/directory` or `/absolute/directory`.

    Raises:
        UserError: it has none of these forms.
    """
    try:
        place = pointer_place(address)
    except ValueError as error:
        raise UserError(f"das.pointer: {address!r}: {error}") from error
    return EmbeddedPointer(place.path) if place.hosts is None else ZooKeeperPointer(place.hosts, place.path)
