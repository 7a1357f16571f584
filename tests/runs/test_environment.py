"""What a record says about where it was made."""

from pixelvae_tf.runs.environment import environment


def test_settings_of_xla_are_named_if_there_are_any(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_gpu_autotune_level=1")
    assert environment()["xla_flags"] == "--xla_gpu_autotune_level=1"
    monkeypatch.delenv("XLA_FLAGS")
    assert "xla_flags" not in environment()


def test_a_folder_of_this_machine_among_them_is_left_out(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_gpu_cuda_data_dir=/opt/cuda --xla_gpu_autotune_level=1")
    assert environment()["xla_flags"] == "--xla_gpu_autotune_level=1"
    monkeypatch.setenv("XLA_FLAGS", "--xla_gpu_cuda_data_dir=/opt/cuda")
    assert "xla_flags" not in environment()
