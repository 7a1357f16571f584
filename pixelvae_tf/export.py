"""Writes a trained model as a SavedModel, which TensorFlow and its servers run without this package."""

from absl import flags

from pixelvae_tf.commandline import program
from pixelvae_tf.commandline.flags import define_model_flags, trained_model
from pixelvae_tf.runs.environment import environment
from pixelvae_tf.runs.trained import find_trained, load_best

OUTPUT = flags.DEFINE_string(
    "output",
    "",
    "Folder to write: a new one, or an earlier export to replace. TensorFlow Serving needs a number as its name: "
    "models/digits/1.",
)
KERAS = flags.DEFINE_bool("keras", False, "Also write model.keras, for keras.saving.load_model with this package.")
XLA = flags.DEFINE_bool(
    "xla",
    True,
    "Compile the sampling loops and the gates with XLA. Use --noxla for servers without XLA, such as TensorFlow "
    "Serving with its default settings: a new batch size then needs no compilation, but sampling is slower.",
)
define_model_flags()


def main() -> None:
    trained = find_trained(trained_model())
    program.start_tensorflow()
    from pixelvae_tf.model import serving

    output = serving.check_output(OUTPUT.value)
    model, best = load_best(trained)
    config = trained.config()
    classes = trained.classes()
    record = {
        **({} if classes is None else {"classes": list(classes.names)}),
        "dataset": config.data.dataset,
        "variant": config.data.data_variant,
        "training_steps": config.training.steps,
        "training_seed": config.training.seed,
        "checkpoint_step": best["step"],
        "weights": best["weights"],
        "precision": model.dtype_policy.name,
        "validation_bound_nats": best["nll_bound_nats"],
        **environment(),
    }
    written = serving.export(model, output, record, keras_file=KERAS.value, xla=XLA.value)
    print(f"step {best['step']} ({best['weights']} weights) in {OUTPUT.value}: {', '.join(written['endpoints'])}")


if __name__ == "__main__":
    program.run(main, __doc__)
