"""The endpoints of which docs/serving.md says so convert to TensorFlow Lite, to the same numbers."""

import dataclasses

import keras
import models
import numpy as np
import pytest
import tensorflow as tf
import tiny

from pixelvae_tf.model import serving

# Its z1 in maps of 4x4, its z2 a vector.
TWO_LEVELS = dataclasses.replace(
    models.THREE_LEVELS, image_shape=(4, 4, 1), latent_channels=(1, 2), latent_strides=(1, 0)
)


@pytest.mark.parametrize(
    "config", [tiny.LEAST, pytest.param(TWO_LEVELS, marks=pytest.mark.exhaustive)], ids=["one level", "two levels"]
)
@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")
def test_endpoints_convert_to_tensorflow_lite_and_give_the_same_numbers(config, tmp_path):
    model = tiny.model(config, gain=1.0)
    archive = keras.export.ExportArchive()
    functions = {name: getattr(serving.Endpoints(model), name) for name in ("posterior", "score_given_noise")}
    with serving.nested_functions_inlined():
        for name, function in functions.items():
            archive.add_endpoint(name, function, serving.signatures(config)[name])
        archive.write_out(str(tmp_path), verbose=False)
    converted = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path), signature_keys=list(functions)).convert()
    interpreter = tf.lite.Interpreter(model_content=converted)
    generator = np.random.default_rng(0)
    images = models.some_images(config, 3)
    noise = [generator.normal(size=(3, *shape)).astype("float32") for shape in config.latent_shapes]
    of_score = {f"noise_z{level + 1}": values for level, values in enumerate(noise)}
    for endpoint, given in (("posterior", {}), ("score_given_noise", of_score)):
        found = interpreter.get_signature_runner(endpoint)(images=images, **given)
        expected = functions[endpoint](images, *given.values())
        assert set(found) == set(expected)
        for name, values in expected.items():
            np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-5)
