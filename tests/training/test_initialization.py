"""A run may begin with the weights of a trained model: those that fit are the same, all others are fresh."""

import dataclasses
import shutil

import numpy as np
import pytest
import workdirs

import pixelvae_tf
from pixelvae_tf import RunConfig, TrainConfig
from pixelvae_tf.config import ConfigError
from pixelvae_tf.files import FileError
from pixelvae_tf.runs.workdir import Run
from pixelvae_tf.training.initialization import Source, source_of
from pixelvae_tf.training.run import build_model, train

pytestmark = pytest.mark.eagerly

SETTINGS = TrainConfig(
    steps=2, batch_size=32, validation_every=2, validation_examples=20, images_every=0, ema_decay=0.5, seed=4
)
# Two latents in the source, three here; and a layer that the source does not have.
OTHER = dataclasses.replace(workdirs.DIGITS, latent_channels=(3,), output_layers=1)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return workdirs.with_weights(tmp_path_factory.mktemp("source") / "run")


def begins(source, config=OTHER, **settings) -> RunConfig:
    training = dataclasses.replace(SETTINGS, initialize_from=str(source), **settings)
    return RunConfig(config, training=training)


def by_name(model) -> dict[str, np.ndarray]:
    """Weights by their paths, without the name of the model, which differs from one to the next."""
    return {variable.path.partition("/")[2]: variable.numpy() for variable in model.weights}


def test_weights_of_the_same_name_and_shape_are_those_of_the_source_and_all_others_stay_fresh(source):
    given, fresh = by_name(pixelvae_tf.load(source)), by_name(build_model(begins(source)))
    model = build_model(begins(source))
    lines = Source(str(source)).put_into(model)
    found = by_name(model)
    fitting = {name for name in found if name in given and given[name].shape == found[name].shape}
    assert fitting and fitting < found.keys()
    for name, value in found.items():
        np.testing.assert_array_equal(value, given[name] if name in fitting else fresh[name], err_msg=name)
    assert any(not np.array_equal(given[name], fresh[name]) for name in fitting)
    # The average of the weights begins where they begin, and the optimizer has taken no step.
    for variable, average in zip(model.trainable_variables, model.average.values(), strict=True):
        np.testing.assert_array_equal(variable.numpy(), average)
    assert int(model.optimizer.iterations.numpy()) == 0

    assert lines[0] == f"{len(fitting)} of {len(found)} weights are those of {source} (raw, step 7)"
    told = "\n".join(lines[1:])
    assert "fresh: p_x_given_z1: 2 weights, since the source has no weights of these names" in told
    assert (
        "fresh: encoder/parameters/kernel is 64x6 here and 64x4 in the source (2 more of this network differ)" in told
    )
    assert len(lines) == 4


def test_a_run_records_the_checksum_of_its_first_weights_and_goes_on_without_their_source(source, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(source, tmp_path / "source")
    config = begins(tmp_path / "source", workdirs.DIGITS, learning_rate=1e-30)
    train(config, str(folder))
    record = Run(source).best()
    assert Run(folder).config().training.initialize_from_sha256 == record["sha256"]
    assert f"are those of {tmp_path / 'source'}" in capsys.readouterr().out
    # Two steps at no rate lead nowhere.
    given, found = by_name(pixelvae_tf.load(source)), by_name(pixelvae_tf.load(folder))
    assert given.keys() == found.keys()
    for name in given:
        np.testing.assert_array_equal(found[name], given[name], err_msg=name)

    shutil.rmtree(tmp_path / "source")
    config = dataclasses.replace(config, training=dataclasses.replace(config.training, steps=3))
    assert train(config, str(folder))["steps"] == 3
    assert "weights are those of" not in capsys.readouterr().out


def test_a_folder_whose_run_began_otherwise_is_refused_and_stays_as_it_is(source, tmp_path):
    before = (source / "config.json").read_bytes()
    otherwise = RunConfig(workdirs.DIGITS, training=TrainConfig(initialize_from="digits"))
    with pytest.raises(FileError, match="initialize_from was '' and is now 'digits'"):
        train(otherwise, str(source))
    assert (source / "config.json").read_bytes() == before
    begun = tmp_path / "run"
    Run(begun).claim(begins(source, initialize_from_sha256="a" * 64))
    with pytest.raises(FileError, match=f"initialize_from was '{source}' and is now ''"):
        Run(begun).claim(RunConfig(OTHER, training=SETTINGS))
    # Without a checkpoint it needs the weights that it began with.
    config, unread = source_of(begins(source), Run(begun))
    assert unread is None
    with pytest.raises(FileError, match="its weights have the checksum .* begins with those of aaaaaaaaaaaa"):
        Source(str(source), config.training.initialize_from_sha256)


def test_a_source_that_does_not_fit_or_is_not_there_is_refused_before_a_folder_is_made(source, tmp_path):
    # Its layers have other names, but for some of other shapes.
    residual = dataclasses.replace(
        OTHER,
        pixel_levels=16,
        network="residual",
        conditioning="maps",
        encoder_channels=(6, 8),
        upsampling_channels=(6, 8),
        latent_strides=(2,),
        pixelcnn_channels=6,
        weight_normalization=False,
        output_layers=0,
    )
    cases = {
        str(source): "none of its .* weights has the name and the shape of one in this model",
        "absent": "--initialize_from: 'absent': no pretrained model and no folder",
        str(tmp_path / "absent"): "--initialize_from: .*absent: no such folder",
    }
    for name, message in cases.items():
        with pytest.raises(FileError, match=message) as error:
            train(begins(name, residual), str(tmp_path / "run"))
        assert "\n" not in str(error.value) and "--workdir" not in str(error.value)
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match="initialize_from_sha256.*64 hexadecimal"):
        begins(source, initialize_from_sha256="beef")
    with pytest.raises(ConfigError, match="initialize_from_sha256.*initialize_from"):
        TrainConfig(initialize_from_sha256="a" * 64)


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A run of the same configuration as `source` with other weights."""
    folder = workdirs.with_weights(tmp_path_factory.mktemp("other") / "run")
    model = pixelvae_tf.load(folder)
    for variable in model.weights:
        variable.assign(variable + 0.05 + 0.01 * np.sin(np.arange(np.prod(variable.shape))).reshape(variable.shape))
    Run(folder).save_best(model, {"step": 9, "weights": "raw", "nll_bound_nats": 120.0})
    return folder


def test_several_sources_give_the_mean_of_their_weights(source, other, tmp_path, capsys):
    given = [by_name(pixelvae_tf.load(run)) for run in (source, other)]
    config = begins(f"{source},{other}", workdirs.DIGITS, learning_rate=1e-30)
    train(config, str(tmp_path / "run"))
    found = by_name(pixelvae_tf.load(tmp_path / "run"))
    assert found.keys() == given[0].keys() == given[1].keys()
    for name, value in found.items():
        np.testing.assert_allclose(value, (given[0][name] + given[1][name]) / 2, atol=1e-6, err_msg=name)
        assert not np.allclose(value, given[0][name], atol=0.01)
    told = capsys.readouterr().out
    assert f"weights are those of the mean of {source} (raw, step 7), {other} (raw, step 9)\n" in told
    checksums = ",".join(Run(run).best()["sha256"] for run in (source, other))
    assert Run(tmp_path / "run").config().training.initialize_from_sha256 == checksums
    # A model that is named twice counts twice.
    twice = Source(f"{source},{other},{other}").weights
    for name, value in twice.items():
        np.testing.assert_allclose(value, (given[0][name] + 2 * given[1][name]) / 3, atol=1e-6, err_msg=name)
    # In the same order with these checksums, and in no other.
    assert Source(f"{source},{other}", checksums).sha256 == checksums
    with pytest.raises(FileError, match=f"--initialize_from={other}: its weights have the checksum"):
        Source(f"{other},{source}", checksums)


def test_a_mean_of_different_models_is_refused(source, tmp_path):
    with pytest.raises(FileError, match=f"digits has other weights than {source} .*same configuration") as error:
        train(begins(f"{source},digits", workdirs.DIGITS), str(tmp_path / "run"))
    assert "\n" not in str(error.value)
    with pytest.raises(FileError, match="'absent': no pretrained model and no folder"):
        train(begins(f"{source},absent", workdirs.DIGITS), str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_mean_names_a_model_on_each_side_of_a_comma_and_a_checksum_for_each():
    with pytest.raises(ConfigError, match="initialize_from='a,,b'.*each side of a comma"):
        TrainConfig(initialize_from="a,,b")
    with pytest.raises(ConfigError, match="initialize_from_sha256.*one checksum for each of the 2 models"):
        TrainConfig(initialize_from="a,b", initialize_from_sha256="a" * 64)
    both = f"{'a' * 64},{'b' * 64}"
    assert TrainConfig(initialize_from="a,b", initialize_from_sha256=both).initialize_from_sha256 == both
