"""The tour in docs/ is what the code gives now: its cells run, and what they print is what stands there."""

import base64
import re

import nbformat
import pytest
from commands import ROOT, error_line, tool

TOUR = ROOT / "docs" / "tour.ipynb"
RENEW = "to renew docs/tour.ipynb: python tools/notebook.py"
NUMBER = re.compile(r"-?\d+(?:\.(\d+))?")


def code_cells(path) -> dict[str, nbformat.NotebookNode]:
    """The cells with code, by their number in the notebook and their first line."""
    cells = enumerate(nbformat.read(path, as_version=4).cells, start=1)
    return {f"cell {index} ({cell.source.splitlines()[0]})": cell for index, cell in cells if cell.cell_type == "code"}


def printed(cell) -> str:
    """What a cell printed, with the spaces of a table made one, since they depend on the numbers in it."""
    lines = [output.text for output in cell.outputs if output.output_type == "stream" and output.name == "stdout"]
    return " ".join("".join(lines).split())


def pictures(cell) -> list[bytes]:
    """PNG files that a cell shows."""
    shown = [output.get("data", {}) for output in cell.outputs]
    return [base64.b64decode(data["image/png"]) for data in shown if "image/png" in data]


def same(one: str, other: str) -> bool:
    """Whether two texts agree but for rounding: two units of the last decimal printed; whole numbers are equal."""
    if NUMBER.sub("#", one) != NUMBER.sub("#", other):
        return False
    pairs = zip(NUMBER.finditer(one), NUMBER.finditer(other), strict=True)
    return all(abs(float(a[0]) - float(b[0])) <= 2.01 * 10.0 ** -len(a[1]) if a[1] else a[0] == b[0] for a, b in pairs)


COMMITTED = code_cells(TOUR)


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The cells of the tour, executed in a kernel of their own."""
    output = tmp_path_factory.mktemp("tour") / "tour.ipynb"
    result = tool("notebook", f"--notebook={TOUR}", f"--output={output}")
    assert result.returncode == 0, result.stderr
    return code_cells(output)


def test_every_cell_runs_and_gives_what_stands_in_the_tour(executed):
    for name, cell in executed.items():
        there, now = printed(COMMITTED[name]), printed(cell)
        assert same(there, now), f"{name} prints\n{now}\nand in the tour stands\n{there}\n{RENEW}"
        # Another CPU may round a pixel to another value, so pictures are not compared.
        assert len(pictures(cell)) == len(pictures(COMMITTED[name])), f"{name}: pictures; {RENEW}"


def test_the_tour_was_executed_from_its_first_cell_to_its_last():
    assert [cell.execution_count for cell in COMMITTED.values()] == list(range(1, len(COMMITTED) + 1)), RENEW


def test_the_tour_shows_what_it_says_and_nothing_of_the_machine():
    assert sum(bool(cell.outputs) for cell in COMMITTED.values()) >= len(COMMITTED) - 1, RENEW
    for name, cell in COMMITTED.items():
        assert not any(output.get("name") == "stderr" for output in cell.outputs), f"{name}: warnings; {RENEW}"
        assert not cell.metadata, name
        assert all(picture.startswith(b"\x89PNG") for picture in pictures(cell)), name
    text = TOUR.read_text()
    assert "python tools/notebook.py" in text
    assert not re.search(r"/(?:home|root|tmp|work)/", text)
    assert len(text) < 500_000


def test_numbers_agree_up_to_rounding_and_words_exactly():
    assert same("bound 82.43 of 300", "bound 82.45 of 300")
    assert not same("bound 82.43 of 300", "bound 82.46 of 300")
    assert not same("bound 82.43 of 300", "bound 82.43 of 301")
    assert not same("bound 82.43", "bound -82.43")
    assert not same("bound 82.43", "nats 82.43")


def test_a_cell_that_raises_is_named_and_the_notebook_stays_as_it_was(tmp_path):
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell("# words"),
            nbformat.v4.new_code_cell("print(1)"),
            nbformat.v4.new_code_cell("count = 0\n1 / count"),
            nbformat.v4.new_code_cell("print(2)"),
        ]
    )
    path = tmp_path / "own.ipynb"
    nbformat.write(notebook, path)
    before = path.read_bytes()
    line = error_line(tool("notebook", f"--notebook={path}"))
    for part in (str(path), "cell 3", "count = 0", "ZeroDivisionError"):
        assert part in line
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("text", "expected"), [(None, "no such file"), ("{", "not readable"), ("{}", "not readable")])
def test_what_is_no_notebook_is_told_in_a_line(text, expected, tmp_path):
    path = tmp_path / "own.ipynb"
    if text is not None:
        path.write_text(text)
    line = error_line(tool("notebook", f"--notebook={path}"))
    assert str(path) in line
    assert expected in line
