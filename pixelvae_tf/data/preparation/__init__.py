"""Converts published image data to the format of TensorFlow Datasets, once before training."""
