"""The tiers: a module imports only from tiers above its own, and only command lines know about flags."""

import ast
import pathlib

import pytest
from commands import ROOT

PACKAGE = ROOT / "pixelvae_tf"
# What each tier may know of is all of the tiers above it; a folder counts as one module.
TIERS = [
    # Errors that users can mend, and settings. No TensorFlow.
    {"errors"},
    {"config", "files"},
    {"weight_files"},
    {"pretrained"},
    {"settings", "cluster", "scores"},
    {"commands"},
    # Mathematics and random numbers: pure functions.
    {"distributions", "objectives", "randomness"},
    # Building blocks.
    {"layers", "data", "averaging", "distributed_fit", "devices", "grids", "graph_cost", "soap"},
    {"networks", "sampling", "cached_sampling", "baselines", "probing"},
    # The model: what trains it and what users call are its mixins.
    {"fitting", "interface"},
    {"model", "model_size"},
    # What is done with a model.
    {"runs", "evaluation", "callbacks", "serving"},
    {"validation", "packing", "latent_probe"},
    {"training"},
    {"benchmarks"},
    # Command lines.
    {"train", "evaluate", "sample", "complete", "export"},
]
# `settings` makes the flags, and `commands` runs the command lines.
KNOWING_ABSL = {"settings", "commands", *TIERS[-1]}
# What is imported before flags are checked, so that wrong ones are told at once.
WITHOUT_TENSORFLOW = {*set().union(*TIERS[: TIERS.index({"commands"}) + 1]), "runs", *TIERS[-1]}
WITHOUT_TENSORFLOW |= {"benchmarks.requests", "benchmarks.tables"}


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


def tier_of(name: str) -> int:
    found = [tier for tier, members in enumerate(TIERS) if name.split(".")[0] in members]
    assert found, f"pixelvae_tf/{name} is in no tier: say in tests/test_architecture.py what it may import"
    return found[0]


@pytest.mark.parametrize("name", sorted(set(MODULES) - {"__init__"}))
def test_a_module_imports_only_from_tiers_above_it(name):
    for other in own_imports(name) - {"__init__"}:
        same_folder = other.split(".")[0] == name.split(".")[0]
        assert same_folder or tier_of(other) < tier_of(name), f"{name} imports {other}"


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


@pytest.mark.parametrize("name", sorted(WITHOUT_TENSORFLOW & set(MODULES)))
def test_settings_and_command_lines_are_imported_without_tensorflow(name):
    waiting, seen = {"__init__", name}, set()
    while waiting:
        seen |= waiting
        waiting = set().union(*(own_imports(other, top(MODULES[other])) for other in waiting)) - seen
    frameworks = {full.split(".")[0] for other in seen for full in imported(top(MODULES[other]))}
    assert not frameworks & {"tensorflow", "keras"}


def test_the_mask_rules_know_nothing_but_numpy():
    assert {full.split(".")[0] for full in imported(MODULES["layers.masks"])} == {"__future__", "numpy"}
