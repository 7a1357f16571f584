"""The fault campaign sees what a command says, whatever limits it works under."""

import subprocess
import sys

import pytest
from commands import ROOT

sys.path.insert(0, str(ROOT / "tools"))
from faults import tries


@pytest.fixture
def script(tmp_path):
    """A program that fills a file and then complains, in many lines if asked."""
    path = tmp_path / "program.py"
    path.write_text(
        "import sys\n"
        "from absl import flags, logging\n"
        "logging.get_verbosity()\n"
        "try:\n"
        f"    with open({str(tmp_path / 'file')!r}, 'wb') as file:\n"
        "        file.write(bytes(100))\n"
        "except OSError as error:\n"
        "    sys.exit('\\n'.join([f'error: {error.strerror}'] * int(sys.argv[1])))\n"
    )
    return path


@pytest.mark.parametrize(("lines", "in_one"), [(1, True), (2, False), (3000, False)])
def test_errors_of_a_command_are_whole_where_its_files_are_limited(lines, in_one, script):
    ended = tries.command([str(script), str(lines)], largest_file=3)
    assert ended.code == 1
    assert ended.errors.splitlines() == ["error: File too large"] * lines
    assert ended.in_one_line == in_one


def test_the_tool_and_its_commands_may_have_flags_of_the_same_names(tmp_path):
    """As `--seed` of the campaign and of a training."""
    tool = tmp_path / "tool.py"
    tool.write_text(
        "import sys\n"
        f"sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'tools')!r}]\n"
        "from absl import flags\n"
        "SEEDS = [flags.DEFINE_integer(name, 0, '') for name in ('seed', 'minutes', 'steps', 'workdir')]\n"
        "if __name__ == '__main__':\n"
        "    from faults import tries\n"
        "    ended = tries.command(['pixelvae_tf.train', '--seed=1', '--workdir='])\n"
        "    sys.exit(not ended.in_one_line or '--workdir' not in ended.errors)\n"
    )
    assert subprocess.run([sys.executable, tool], timeout=300).returncode == 0


def test_without_a_limit_the_same_command_succeeds(script):
    ended = tries.command([str(script), "1"])
    assert (ended.code, ended.errors) == (0, "")
