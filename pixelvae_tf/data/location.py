"""Where prepared data lies."""

from __future__ import annotations

import os
import pathlib

from pixelvae_tf.config import DataConfig


def prepared_folder(config: DataConfig) -> pathlib.Path:
    """The folder in which prepared data is looked for, and to which a download goes."""
    chosen = config.data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return pathlib.Path(chosen).expanduser()
