"""Executes a notebook from its first cell to its last in a new kernel, and writes it with its outputs.

python tools/notebook.py updates docs/tour.ipynb in place.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

import _installed  # noqa: F401
from absl import flags

from pixelvae_tf import files
from pixelvae_tf.commandline import program

try:
    import nbformat
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, DeadKernelError
except ModuleNotFoundError as error:
    sys.exit(f"error: {error.name} is not installed: run `pip install '.[notebook]'` in the repository")

NOTEBOOK = flags.DEFINE_string("notebook", "docs/tour.ipynb", "Notebook to execute.")
OUTPUT = flags.DEFINE_string("output", "", "Notebook to write; by default the executed one.")

# The same on every machine, so that executing a notebook again changes only its outputs.
_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def read(path: pathlib.Path) -> nbformat.NotebookNode:
    """Reads a notebook. Raises FileError if the file is missing or not a notebook."""
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        return notebook
    except FileNotFoundError:
        raise files.FileError(f"--notebook={path}: no such file") from None
    except (OSError, ValueError, AttributeError, nbformat.ValidationError) as error:
        raise files.FileError(f"--notebook={path}: not readable as a notebook ({error})") from None


def execute(notebook: nbformat.NotebookNode, folder: str) -> None:
    """Executes the code cells and stores their outputs. The kernel uses this Python and works in `folder`."""
    kernel = AsyncKernelManager(
        # Ignores kernels that are registered on this machine, and uses sockets instead of ports.
        kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),
        transport="ipc",
        connection_file=f"{folder}/kernel.json",
    )
    # TensorFlow's C++ code writes to the process's own stderr, which ipykernel would copy into the outputs.
    client = NotebookClient(
        notebook,
        km=kernel,
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": folder}},
        extra_arguments=["--IPKernelApp.capture_fd_output=False"],
    )
    # A GPU computes less exactly than the outputs print.
    own = {"CUDA_VISIBLE_DEVICES": "-1", "IPYTHONDIR": f"{folder}/ipython", "JUPYTER_CONFIG_DIR": f"{folder}/jupyter"}
    client.execute(env={**os.environ, **own}, stderr=subprocess.DEVNULL)
    notebook.metadata = nbformat.from_dict(_METADATA)


def failed_cell(notebook: nbformat.NotebookNode) -> str:
    """Describes the last cell that was started, in which an error occurred or the kernel died."""
    started = [index for index, cell in enumerate(notebook.cells) if cell.get("outputs") or cell.get("execution_count")]
    return f"cell {started[-1] + 1} ({notebook.cells[started[-1]].source.splitlines()[0]})" if started else "cell 1"


def main() -> None:
    path = pathlib.Path(NOTEBOOK.value)
    output = files.check_output(OUTPUT.value or NOTEBOOK.value, "output" if OUTPUT.value else "notebook")
    notebook = read(path)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    try:
        with tempfile.TemporaryDirectory() as folder:
            execute(notebook, folder)
    except CellExecutionError as error:
        raise files.FileError(f"{path}: {failed_cell(notebook)} raised {error.ename}: {error.evalue}") from None
    except DeadKernelError as error:
        raise files.FileError(f"{path}: {failed_cell(notebook)}, or the next: {error}") from None
    with files.replacing(output) as temporary:
        nbformat.write(notebook, temporary)
    print(f"{sum(cell.cell_type == 'code' for cell in notebook.cells)} cells executed, in {output}")


if __name__ == "__main__":
    program.run(main, __doc__)
