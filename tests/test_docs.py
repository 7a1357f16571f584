"""What the pages name exists: symbols, files, tests, flags, links. Read from the source, without TensorFlow."""

import ast
import functools
import pathlib
import re
import subprocess
import sys

import pytest
from commands import ROOT, environment

PAGES = [ROOT / "README.md", ROOT / "WORKSPACE.md", *sorted((ROOT / "docs").glob("*.md"))]
SOURCES = [path for folder in ("pixelvae_tf", "tools", "tests") for path in sorted((ROOT / folder).rglob("*.py"))]
# What pages say of others' software, hosts of an example, and what stands for a model.
FOREIGN = {"tf", "tfds", "keras", "loaded", "a", "b"}
FOREIGN_CLASSES = {"MirroredStrategy", "MultiWorkerMirroredStrategy", "PredictRequest", "PredictResponse", "RematScope"}
XLA_FLAGS = {"xla_cpu_compilation_enabled", "xla_gpu_autotune_level"}
FOREIGN_FLAGS = {"enable_batching", "help", "logdir"} | XLA_FLAGS
INSTANCES = {"model": "PixelVAE"}
FILE_TYPES = {"md", "py", "cfg", "json", "jsonl", "ipynb", "png", "csv", "npy", "tar", "zip", "toml", "txt"}

CODE = re.compile(r"`([^`\n]+)`")

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def prose(page: pathlib.Path) -> str:
    """A page without its blocks of code, which are indented."""
    return "\n".join(line for line in page.read_text().splitlines() if not line.startswith("    "))


@every_page
def test_a_page_has_no_traces_of_a_merge(page):
    assert not re.findall(r"^(?:<{7}|={7}|>{7})(?: .*)?$", page.read_text(), re.MULTILINE)


def code_in_prose(page: pathlib.Path) -> list[str]:
    return re.findall(CODE, prose(page))


def defined(body: list[ast.stmt]) -> set[str]:
    """Names that statements define: functions, classes, values."""
    names = set()
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.AnnAssign):
            names.add(ast.unparse(node.target))
        elif isinstance(node, ast.Assign):
            names |= {ast.unparse(target) for target in node.targets}
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.name for alias in node.names}
    return names


@functools.cache
def symbols() -> tuple[dict[str, set], dict[str, set], dict[str, set]]:
    """What modules define, by the last part of their names; what classes do; and the classes they inherit from."""
    modules, classes, parents = {"pixelvae_tf": {"export_model", "load", "PixelVAE"}}, {}, {}
    for path in SOURCES:
        if path.is_relative_to(ROOT / "tests"):
            continue
        tree = ast.parse(path.read_text())
        modules.setdefault(path.parent.name if path.stem == "__init__" else path.stem, set()).update(defined(tree.body))
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                own = {
                    found.attr
                    for found in ast.walk(node)
                    if isinstance(found, ast.Attribute)
                    and isinstance(found.ctx, ast.Store)
                    and ast.unparse(found.value) == "self"
                }
                classes.setdefault(node.name, set()).update(own | defined(node.body))
                parents.setdefault(node.name, set()).update(ast.unparse(base).split(".")[-1] for base in node.bases)
    return modules, classes, parents


def members(name: str) -> set[str]:
    """What a class has, of its own and from the package's classes above it."""
    _, classes, parents = symbols()
    return classes.get(name, set()).union(*(members(parent) for parent in parents.get(name, ())))


def exists(owner: str, name: str) -> bool:
    modules, classes, _ = symbols()
    if name in members(INSTANCES.get(owner, owner)):
        return True
    return name in modules[owner] if owner in modules else owner not in classes and owner in FOREIGN


@every_page
def test_symbols_that_a_page_names_exist(page):
    for code in code_in_prose(page):
        dotted = re.fullmatch(r"([A-Za-z_]\w*)\.([A-Za-z_]\w*)(\(.*\)|\[.*)?", code)
        if dotted and dotted[2] not in FILE_TYPES:
            assert exists(dotted[1], dotted[2]), code
        if re.fullmatch(r"[A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*", code):
            assert code in symbols()[1] or code in FOREIGN_CLASSES, code


@every_page
def test_files_that_a_page_names_exist(page):
    text = page.read_text()
    for name in re.findall(r"\b((?:flags|tools)/\w+\.(?:cfg|py))", text):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"[\w/*]+\.py", " ".join(code_in_prose(page))):
        assert any(path.match(name) for path in SOURCES), name


@every_page
def test_a_test_that_a_page_names_by_a_part_of_its_name_exists(page):
    for file, part in re.findall(r"([\w/]+\.py) -k (\w+)", " ".join(code_in_prose(page))):
        names = [name for path in SOURCES if path.match(file) for name in defined(ast.parse(path.read_text()).body)]
        assert any(name.startswith("test_") and part in name for name in names), (file, part)


def anchors(page: pathlib.Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_page
def test_links_lead_to_files_and_headings_that_exist(page):
    for target in re.findall(r"\]\(([^)]+)\)", CODE.sub("", prose(page))):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        linked = page.parent / name if name else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


def test_every_page_and_every_flag_file_is_named_in_the_readme():
    readme = (ROOT / "README.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert f"(docs/{page.name}" in readme, page.name
    for path in (ROOT / "flags").glob("*.cfg"):
        assert path.stem.endswith("_base") or f"`{path.stem}`" in readme, path.name


@functools.cache
def known_flags(*command: str) -> frozenset[str]:
    """The flags that the help of a command names."""
    result = subprocess.run(
        [sys.executable, *command, "--help"], cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60
    )
    flags = re.findall(r"--(\[no\])?(\w+)", result.stdout)
    assert flags, (command, result.stderr)
    return frozenset(name for no, flag in flags for name in ([flag, f"no{flag}"] if no else [flag]))


def commands_of(page: pathlib.Path):
    """The project's commands on a page, each as its program and the flags that it is given."""
    text = page.read_text().replace("\\\n", " ")
    pattern = r"python (-m pixelvae_tf\.\w+|tools/\w+\.py)((?: +[^\s;&#`|]+)*)"
    for program, arguments in re.findall(pattern, text):
        words = arguments.split()
        # Each benchmark has flags of its own.
        choice = [word for word in words[:1] if program == "tools/benchmark.py" and not word.startswith("-")]
        yield (*program.split(), *choice), re.findall(r"(?:^| )--(\w+)", arguments)


@every_page
def test_commands_use_flags_that_exist(page):
    for command, flags in commands_of(page):
        for flag in flags:
            assert flag in known_flags(*command), (command, flag)


def test_flags_that_pages_name_exist():
    commands = {command for page in PAGES for command, _ in commands_of(page)}
    known = frozenset().union(FOREIGN_FLAGS, *(known_flags(*command) for command in commands))
    for page in PAGES:
        for flag in re.findall(r"(?:^| )--(\w+)", "\n".join(code_in_prose(page)), re.MULTILINE):
            assert flag in known, (page.name, flag)
