"""The machines for `ray up`, offline: Ray's own schema, and what they promise of access and limits."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

PLACE = Path(__file__).parents[2] / "clusters"
PROVIDERS = ("aws", "gcp")
SPOT = {
    "aws": {"InstanceMarketOptions": {"MarketType": "spot"}},
    "gcp": {"scheduling": {"provisioningModel": "SPOT", "instanceTerminationAction": "DELETE"}},
}
"""what makes a machine of a provider a spot one"""
NODE_FIELDS = {
    "aws": {"BlockDeviceMappings", "IamInstanceProfile", "InstanceMarketOptions", "InstanceType", "MetadataOptions"},
    "gcp": {"disks", "machineType", "metadata", "scheduling", "serviceAccounts"},
}
"""names that the providers' own interfaces have, which Ray's schema lets through unread"""


def config_of(provider: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((PLACE / f"{provider}.yaml").read_text())
    return content


@pytest.fixture(params=PROVIDERS)
def provider(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def config(provider: str) -> dict[str, Any]:
    return config_of(provider)


def test_ray_takes_it(config: dict[str, Any]) -> None:
    validate_config(prepare_config(config))


@pytest.mark.parametrize(
    ("section", "field"),
    [((), "max_worker"), (("available_node_types", "vms"), "max_worker"), (("auth",), "user"), (("docker",), "images")],
)
def test_ray_does_not_take_a_wrong_field(config: dict[str, Any], section: tuple[str, ...], field: str) -> None:
    place = config
    for step in section:
        place = place[step]
    place[field] = 1
    with pytest.raises(jsonschema.ValidationError):
        validate_config(prepare_config(config))


def test_fields_of_machines_are_the_providers(config: dict[str, Any], provider: str) -> None:
    for kind in config["available_node_types"].values():
        assert kind["node_config"].keys() <= NODE_FIELDS[provider]


def test_the_head_computes_nothing_and_workers_come_and_go(config: dict[str, Any]) -> None:
    kinds = config["available_node_types"]
    assert kinds[config["head_node_type"]]["resources"] == {"CPU": 0}
    workers = [kind for name, kind in kinds.items() if name != config["head_node_type"]]
    assert all(kind["min_workers"] == 0 for kind in workers)
    assert sum(kind["max_workers"] for kind in workers) == config["max_workers"]
    assert 0 < config["idle_timeout_minutes"] <= 30


def test_the_vms_machines_are_spot_ones_and_the_fms_are_not(config: dict[str, Any], provider: str) -> None:
    kinds = config["available_node_types"]
    for name, is_spot in (("vms", True), ("fm", False), ("head", False)):
        node = kinds[name]["node_config"]
        assert (node | SPOT[provider] == node) is is_spot
        assert ("spot" in kinds[name]["resources"]) is is_spot
    types = [name for name in kinds["fm"]["resources"] if name.startswith("accelerator_type:")]
    assert len(types) == kinds["fm"]["resources"]["GPU"] == 1


def test_every_process_of_ray_asks_for_the_token_and_none_listens_to_the_world(config: dict[str, Any]) -> None:
    head, worker = config["head_start_ray_commands"], config["worker_start_ray_commands"]
    for command in head + worker:
        for part in (part.strip() for part in command.split(";")):
            assert part.startswith(("RAY_AUTH_MODE=token ray ", "ulimit "))
    assert "--dashboard-host=127.0.0.1" in head[-1]
    assert "0.0.0.0" not in str(config)
    assert config["file_mounts"] == {"~/.ray/auth_token": "~/.ray/auth_token"}
    assert "security_group" not in config["provider"]
