"""How commands end: always, with one line and the right code."""

import subprocess
import sys

import pytest
from commands import environment

from pixelvae_tf.commandline import program

PROGRAM = """
import atexit, builtins, os, signal, sys, time
from pixelvae_tf.commandline import program
from pixelvae_tf.errors import UserError

class Stuck:
    # Like a pipeline that waits for a thread that waits for the interpreter.
    def __del__(self):
        time.sleep(1000)

builtins.stuck = Stuck()
atexit.register(lambda: print("cleaned up"))

def main():
    {body}

program.run(main, "")
"""


# Ctrl-C while the command tidies up after SIGTERM.
SIGNALS = """
    program.end_tidily_on_signals()
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        os.kill(os.getpid(), signal.SIGINT)
        print("tidied up")
"""


@pytest.mark.parametrize(
    ("body", "code", "line"),
    [
        ("raise UserError('no data')", 1, "error: no data"),
        ("print('done')", 0, ""),
        ("1 / 0", 1, "ZeroDivisionError: "),
        (SIGNALS, 1, "error: terminated"),
    ],
)
def test_a_command_ends_whatever_its_objects_wait_for(body, code, line):
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(body=body)], capture_output=True, text=True, env=environment(), timeout=60
    )
    assert found.returncode == code
    assert line in found.stderr and "cleaned up" in found.stdout
    assert ("Traceback" in found.stderr) == (line == "ZeroDivisionError: ")
    assert ("tidied up" in found.stdout) == (body == SIGNALS)


@pytest.mark.parametrize("in_training", [False, True])
def test_only_training_lets_gpus_round_the_factors_of_float32_products(in_training):
    import tensorflow as tf

    config = tf.config.experimental
    before = config.tensor_float_32_execution_enabled()
    config.enable_tensor_float_32_execution(not in_training)
    try:
        program.start_tensorflow(in_training=in_training)
        assert config.tensor_float_32_execution_enabled() == in_training
    finally:
        config.enable_tensor_float_32_execution(before)
