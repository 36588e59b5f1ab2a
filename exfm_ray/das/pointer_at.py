"""The one place that knows which store a pointer's address means."""

import os
from contextlib import closing

from exfm_ray.config.pointer import pointer_place
from exfm_ray.das.cluster_pointer import ClusterPointer
from exfm_ray.das.embedded_pointer import EmbeddedPointer
from exfm_ray.das.pointer import LatestPointer, PointerUnavailableError
from exfm_ray.das.zookeeper_pointer import ZooKeeperPointer
from exfm_ray.errors import UserError

PREFLIGHT_SECONDS = 10.0
CREDENTIALS = "EXFM_ZOOKEEPER_AUTH"
"""environment variable with `user:password`, on every machine that holds a replica: never in a recipe, which is kept"""


def pointer_at(address: str, patience_seconds: float = 30.0) -> LatestPointer:
    """Open a latest pointer; a store behind a network is connected to at the first operation.

    Args:
        address: `zookeeper://host:port[,host:port]/path`, `cluster:/name`, `embedded:/absolute/directory` or
            `/absolute/directory`.
        patience_seconds: for one operation of a store behind a network.

    Raises:
        UserError: it has none of these forms.
    """
    try:
        place = pointer_place(address)
    except ValueError as error:
        raise UserError(f"das.pointer: {address!r}: {error}") from error
    if place.is_in_cluster:
        return ClusterPointer(place.path, patience_seconds)
    if place.hosts is None:
        return EmbeddedPointer(place.path)
    credentials = os.environ.get(CREDENTIALS)
    if credentials is not None and not all(credentials.partition(":")):
        raise UserError(f"{CREDENTIALS}: must have the form user:password; write it so, or unset it")
    return ZooKeeperPointer(place.hosts, place.path, patience_seconds, credentials=credentials)


def check_pointer(address: str | None) -> None:
    """Knock at the door of a store behind a network, before hours of work come to need it. Nothing is written.

    Args:
        address: `das.pointer` of a recipe.

    Raises:
        UserError: nobody answers there.
    """
    if address is None or pointer_place(address).hosts is None:
        return
    with closing(pointer_at(f"{address}/preflight", PREFLIGHT_SECONDS)) as pointer:
        try:
            pointer.read()
        except PointerUnavailableError as error:
            raise UserError(f"das.pointer: {error} Start it, name another, or leave das.pointer out") from error
