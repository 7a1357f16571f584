"""The folder of prepared data."""

from __future__ import annotations

import os
import pathlib

from pixelvae_tf.config import DataConfig


def prepared_folder(config: DataConfig) -> pathlib.Path:
    """Returns the folder to search for prepared data, and to download to."""
    chosen = config.data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return pathlib.Path(chosen).expanduser()
