"""What Prometheus would find at this machine's node of Ray."""

import re
import urllib.request
from dataclasses import dataclass

import ray

SAMPLE = re.compile(r"^(?P<name>[a-zA-Z_:][\w:]*)\{(?P<tags>.*)\} (?P<value>\S+)$")
TAG = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class Sample:
    """One line."""

    tags: dict[str, str]
    value: float


def samples(name: str, application: str) -> list[Sample]:
    """A metric's lines of one Serve application."""
    [node] = ray.nodes()
    address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    with urllib.request.urlopen(address, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    found = [match for line in lines if (match := SAMPLE.match(line)) and match["name"] == name]
    parsed = [Sample(dict(TAG.findall(match["tags"])), float(match["value"])) for match in found]
    return [sample for sample in parsed if sample.tags.get("application") == application]


def total(name: str, application: str) -> float | None:
    """The sum over replicas, None before any has told."""
    found = samples(name, application)
    return sum(sample.value for sample in found) if found else None
