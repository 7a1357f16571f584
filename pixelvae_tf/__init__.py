"""PixelVAE (Gulrajani et al., ICLR 2017) on TensorFlow and Keras 3."""
from pixelvae_tf.config import ModelConfig
from pixelvae_tf.model import PixelVAE
