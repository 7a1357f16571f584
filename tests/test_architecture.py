"""The rooms: a room imports only from the rooms below it, and only command lines know about flags."""

import ast
import pathlib
import sys

import pytest
from commands import ROOT

PACKAGE = ROOT / "pixelvae_tf"
COMMANDS = ("train", "evaluate", "sample", "complete", "export", "compress", "decompress")
# From the ground up: each may import from all before it. What each is for stands in WORKSPACE.md.
ROOMS = (
    "errors",
    "files",
    "processor",
    "lazy",
    "zips",
    "probability",
    "config",
    "layers",
    "networks",
    "data",
    "sampling",
    "model",
    "compression",
    "runs",
    "evaluation",
    "commandline",
    "training",
    "benchmarks",
)
KNOWING_ABSL = {"commandline.flags", *COMMANDS}
# What is imported before flags are checked, so that wrong ones are told at once.
WITHOUT_TENSORFLOW = {
    "errors",
    "files",
    "processor",
    "lazy",
    "probability.seeds",
    "zips",
    "config",
    "runs.weight_files",
    "runs.pretrained",
    "runs.workdir",
    "runs.checkpoints",
    "runs.history",
    "runs.lock",
    "runs.packing",
    "runs.trained",
    "runs.environment",
    "evaluation.scores",
    "compression.container",
    "compression.support",
    "commandline.flags",
    "commandline.program",
    "training.cluster",
    "benchmarks.requests",
    "benchmarks.tables",
    *COMMANDS,
}


def name_of(path: pathlib.Path) -> str:
    """pixelvae_tf/layers/masks.py as layers.masks, and a folder's __init__.py as the folder."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


MODULES = {name_of(path): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}


def imported(tree: ast.AST) -> set[str]:
    """Full names of everything that a module imports, at its top or inside functions."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def top(tree: ast.Module) -> ast.Module:
    """What of a module is imported with it: not what its functions import."""
    return ast.Module([node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))], [])


def own_imports(name: str, tree: ast.Module | None = None) -> set[str]:
    """The package's modules that a module, or a part of it, imports."""
    found = set()
    for full in imported(tree or MODULES[name]):
        if full.split(".")[0] == PACKAGE.name:
            parts = full.split(".")[1:]
            # The longest part of the name that is a module; the rest is something in it.
            ends = [end for end in range(len(parts), 0, -1) if ".".join(parts[:end]) in MODULES]
            found.add(".".join(parts[: ends[0]]) if ends else "__init__")
    return found - {name}


def floor_of(name: str) -> int:
    room = name.split(".")[0]
    assert room in (*ROOMS, *COMMANDS), f"pixelvae_tf/{name} is in no room: say in tests/test_architecture.py which"
    return ROOMS.index(room) if room in ROOMS else len(ROOMS)


@pytest.mark.parametrize("name", sorted(set(MODULES) - {"__init__"}))
def test_a_module_imports_only_from_its_room_and_the_rooms_below(name):
    for other in own_imports(name) - {"__init__"}:
        same_room = other.split(".")[0] == name.split(".")[0]
        assert same_room or floor_of(other) < floor_of(name), f"{name} imports {other}"


def test_no_modules_import_each_other_in_a_circle():
    remaining = {name: own_imports(name) - {"__init__"} for name in MODULES}
    # A folder's own names come from its modules, which import one another and not the folder.
    while remaining:
        free = {name for name, others in remaining.items() if not others & remaining.keys()}
        assert free, f"a circle among {', '.join(sorted(remaining))}"
        remaining = {name: others for name, others in remaining.items() if name not in free}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_only_the_flag_module_and_the_command_lines_know_absl(name):
    knows = any(full.split(".")[0] == "absl" for full in imported(MODULES[name]))
    assert not knows or name in KNOWING_ABSL


def with_rooms(names: set[str]) -> set[str]:
    """Modules and the rooms that they are in, whose `__init__.py` is imported with them."""
    return names | {name[:end] for name in names for end, letter in enumerate(name) if letter == "."}


@pytest.mark.parametrize("name", sorted(WITHOUT_TENSORFLOW))
def test_settings_and_command_lines_are_imported_without_tensorflow(name):
    waiting, seen = with_rooms({"__init__", name}), set()
    while waiting:
        seen |= waiting
        waiting = with_rooms(set().union(*(own_imports(other, top(MODULES[other])) for other in waiting))) - seen
    frameworks = {full.split(".")[0] for other in seen for full in imported(top(MODULES[other]))}
    assert not frameworks & {"tensorflow", "keras"}


def test_no_tool_takes_the_place_of_a_standard_module():
    # Python puts the folder of a command first in its path. `compression` is new in Python 3.14, and libraries try it.
    standard = sys.stdlib_module_names | {"annotationlib", "compression"}
    assert not standard & {path.stem for path in (ROOT / "tools").iterdir()}


def test_the_mask_rules_know_nothing_but_numpy():
    assert {full.split(".")[0] for full in imported(MODULES["layers.masks"])} == {"__future__", "numpy"}
