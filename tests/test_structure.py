"""Imports point one way, and starting the command is quick."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "exfm_ray"

LAYERS = [
    {"errors", "config", "schema", "computing", "together", "quiet", "waits", "last_words"},
    {"metrics", "models", "theory"},
    {"data"},
    {"distill"},
    {
        "cascade",
        "das",
        "train",
        "tune",
        "preflight",
        "placing",
        "recipe",
        "cluster",
        "needs",
        "mends",
        "progress",
        "run_progress",
        "run_start",
        "shared_directory",
        "sharing",
        "store_commands",
        "prepare_log",
        "model_table",
        "existing_run",
        "export",
        "serve_run",
        "serve_application",
        "simulation",
        "grid",
        "theory_run",
        "study_run",
    },
    {"report", "jobs"},
    {"cli"},
]
RAY_FREE = {"cascade", "models", "theory", "distill", "metrics", "data", "config", "schema", "errors", "report"}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Every module that a file names in an import, wherever it stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    depth = {name: index for index, layer in enumerate(LAYERS) for name in layer}
    for module in imports(path):
        if module.startswith("exfm_ray."):
            target = module.split(".")[1]
            assert depth[target] <= depth[room(path)], f"{path} imports {module}"
            assert {room(path), target} != {"das", "train"}, f"{path} imports {module}"
        assert not (module.split(".")[0] == "ray" and room(path) in RAY_FREE), f"{path} imports {module}"


def test_help_is_quick_because_it_imports_neither_ray_nor_torch() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from exfm_ray.cli import app; "
        "result = CliRunner().invoke(app, ['--help']); assert 'run' in result.output; "
        "print([name for name in ('ray', 'torch', 'pandas', 'pyarrow', 'plotly') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_preparing_needs_neither_ray_nor_torch() -> None:
    code = (
        "import sys, exfm_ray.prepare_log, exfm_ray.data.table.source, exfm_ray.data.taobao.source; "
        "print([name for name in ('ray', 'torch') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_no_import_of_the_package_starts_ray() -> None:
    modules = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in FILES]
    names = [name.removesuffix(".__init__") for name in modules]
    code = f"import importlib, ray; [importlib.import_module(name) for name in {names}]; print(ray.is_initialized())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
