"""Datasets by name, and the batches that training and evaluation read. TensorFlow is imported when needed."""

from pixelvae_tf.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "Augmentation": "augmentation",
        "Classes": "schema",
        "DataError": "schema",
        "DatasetInfo": "schema",
        "classes": "registry",
        "classes_of_model": "registry",
        "describe": "registry",
        "evaluation_batches": "pipeline",
        "explain_read_error": "damage",
        "fingerprint": "registry",
        "image_names": "registry",
        "load": "registry",
        "load_labelled": "registry",
        "names": "registry",
        "notes": "registry",
        "reading": "damage",
        "training_batches": "pipeline",
    },
)
