"""A process that serves an export with TensorFlow alone: `test_export.py` starts it.

python serving_process.py EXPORT REQUESTS ANSWERS

Answers pickled requests, each an endpoint and its arguments, as they come over the wire of TensorFlow Serving, and
gives what saved_model_cli prints. Names every request on stderr when it is answered.
"""

import contextlib
import io
import os
import pickle
import sys

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow.python.tools import saved_model_cli


def over_the_wire(values: dict) -> dict:
    """Arrays by name as a PredictRequest or PredictResponse holds them, and unpacked again."""
    messages = {name: tf.make_tensor_proto(value).SerializeToString() for name, value in values.items()}
    return {name: tf.make_ndarray(tensor_pb2.TensorProto.FromString(text)) for name, text in messages.items()}


def answer(loaded, name: str, arguments: dict):
    """The outputs of an endpoint by name, the same from its method and its signature; or its error in words."""
    try:
        arguments = over_the_wire(arguments)
        found = loaded.signatures[name](**{key: tf.constant(array) for key, array in arguments.items()})
        for key, array in getattr(loaded, name)(*arguments.values()).items():
            np.testing.assert_array_equal(array, found[key])
        return over_the_wire(found)
    except (tf.errors.InvalidArgumentError, TypeError) as error:
        return f"{type(error).__name__}: {error}"


def command_line(*arguments: str) -> str:
    """What saved_model_cli prints."""
    sys.argv = ["saved_model_cli", *arguments]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        saved_model_cli.main()
    return printed.getvalue()


def main(export: str, requests: str, answers: str) -> None:
    # No import of this package succeeds from here on, whatever is installed.
    assert "pixelvae_tf" not in sys.modules
    sys.modules["pixelvae_tf"] = None
    loaded = tf.saved_model.load(export)
    found = {}
    with open(requests, "rb") as file:
        for key, (name, arguments) in pickle.load(file).items():
            found[key] = answer(loaded, name, arguments)
            # After what TensorFlow wrote there about it.
            print(f"answered: {key}", file=sys.stderr, flush=True)
    found["show"] = command_line("show", f"--dir={export}", "--all")
    run = ("run", f"--dir={export}", "--tag_set=serve", "--signature_def=sample")
    command_line(*run, "--input_exprs=num_samples=4;seed=1", f"--outdir={os.path.dirname(answers)}")
    with open(answers, "wb") as file:
        pickle.dump(found, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
