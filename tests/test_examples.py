"""The worked examples at the head of classes do what they say."""

import doctest
import importlib

import pytest

EXAMPLES = {"PixelVAE": "model.pixelvae", "MaskedConv2D": "layers.masked_conv", "PixelCNN": "networks.pixelcnn"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_of_a_class_is_true(name):
    module = importlib.import_module(f"pixelvae_tf.{EXAMPLES[name]}")
    cls = getattr(module, name)
    (example,) = doctest.DocTestFinder(recurse=False).find(cls, name, module, globs=vars(module).copy())
    assert len(example.examples) > 3
    assert doctest.DocTestRunner().run(example).failed == 0
