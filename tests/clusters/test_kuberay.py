"""The resources for KubeRay, offline: their fields, and what they promise of access and limits."""

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
import yaml
from ray.serve.schema import ServeDeploySchema

import exfm_ray.serve_application
from exfm_ray.cli import app
from exfm_ray.serve_application import ServedRun
from tests.clusters.kuberay_schema import KINDS, RAY_CLUSTER

PLACE = Path(__file__).parents[2] / "clusters" / "kuberay"
FILES = sorted(path for path in PLACE.glob("*.yaml") if path.name != "kustomization.yaml")
SPEC_OF_CLUSTER = {"RayJob": "rayClusterSpec", "RayService": "rayClusterConfig"}


def resources(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


RESOURCES = [pytest.param(one, id=f"{path.stem}-{one['kind']}") for path in FILES for one in resources(path)]
CLUSTERS = [one for path in FILES for one in resources(path) if one["kind"].startswith("Ray")]


def cluster_of(resource: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = resource["spec"]
    inner: dict[str, Any] = spec.get(SPEC_OF_CLUSTER.get(resource["kind"], ""), spec)
    return inner


def pods(value: Any) -> Iterator[dict[str, Any]]:
    """Every pod's spec, wherever it stands."""
    if isinstance(value, dict):
        if "containers" in value:
            yield value
        for inner in value.values():
            yield from pods(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from pods(inner)


@pytest.mark.parametrize("resource", RESOURCES)
def test_every_field_is_one_of_its_kind(resource: dict[str, Any]) -> None:
    jsonschema.validate(resource, KINDS[resource["kind"]])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "enableInTreeAutoscalling"), True),
        (("spec", "headGroupSpec", "rayStartParams", "num-cpus"), 0),
        (("spec", "headGroupSpec", "template", "spec", "containers", 0, "volumeMount"), []),
        (("spec", "workerGroupSpecs", 0, "maxReplica"), 3),
        (("spec", "authOptions", "mode"), "tokens"),
        (("spec", "autoscalerOptions", "idleTimeoutSeconds"), "60"),
    ],
)
def test_a_wrong_field_is_found(path: tuple[Any, ...], value: Any) -> None:
    wrong = copy.deepcopy(next(one for one in CLUSTERS if one["kind"] == "RayCluster"))
    place = wrong
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, KINDS["RayCluster"])


def test_the_patch_for_redis_fits_the_cluster() -> None:
    kustomization = yaml.safe_load((PLACE / "kustomization.yaml").read_text())
    (patch,) = kustomization["patches"]
    (operation,) = yaml.safe_load(patch["patch"])
    assert operation["path"] == "/spec/gcsFaultToleranceOptions"
    (cluster,) = resources(PLACE / "raycluster.yaml")
    assert patch["target"] == {"kind": cluster["kind"], "name": cluster["metadata"]["name"]}
    jsonschema.validate(cluster["spec"] | {"gcsFaultToleranceOptions": operation["value"]}, RAY_CLUSTER)
    redis = {one["kind"]: one for one in resources(PLACE / "redis.yaml")}
    assert operation["value"]["redisAddress"] == f"{redis['Service']['metadata']['name']}:6379"
    (container,) = redis["Deployment"]["spec"]["template"]["spec"]["containers"]
    password = container["env"][0]["valueFrom"]["secretKeyRef"]
    assert operation["value"]["redisPassword"]["valueFrom"]["secretKeyRef"] == password
    assert all((PLACE / name).is_file() for name in kustomization["resources"])


@pytest.mark.parametrize("resource", CLUSTERS, ids=lambda one: one["kind"])
def test_a_cluster_asks_for_its_token_and_is_reached_from_inside_alone(resource: dict[str, Any]) -> None:
    cluster = cluster_of(resource)
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert "enableIngress" not in cluster["headGroupSpec"]
    assert cluster["rayVersion"] == ray.__version__
    assert all(group["maxReplicas"] <= 8 for group in cluster["workerGroupSpecs"])


@pytest.mark.parametrize("resource", RESOURCES)
def test_no_container_is_root_or_without_limits(resource: dict[str, Any]) -> None:
    for pod in pods(resource):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
            assert {"cpu", "memory"} <= container["resources"]["limits"].keys()
            mounted = {mount["name"] for mount in container["volumeMounts"]}
            assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_the_vms_nodes_have_the_resource_that_recipes_name() -> None:
    groups = {group["groupName"]: group for group in cluster_of(CLUSTERS[0])["workerGroupSpecs"]}
    # KubeRay puts the text into a shell's command line, which takes one pair of quotes away
    assert yaml.safe_load(yaml.safe_load(groups["vms"]["rayStartParams"]["resources"])) == {"spot": 1}
    (container,) = groups["fm"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_the_jobs_command_is_one() -> None:
    (job,) = [one for one in CLUSTERS if one["kind"] == "RayJob"]
    program, command, _, *options = job["spec"]["entrypoint"].split()
    assert program == "exfm"
    known = {one.name or getattr(one.callback, "__name__", "") for one in app.registered_commands}
    assert command in known
    assert options[0::2] == ["--out", "--address"]
    assert options[1].startswith("/shared/")


def test_the_served_application_is_one() -> None:
    (service,) = [one for one in CLUSTERS if one["kind"] == "RayService"]
    config = ServeDeploySchema.model_validate(yaml.safe_load(service["spec"]["serveConfigV2"]))
    (served,) = config.applications
    module, name = served.import_path.split(":")
    assert module == exfm_ray.serve_application.__name__
    assert callable(getattr(exfm_ray.serve_application, name))
    assert ServedRun.model_validate(served.args).run.startswith("/shared/")
    named = re.findall(r"exfm_ray[.\w]+proxy_middlewares", (PLACE / "rayservice.yaml").read_text())
    assert set(named) == {"exfm_ray.das.proxy_limit.proxy_middlewares"}
