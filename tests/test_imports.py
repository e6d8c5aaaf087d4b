"""Imports run one way, and `import tryage` stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {
    "tryage": ROOT / "core" / "tryage",
    "langchain_tryage": ROOT / "langchain_tryage",
    "llamaindex_tryage": ROOT / "llamaindex_tryage",
}

# What stands above the skins.
CHAINS = ("tryage.demo.chains", "tryage.paper.chains")

# A module may import from its own layer and from those before it.
LAYERS = (
    ("errors", "cards"),
    ("library", "data"),
    ("flags", "flag_text", "flag_context", "request", "expectations", "decision", "objective"),
    ("encoders", "predictors", "experts", "threshold"),
    (
        "arguments",
        "conversation",
        "router",
        "budget",
        "failures",
        "health",
        "spend",
        "strategies",
        "testing",
    ),
    ("training", "evaluation", "paper"),
    ("gateway", "demo", "cli"),
)


def modules() -> dict[str, Path]:
    found = {}
    for package, root in PACKAGES.items():
        for path in root.rglob("*.py"):
            parts = path.relative_to(root).with_suffix("").parts
            name = ".".join((package, *(part for part in parts if part != "__init__")))
            found[name] = path
    return found


def imports(path: Path, *, at_import: bool) -> set[str]:
    """Return the modules that a file imports; `at_import` leaves out those inside functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if at_import and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if isinstance(child, ast.Import):
                found.update(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}: relative import"
                found.add(child.module)
                found.update(f"{child.module}.{alias.name}" for alias in child.names)
            visit(child)

    visit(tree)
    return found


def layer_of(module: str) -> int | None:
    part = module.split(".")[1] if "." in module else None
    return next((i for i, names in enumerate(LAYERS) if part in names), None)


def test_every_module_of_the_core_has_a_layer():
    for name in modules():
        if name.startswith("tryage."):
            assert layer_of(name) is not None, name


def test_imports_run_one_way():
    for name, path in modules().items():
        if not name.startswith("tryage."):
            continue
        for imported in imports(path, at_import=True):
            if imported.startswith("tryage."):
                assert layer_of(imported) <= layer_of(name), f"{name} imports {imported}"


def test_there_is_no_import_cycle():
    known = modules()
    graph = {
        name: {i for i in imports(path, at_import=True) if i in known and i != name}
        for name, path in known.items()
    }
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " → ".join((*trail, name))
        if name not in done:
            for imported in graph[name]:
                visit(imported, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_the_core_knows_no_framework_and_the_skins_not_each_other():
    for name, path in modules().items():
        roots = {imported.split(".")[0] for imported in imports(path, at_import=False)}
        if name.split(".")[0] == "tryage" and name not in CHAINS:
            assert not roots & {
                "langchain", "langchain_core", "llama_index", "langchain_tryage",
                "llamaindex_tryage",
            }, name  # fmt: skip
        if name.startswith("langchain_tryage"):
            assert not roots & {"llama_index", "llamaindex_tryage"}, name
        if name.startswith("llamaindex_tryage"):
            assert not roots & {"langchain", "langchain_core", "langchain_tryage"}, name


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {module.split(".")[0] for module in done.stdout.split()}


@pytest.mark.parametrize(
    "statement", ["import tryage", "import tryage; tryage.Router.default().route('hello')"]
)
def test_the_core_loads_neither_torch_nor_a_framework(statement):
    heavy = {"torch", "transformers", "langchain_core", "llama_index", "openai", "sklearn",
             "pyarrow", "pandas", "matplotlib", "requests", "httpx"}  # fmt: skip
    assert not loaded_by(statement) & heavy


def test_import_opens_and_reads_nothing():
    statement = (
        "sys.addaudithook(lambda event, args: sys.exit(event + repr(args)) if event.startswith("
        "('socket.', 'subprocess.')) or event == 'open' and 'weights' in str(args[0]) else None)"
        "; import tryage"
    )
    assert "tryage" in loaded_by(statement)
