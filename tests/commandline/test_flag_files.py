"""Every flag file is a configuration that its dataset fits, and differs from the others."""

import dataclasses

import pytest
from commands import ROOT

from pixelvae_tf.commandline import flags
from pixelvae_tf.config import RunConfig
from pixelvae_tf.errors import UserError

SHAPES = {"digits": (8, 8, 1, 17), "binarized_mnist": (28, 28, 1, 2), "mnist": (28, 28, 1, 256)}
FILES = sorted(path for path in (ROOT / "flags").glob("*.cfg") if not path.stem.endswith("_base"))


def configuration(path) -> RunConfig:
    """What a training with this flag file alone would record."""
    data = flags.configuration(path, [], flags.ANY_SHAPE, 2).data
    size = data.image_size or 64
    *shape, levels = SHAPES.get(data.dataset, (size, size, 3, 256))
    return flags.configuration(path, [], shape, levels)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_flag_file_is_a_valid_run_on_its_dataset(path):
    run = configuration(path)
    assert run.training.steps > 1
    assert RunConfig.from_dict(run.to_dict()) == run


def test_no_two_flag_files_are_the_same_run():
    runs = [configuration(path) for path in FILES]
    for index, run in enumerate(runs):
        assert run not in runs[:index], FILES[index].stem


def test_the_systems_of_table_1_differ_where_the_paper_says():
    table = {path.stem: configuration(path).model for path in FILES if path.stem.startswith("mnist_")}
    best = configuration(ROOT / "flags" / "mnist.cfg").model
    assert best.conditioning == "bias" and best.pixelcnn_layers == 13 and best.activation == "gated"
    assert table["mnist_gated_pixelvae"].conditioning == "maps"
    assert table["mnist_pixelvae"].activation == table["mnist_pixelcnn"].activation == "relu"
    assert table["mnist_pixelcnn"].num_levels == table["mnist_gated_pixelcnn"].num_levels == 0
    assert table["mnist_vae"].pixelcnn_layers == 0


def test_the_hierarchical_systems_have_the_papers_latents():
    def shapes(name: str):
        return configuration(ROOT / "flags" / f"{name}.cfg").model.latent_shapes

    assert shapes("lsun32") == shapes("lsun32_conv_vae") == shapes("lsun32_gaussian_prior") == ((8, 8, 64), (512,))
    assert shapes("lsun32_one_level") == ((512,),)
    assert shapes("lsun64") == shapes("imagenet64") == shapes("imagenet64_small") == ((16, 16, 64), (512,))


def test_the_comparison_in_small_gives_its_systems_the_same_budget_and_differs_where_section_4_2_does():
    names = ("", "_one_level", "_conv_vae", "_gaussian_prior")
    runs = {name: configuration(ROOT / "flags" / f"compare32{name}.cfg") for name in names}
    for run in runs.values():
        assert run.data == runs[""].data
        assert dataclasses.replace(run.training, prior_scale_floor_steps=0) == dataclasses.replace(
            runs[""].training, prior_scale_floor_steps=0
        )
    two_levels = runs[""].model
    assert runs["_gaussian_prior"].model == dataclasses.replace(two_levels, latent_pixelcnn_layers=0)
    assert runs["_conv_vae"].model == dataclasses.replace(
        two_levels, latent_pixelcnn_layers=0, pixelcnn_layers=0, output_distribution="gaussian"
    )
    assert runs["_one_level"].model == dataclasses.replace(two_levels, latent_channels=(64,), latent_strides=(0,))


@pytest.mark.parametrize("name", ["compare32", "mnist256"])
def test_the_logistics_replace_the_softmax_and_nothing_else(name):
    softmax, logistics = (configuration(ROOT / "flags" / f"{name}{suffix}.cfg") for suffix in ("", "_logistics"))
    changed = dataclasses.replace(softmax.model, output_distribution="logistics")
    assert logistics == dataclasses.replace(softmax, model=changed)


def chain(folder, length: int, times: int = 1):
    """The first of so many flag files that each name the next one."""
    for index in range(length - 1):
        (folder / f"{index}.cfg").write_text(f"--flagfile={index + 1}.cfg\n" * times)
    (folder / f"{length - 1}.cfg").write_text("--seed=7\n")
    return folder / "0.cfg"


def test_a_chain_of_flag_files_is_read_to_its_end(tmp_path):
    assert configuration(chain(tmp_path, 20)).training.seed == 7


@pytest.mark.parametrize(
    ("length", "times", "words"),
    [(1500, 1, "lies deeper than 20 files"), (20, 2, "0.cfg: leads to more than 100 files")],
    ids=["a long chain", "a chain whose files name the next one twice"],
)
def test_flag_files_that_lead_on_and_on_are_refused(length, times, words, tmp_path):
    with pytest.raises(UserError, match=words):
        configuration(chain(tmp_path, length, times))


@pytest.mark.parametrize(
    "content",
    [b"--flagfile=a\0b.cfg\n", b"\xff\xfe--seed=1\n"],
    ids=["a null byte in a name", "bytes that are no text"],
)
def test_a_flag_file_of_stray_bytes_is_told_in_one_printable_line(content, tmp_path):
    (tmp_path / "damaged.cfg").write_bytes(content)
    with pytest.raises(UserError, match="cannot be read") as caught:
        configuration(tmp_path / "damaged.cfg")
    assert str(caught.value).isprintable()
