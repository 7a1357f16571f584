"""From the formats in which images are published to datasets of TensorFlow Datasets; run once, before training."""
