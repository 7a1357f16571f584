"""Configurations refuse what cannot be used, by name, and survive a round trip."""

import dataclasses

import pytest

from pixelvae_tf.config import ConfigError, DataConfig, ModelConfig, RunConfig, TrainConfig

WRONG = [
    (ModelConfig, "image_shape", (28, 28)),
    (ModelConfig, "image_shape", (0, 28, 1)),
    (ModelConfig, "image_shape", 28),
    (ModelConfig, "pixel_levels", 1),
    (ModelConfig, "pixel_levels", 257),
    (ModelConfig, "pixel_levels", "two"),
    (ModelConfig, "latent_channels", (0,)),
    (ModelConfig, "latent_channels", (1.5,)),
    (ModelConfig, "encoder_channels", ()),
    (ModelConfig, "encoder_channels", (-1,)),
    (ModelConfig, "conditioning", "gates"),
    (ModelConfig, "pixelcnn_layers", -1),
    (ModelConfig, "pixelcnn_layers", 0),
    (ModelConfig, "pixelcnn_channels", 0),
    (ModelConfig, "kernel_size", 4),
    (ModelConfig, "first_kernel_size", 1),
    (ModelConfig, "activation", "elu"),
    (ModelConfig, "output_layers", -1),
    (ModelConfig, "embedding_channels", -1),
    (ModelConfig, "prior", "normal"),
    (ModelConfig, "prior_channels", 0),
    (ModelConfig, "output_distribution", "logistic"),
    (ModelConfig, "mixture_components", 0),
    (ModelConfig, "weight_normalization", 1),
    (DataConfig, "dataset", 5),
    (TrainConfig, "steps", 0),
    (TrainConfig, "steps", True),
    (TrainConfig, "batch_size", -3),
    (TrainConfig, "learning_rate", 0.0),
    (TrainConfig, "learning_rate", float("nan")),
    (TrainConfig, "learning_rate_schedule", "linear"),
    (TrainConfig, "learning_rate_warmup_steps", 10**9),
    (TrainConfig, "kl_warmup_steps", -1),
    (TrainConfig, "gradient_clip_norm", -1.0),
    (TrainConfig, "ema_decay", 1.0),
    (TrainConfig, "dropout", 1.0),
    (TrainConfig, "dropout", -0.1),
    (TrainConfig, "validation_every", 0),
    (TrainConfig, "mixed_precision", "float16"),
    (TrainConfig, "profile_steps", (5,)),
    (TrainConfig, "seed", -1),
    (TrainConfig, "kl_weight", -0.5),
    (TrainConfig, "free_bits", -1.0),
    (TrainConfig, "augmentation", 1.5),
    (TrainConfig, "augmentation_steps", -1),
    (TrainConfig, "augmentation_steps", 100),
]


@pytest.mark.parametrize(("part", "name", "value"), WRONG)
def test_a_wrong_value_is_refused_in_one_line_that_names_the_field(part, name, value):
    with pytest.raises(ConfigError) as error:
        part(**{name: value})
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_half_precision_is_refused_with_the_reason():
    with pytest.raises(ConfigError, match="mixed_precision='float16': its gradients need a scaled loss"):
        TrainConfig(mixed_precision="float16")


def test_a_run_survives_the_round_trip_through_json_values():
    run = RunConfig(
        ModelConfig(latent_channels=(), image_shape=(8, 8, 3), pixel_levels=256),
        DataConfig(dataset="mnist"),
        TrainConfig(learning_rate=1, profile_steps=(2, 3)),
    )
    assert RunConfig.from_dict(run.to_dict()) == run


def test_an_unknown_field_is_named():
    with pytest.raises(ConfigError, match="depth"):
        ModelConfig.from_dict({"depth": 3})


def test_a_configuration_cannot_be_changed_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ModelConfig().pixelcnn_layers = 3


def test_the_difference_of_two_runs_names_the_field_and_both_values():
    run = RunConfig()
    other = dataclasses.replace(run, training=dataclasses.replace(run.training, batch_size=50))
    difference = run.difference(other)
    assert "batch_size" in difference
    assert "100" in difference
    assert "50" in difference


def test_a_run_may_be_continued_for_more_steps_from_another_data_folder():
    run = RunConfig()
    other = RunConfig(run.model, DataConfig(data_dir="elsewhere"), dataclasses.replace(run.training, steps=300_000))
    assert run.difference(other) is None


def test_every_field_explains_itself():
    for part in (ModelConfig, DataConfig, TrainConfig):
        for field in dataclasses.fields(part):
            assert len(field.metadata["help"]) > 10
