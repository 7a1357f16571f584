"""What holds for every public layer: it can be saved and rebuilt, keeps to its type, and to its order."""

import inspect
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from causality import by_color, dependence, earlier
from inventory import BATCH, ENTRIES, INVENTORY, LEVELS, public_layers
from models import few

# One of each layer in every run.
EACH = few(ENTRIES, [name for name in ENTRIES if name.endswith(" 0")])


class Holder(keras.Model):
    """A model that is nothing but a layer, to save its weights."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self.built = True


def assert_same_outputs(entry, first, second) -> None:
    for a, b in zip(entry.outputs(first), entry.outputs(second), strict=True):
        np.testing.assert_array_equal(a, b)


def test_every_public_layer_is_in_the_inventory_and_nothing_else():
    assert set(INVENTORY) == set(public_layers())
    for name, entries in INVENTORY.items():
        assert entries
        assert all(type(entry.make()) is public_layers()[name] for entry in entries)


@pytest.mark.parametrize("name", ENTRIES)
def test_its_configuration_is_json_and_names_every_argument_and_rebuilds_it_for_its_saved_weights(name, tmp_path):
    entry = ENTRIES[name]
    layer = entry.built()
    config = layer.get_config()
    arguments = inspect.signature(type(layer).__init__).parameters.values()
    named = {argument.name for argument in arguments if argument.kind == argument.POSITIONAL_OR_KEYWORD}
    assert named - {"self"} <= set(config)
    record = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    clone = keras.saving.deserialize_keras_object(record)
    assert type(clone) is type(layer)
    entry.build(clone)
    entry.outputs(clone)
    assert json.dumps(clone.get_config()) == json.dumps(config)
    Holder(layer).save_weights(tmp_path / "layer.weights.h5")
    Holder(clone).load_weights(tmp_path / "layer.weights.h5")
    assert_same_outputs(entry, clone, layer)


@pytest.mark.parametrize("name", EACH)
def test_in_mixed_bfloat16_it_computes_in_bfloat16_with_float32_weights(name):
    entry = ENTRIES[name]
    layer, exact = entry.built(dtype="mixed_bfloat16"), entry.built()
    assert all(weight.dtype == "float32" for weight in layer.weights)
    assert all(part.compute_dtype == "bfloat16" for part in layer._flatten_layers())
    layer.set_weights(exact.get_weights())
    for rounded, expected in zip(entry.outputs(layer), entry.outputs(exact), strict=True):
        assert rounded.dtype == tf.bfloat16
        error = np.abs(np.asarray(tf.cast(rounded, "float32")) - expected)
        assert error.max() < 0.05 * np.abs(expected).max() + 0.02


@pytest.mark.parametrize("name", [name for name, entry in ENTRIES.items() if entry.order != "anything"])
def test_a_masked_layer_keeps_to_the_order_of_pixels_and_colors_when_fresh(name):
    entry = ENTRIES[name]
    layer = entry.make()
    entry.build(layer)

    def given(maps):
        inputs = [tf.repeat(value[:1], maps.shape[0], axis=0) for value in entry.inputs]
        for index in entry.images:
            inputs[index] = maps
        return entry.outputs(layer, *inputs)

    images = entry.inputs[entry.images[0]]
    allowed = earlier(*images.shape[1:3], entry.colors)
    if entry.order == "past and present":
        allowed |= np.eye(np.prod(allowed.shape[:3]), dtype=bool).reshape(allowed.shape)
    for index in range(len(given(images))):
        strength = by_color(dependence(lambda maps, index=index: given(maps)[index], images), entry.colors)
        assert not strength[~allowed].any()
        assert strength[allowed].any()


def changed(value: np.ndarray) -> np.ndarray:
    """Copies of an example, in each of which another element differs, and one as it is."""
    count = value[0].size
    copies = np.repeat(value[:1], count + 1, axis=0)
    flat = copies.reshape(count + 1, count)
    other = (flat + 1) % LEVELS if np.issubdtype(value.dtype, np.integer) else flat + 1
    flat[:count][np.eye(count, dtype=bool)] = other[:count][np.eye(count, dtype=bool)]
    return copies


@pytest.mark.parametrize("name", EACH)
def test_no_element_of_an_input_is_ignored(name):
    entry = ENTRIES[name]
    layer = entry.built()
    for index, value in enumerate(entry.inputs):
        if index in entry.images and entry.order != "anything":
            continue  # nothing comes after the last pixel
        matters = np.zeros(value[0].size, bool)
        for example in range(BATCH):
            copies = changed(value[example : example + 1])
            inputs = [np.repeat(other[example : example + 1], len(copies), axis=0) for other in entry.inputs]
            inputs[index] = copies
            for output in entry.outputs(layer, *inputs):
                output = np.asarray(output).reshape(len(copies), -1)
                matters |= np.abs(output[:-1] - output[-1]).max(axis=1) > 1e-5
        assert matters.all(), index
