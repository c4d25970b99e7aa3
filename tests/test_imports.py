"""Who may import whom (``docs/architecture.md``), read from the syntax trees."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from codedpo.sandbox.launchers import ZYGOTE_MODULES

ROOT = Path(__file__).resolve().parents[1] / "src" / "codedpo"
STAGE_PACKAGES = {
    "seeds",
    "tasks",
    "candidates",
    "executions",
    "rankings",
    "pairs",
    "training",
    "evaluation",
    "report",
}
SERVICE_PACKAGES = {"llm", "sandbox", "benchmarks"}
TOP = {"context", "services"}
HEAVY = {
    "torch",
    "transformers",
    "trl",
    "peft",
    "datasets",
    "accelerate",
    "openvino_genai",
    "openvino",
    "gguf",
    "ray",
    "openai",
}
HEAVY_ALLOWED = {
    "training": HEAVY - {"ray", "openvino_genai", "openvino", "openai"},
    "llm": HEAVY - {"trl", "peft", "ray"},
    "sandbox": {"ray"},
}
MODULES = sorted(ROOT.rglob("*.py"))


def package_of(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    return parts[0] if len(parts) > 1 else parts[0].removesuffix(".py")


def imports_of(path: Path, *, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
            found.add(str(node.module))
    return found


def ours(names: set[str]) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith("codedpo.")}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_in_the_allowed_direction(path: Path) -> None:
    package = package_of(path)
    imported = ours(imports_of(path)) - {package, "__version__"}
    if package == "core":
        assert imported == set()
    elif package in SERVICE_PACKAGES:
        allowed = {"core"} | ({"sandbox"} if package == "benchmarks" else set())
        assert imported <= allowed
    elif package in STAGE_PACKAGES:
        assert imported <= {"core", "context", "services"} | SERVICE_PACKAGES
    elif package in TOP:
        assert imported <= {"core", "services"} | SERVICE_PACKAGES


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_heavy_packages_are_imported_lazily_and_where_they_belong(path: Path) -> None:
    roots = {name.split(".")[0] for name in imports_of(path)} & HEAVY
    assert roots <= HEAVY_ALLOWED.get(package_of(path), set())
    assert not {name.split(".")[0] for name in imports_of(path, top_level_only=True)} & HEAVY


@pytest.mark.parametrize("name", ZYGOTE_MODULES)
def test_what_runs_in_the_zygote_uses_the_standard_library_and_each_other_only(name: str) -> None:
    for imported in imports_of(ROOT / "sandbox" / f"{name}.py"):
        if imported.startswith("codedpo.sandbox."):
            assert imported.split(".")[2] in ZYGOTE_MODULES
        elif imported != "codedpo.sandbox":
            assert imported.split(".")[0] in sys.stdlib_module_names


def test_help_loads_no_heavy_module() -> None:
    program = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from codedpo.cli import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "print(sorted(set(sys.modules) & {'numpy', 'pyarrow', 'torch', 'openai', 'transformers', 'openvino_genai'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
