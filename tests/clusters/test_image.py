"""The image that all nodes run: pinned, small in what it takes, and not root."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACE = ROOT / "clusters"
LINES = (PLACE / "Dockerfile").read_text().splitlines()


def test_what_is_copied_is_there_and_let_through() -> None:
    ignored = (PLACE / "Dockerfile.dockerignore").read_text().splitlines()
    assert "*" in ignored
    copied = [word for line in LINES if line.startswith("COPY") for word in line.split()[2:-1]]
    assert copied
    for name in copied:
        assert (ROOT / name).exists()
        assert f"!{name}" in ignored


def test_packages_are_pinned_and_installed_by_a_user() -> None:
    user = next(number for number, line in enumerate(LINES) if line.startswith("USER "))
    assert LINES[user] == "USER ray"
    assert not any(line.startswith("USER root") for line in LINES)
    installs = [number for number, line in enumerate(LINES) if "pip install" in line]
    assert min(installs) > user
    options = [re.findall(r"--(?:constraint|requirement) \S+", LINES[number]) for number in installs]
    assert options == [["--constraint source/constraints.txt"], ["--requirement source/cloud.txt"]]
    pins = [line for line in (PLACE / "cloud.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", pin) for pin in pins)


def test_every_file_names_the_image_that_is_built() -> None:
    built = re.findall(r"REGISTRY/exfm_ray:[0-9.]+", (PLACE / "Dockerfile").read_text())
    named = [name for path in PLACE.rglob("*.yaml") for name in re.findall(r"REGISTRY/\S+", path.read_text())]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert set(built) == {f"REGISTRY/exfm_ray:{version}"}
    assert set(named) == set(built)
