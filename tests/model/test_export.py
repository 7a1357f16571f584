"""Exports: another process without this package gets the numbers of this one."""

import os
import pathlib
import pickle
import subprocess
import sys

import keras
import models
import numpy as np
import pytest
import tiny
from commands import ROOT, environment, run

import pixelvae_tf
from pixelvae_tf import ModelConfig, RunConfig, files
from pixelvae_tf.model import serving
from pixelvae_tf.runs.workdir import Run
from pixelvae_tf.sampling.noise import latent_noise

CONFIG = models.SERVED
IMAGES = np.random.default_rng(0).integers(3, size=(40, *CONFIG.image_shape)).astype("uint8")
LATENTS = np.random.default_rng(2).normal(size=(40, 2)).astype("float32")
MASK = np.random.default_rng(1).integers(2, size=(40, 3, 4)).astype(bool)


def request(endpoint: str, **arguments) -> tuple[str, dict]:
    numbers = {name: np.int32(value) for name, value in arguments.items() if isinstance(value, int)}
    return endpoint, {**arguments, **numbers}


# Requests that have an answer, and what gives it in this process.
ANSWERED = {
    "the likelihood of a batch": (
        request("log_likelihood", images=IMAGES, importance_samples=5, seed=3),
        lambda model: {"log_likelihood_nats": model.log_likelihood(IMAGES, 5, seed=3)},
    ),
    "the likelihood of one image": (
        request("log_likelihood", images=IMAGES[:1], importance_samples=1, seed=4),
        lambda model: {"log_likelihood_nats": model.log_likelihood(IMAGES[:1], 1, seed=4)},
    ),
    "latents": (
        request("encode", images=IMAGES),
        lambda model: {f"z1_{part}": levels[0] for part, levels in model.encode(IMAGES)._asdict().items()},
    ),
    "the score of one image": (
        request("serving_default", images=IMAGES[:1]),
        lambda model: {
            "elbo_nats": model.elbo(IMAGES[:1]).elbo,
            "reconstruction_nats": model.elbo(IMAGES[:1]).reconstruction,
            "kl_z1_nats": model.elbo(IMAGES[:1]).kl[0],
        },
    ),
    "latents without samples": (
        request("posterior", images=IMAGES),
        lambda model: {"z1_mean": model.encode(IMAGES).mean[0], "z1_scale": model.encode(IMAGES).scale[0]},
    ),
    "the score with noise that is given": (
        request("score_given_noise", images=IMAGES, noise_z1=latent_noise(CONFIG, 40, seed=0)[0].numpy()),
        lambda model: {
            "elbo_nats": model.elbo(IMAGES).elbo,
            "reconstruction_nats": model.elbo(IMAGES).reconstruction,
        },
    ),
    "samples": (request("sample", num_samples=4, seed=1), lambda model: {"images": model.sample(4, seed=1)}),
    "many samples": (request("sample", num_samples=50, seed=2), lambda model: {"images": model.sample(50, seed=2)}),
    "reconstructions": (
        request("reconstruct", images=IMAGES, seed=5),
        lambda model: {"images": model.reconstruct(IMAGES, seed=5)},
    ),
    "decoded latents": (
        request("decode", z1=LATENTS, same_noise=np.bool_(False), seed=8),
        lambda model: {"images": model.decode(LATENTS, seed=8)},
    ),
    "decoded latents with the same noise": (
        request("decode", z1=LATENTS, same_noise=np.bool_(True), seed=8),
        lambda model: {"images": model.decode(LATENTS, seed=8, same_noise=True)},
    ),
    "completed rows": (
        request("complete", images=IMAGES, keep_rows=1, seed=6),
        lambda model: {"images": model.complete(IMAGES, keep_rows=1, seed=6)},
    ),
    "nothing to complete": (
        request("complete", images=IMAGES, keep_rows=3, seed=6),
        lambda model: {"images": IMAGES},
    ),
    "completion under a mask": (
        request("complete_mask", images=IMAGES, mask=MASK[:1], seed=7),
        lambda model: {"images": model.complete(IMAGES, mask=MASK[0], seed=7)},
    ),
    "completion under a mask for each": (
        request("complete_mask", images=IMAGES, mask=MASK, seed=7),
        lambda model: {"images": model.complete(IMAGES, mask=MASK, seed=7)},
    ),
}
# Requests that are refused, and what the answer says.
REFUSED = {
    "a pixel above the levels": (request("encode", images=IMAGES + 1), "images: this model takes pixels 0..2"),
    "a wrong pixel where it would be drawn": (
        request("complete", images=IMAGES + 1, keep_rows=0, seed=0),
        "images: this model takes pixels 0..2",
    ),
    "images of another size": (request("serving_default", images=IMAGES[:, :2]), "takes (batch, 3, 4, 1)"),
    "images of another type": (request("encode", images=IMAGES.astype("float32")), "uint8 tensor"),
    "no images": (request("serving_default", images=IMAGES[:0]), "images: give one or more"),
    "latents that are not finite": (
        request("decode", z1=LATENTS + np.float32("nan"), same_noise=np.bool_(False), seed=0),
        "z1: has values that are not finite",
    ),
    "latents of another size": (
        request("decode", z1=LATENTS[:, :1], same_noise=np.bool_(False), seed=0),
        "takes (batch, 2)",
    ),
    "no samples": (request("sample", num_samples=0, seed=0), "num_samples: use 1 or more"),
    "no importance samples": (
        request("log_likelihood", images=IMAGES, importance_samples=0, seed=0),
        "importance_samples: use 1 or more",
    ),
    "too many rows": (request("complete", images=IMAGES, keep_rows=4, seed=0), "keep_rows: the images have 3 rows"),
    "a negative number of rows": (request("complete", images=IMAGES, keep_rows=-1, seed=0), "use 0 to 3"),
    "masks for some": (request("complete_mask", images=IMAGES, mask=MASK[:3], seed=0), "mask: give one, or as many"),
    "a mask of another size": (
        request("complete_mask", images=IMAGES, mask=MASK[:, :2], seed=0),
        "mask: this model takes (1 or batch, 3, 4)",
    ),
    "no seed": (request("sample", num_samples=1), "seed"),
}
# More of what the other process is asked.
OTHERS = {
    "scores": request("serving_default", images=IMAGES),
    "scores in another order": request("serving_default", images=IMAGES[::-1]),
    "other samples": request("sample", num_samples=4, seed=11),
    **{f"{count} samples": request("sample", num_samples=count, seed=2) for count in (33, 34, 36)},
    **{f"scores of {count}": request("serving_default", images=IMAGES[:count]) for count in (33, 34, 36)},
}
# What TensorFlow writes where XLA compiles.
_COMPILED = "device_compilation_profiler"


def make_run(folder: pathlib.Path, config: ModelConfig = CONFIG) -> pathlib.Path:
    """A work directory with the best weights of step 7, which are averaged ones."""
    made = Run(folder)
    made.claim(RunConfig(model=config))
    made.save_best(tiny.model(config), {"step": 7, "nll_bound_nats": 12.5, "weights": "averaged"})
    return folder


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def exported(workdir, tmp_path_factory):
    """What the command wrote: a version folder of a model that TensorFlow Serving could watch."""
    output = tmp_path_factory.mktemp("models") / "digits" / "1"
    result = run("export", f"--workdir={workdir}", f"--output={output}", "--keras")
    assert (result.returncode, result.stderr) == (0, "")
    assert "step 7 (averaged weights)" in result.stdout
    assert os.listdir(output.parent) == ["1"]
    return output


@pytest.fixture(scope="module")
def model(workdir):
    return pixelvae_tf.load(workdir)


@pytest.fixture(scope="module")
def answers(exported, tmp_path_factory):
    """What a process without this package answers, by request; the folder of what saved_model_cli wrote; its log."""
    folder = tmp_path_factory.mktemp("answers")
    asked = {name: asked for name, (asked, _) in {**ANSWERED, **REFUSED}.items()} | OTHERS
    (folder / "requests").write_bytes(pickle.dumps(asked))
    arguments = [ROOT / "tests" / "serving_process.py", exported, folder / "requests", folder / "answers"]
    variables = environment(TF_CPP_MIN_LOG_LEVEL="0", TF_CPP_VMODULE=f"{_COMPILED}=1")
    with open(folder / "log", "w") as log:
        subprocess.run([sys.executable, *arguments], check=True, cwd=folder, timeout=300, env=variables, stderr=log)
    return {**pickle.loads((folder / "answers").read_bytes()), "folder": folder}


@pytest.mark.as_in_production
@pytest.mark.parametrize("name", ANSWERED)
def test_a_process_without_this_package_gets_the_same_numbers_bit_for_bit(name, answers, model):
    expected = ANSWERED[name][1](model)
    assert set(answers[name]) - {"bits_per_dim"} == set(expected)
    for key, array in expected.items():
        assert answers[name][key].dtype == array.dtype
        np.testing.assert_array_equal(answers[name][key], array)


@pytest.mark.as_in_production
@pytest.mark.parametrize("name", REFUSED)
def test_a_wrong_request_is_refused_by_name(name, answers):
    assert isinstance(answers[name], str)
    assert REFUSED[name][1] in answers[name]


@pytest.mark.as_in_production
def test_the_score_of_an_image_depends_on_nothing_else_in_the_batch(answers, model):
    for key, scores in answers["scores"].items():
        np.testing.assert_allclose(answers["scores in another order"][key], scores[::-1], rtol=1e-5)
    np.testing.assert_allclose(
        answers["scores"]["bits_per_dim"], -answers["scores"]["elbo_nats"] / (12 * np.log(2)), rtol=1e-6
    )
    alone = [model.elbo(IMAGES[index : index + 1]).elbo[0] for index in range(5)]
    np.testing.assert_allclose(answers["scores"]["elbo_nats"][:5], alone, rtol=1e-5)


@pytest.mark.as_in_production
@pytest.mark.parametrize(
    "first, others", [("33 samples", ("34 samples", "36 samples")), ("scores of 33", ("scores of 34", "scores of 36"))]
)
def test_batches_of_about_one_size_are_compiled_once(first, others, answers):
    log = (answers["folder"] / "log").read_text()

    def compilations(name: str) -> int:
        return log.partition(f"answered: {name}\n")[0].rpartition("answered: ")[2].count(_COMPILED)

    assert compilations(first) > 0
    assert [compilations(name) for name in others] == [0, 0]


@pytest.mark.as_in_production
def test_another_seed_gives_other_samples(answers):
    assert not np.array_equal(answers["other samples"]["images"], answers["samples"]["images"])


@pytest.mark.as_in_production
def test_saved_model_cli_shows_every_endpoint_and_runs_one(answers, model):
    for name, arguments in serving.signatures(CONFIG).items():
        shown = answers["show"].partition(f"signature_def['{name}']")[2].partition("signature_def[")[0]
        for spec in arguments:
            assert f"inputs['{spec.name}']" in shown
    assert "outputs['elbo_nats']" in answers["show"]
    np.testing.assert_array_equal(np.load(answers["folder"] / "images.npy"), model.sample(4, seed=1))


def test_the_record_says_what_was_exported_and_describes_every_endpoint(exported, answers):
    record = files.read_json(exported / "export.json")
    assert ModelConfig.from_dict(record["model"]) == CONFIG
    assert (record["checkpoint_step"], record["weights"], record["dataset"]) == (7, "averaged", "digits")
    assert record["precision"] == "float32"
    assert record["pixelvae_tf"] == pixelvae_tf.__version__
    assert set(record["endpoints"]) == set(serving.signatures(CONFIG))
    for name, (asked, _) in ANSWERED.items():
        described = record["endpoints"][asked[0]]
        assert described["does"]
        for part, arrays in (("inputs", asked[1]), ("outputs", answers[name])):
            assert set(described[part]) == set(arrays)
            for key, array in arrays.items():
                entry = described[part][key]
                assert entry["is"]
                assert entry["dtype"] == array.dtype.name
                shape = zip(entry["shape"], array.shape, strict=True)
                assert all(described_size in (-1, size) for described_size, size in shape)


def test_the_page_for_users_names_every_endpoint_and_everything_that_goes_in_and_out(exported):
    page = (ROOT / "docs" / "serving.md").read_text()
    for name, endpoint in files.read_json(exported / "export.json")["endpoints"].items():
        for word in (name, *endpoint["inputs"], *endpoint["outputs"]):
            assert f"`{word}" in page or f'"{word}"' in page, word


@pytest.mark.as_in_production
def test_the_keras_file_reloads_with_the_same_bounds(exported, model):
    reloaded = keras.saving.load_model(exported / "model.keras")
    np.testing.assert_array_equal(reloaded.elbo(IMAGES, seed=2).elbo, model.elbo(IMAGES, seed=2).elbo)
