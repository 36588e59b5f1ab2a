"""Where a latest pointer lives, as a recipe writes it."""

import re
from dataclasses import dataclass

POINTER_FORM = (
    "zookeeper://host:port[,host:port]/path, cluster:/name, embedded:/absolute/directory or /absolute/directory"
)
CLUSTER = re.compile(r"cluster:(?P<path>(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*)+)")
ZOOKEEPER = re.compile(r"zookeeper://(?P<hosts>[^/]+)(?P<path>(?:/[A-Za-z0-9_.-]+)+)")
HOST = re.compile(r"(?:[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True)
class PointerPlace:
    """A directory on this machine, an actor of the Ray cluster, or a znode of an ensemble."""

    path: str
    """absolute: of the directory or of the znode, or the actor's name"""
    hosts: str | None = None
    """of the ZooKeeper ensemble, `host:port,host:port`; None: another store"""
    is_in_cluster: bool = False
    """whether an actor of the Ray cluster keeps it"""


def pointer_place(text: str) -> PointerPlace:
    """Read what a recipe says.

    Raises:
        ValueError: it has none of the forms.
    """
    directory = text.removeprefix("embedded:")
    if directory.startswith("/"):
        return PointerPlace(path=directory)
    if (kept := CLUSTER.fullmatch(text)) is not None:
        return PointerPlace(path=kept["path"], is_in_cluster=True)
    found = ZOOKEEPER.fullmatch(text)
    if found is None:
        raise ValueError(f"must have the form {POINTER_FORM}")
    for host in found["hosts"].split(","):
        address = HOST.fullmatch(host)
        if address is None or not 1 <= int(address["port"]) <= 65_535:
            raise ValueError(f"{host!r} is not host:port with a port from 1 to 65535; the form is {POINTER_FORM}")
    names = found["path"].split("/")[1:]
    if "." in names or ".." in names or names[0] == "zookeeper":
        raise ValueError(f"{found['path']} is a path that ZooKeeper keeps for itself; name another")
    return PointerPlace(path=found["path"], hosts=found["hosts"])
