"""The settings of a network."""

from __future__ import annotations

import dataclasses
import math

from pixelvae_tf.config.base import Config, require, setting

# The masked layers of PixelRNN.
LSTM_BLOCKS = ("diagonal_bilstm", "row_lstm")


@dataclasses.dataclass(frozen=True)
class ModelConfig(Config):
    """Describes the networks of a PixelVAE, completely enough to rebuild them.

    The default is the best row of the paper's Table 1, "GatedPixelVAE without upsampling". `latent_channels`
    lists the levels from z1 up, so `()` gives an unconditional PixelCNN and `pixelcnn_layers=0` gives a plain VAE.
    """

    image_shape: tuple[int, ...] = setting((28, 28, 1), "Height, width and colors of an image.", flag=False)
    pixel_levels: int = setting(
        2, "Number of values of a pixel, 0..levels-1: 2 gives a Bernoulli output, more give a softmax.", flag=False
    )
    num_classes: int = setting(
        0,
        "Number of classes, for a model that is conditional on the label of an image: p(x | label). The label enters "
        "every gate and the encoder. 0 for a model without labels.",
    )
    network: str = setting(
        "convolutional",
        "Encoders and upsamplers: 'convolutional' (section 4.1: ReLU, one level of latents) or 'residual' (sections "
        "4.2 and 4.3: ELU residual blocks, any number of levels).",
        choices=("convolutional", "residual"),
    )
    latent_channels: tuple[int, ...] = setting(
        (16,), "Channels of each level of latents (at each position), z1 first; empty for an unconditional PixelCNN."
    )
    latent_strides: tuple[int, ...] = setting(
        (),
        "Stride of each level's latent maps in pixels, z1 first: for images of 32x32, 4 gives maps of 8x8. 0 gives one "
        "vector for the whole image. Empty gives vectors at all levels.",
    )
    latent_scale: str = setting(
        "exp",
        "How a network's output s gives a standard deviation: 'exp' is exp(s); 'softsign' is (softsign(s) + 1) / 2 and "
        "also bounds the means of p(z1 | z2).",
        choices=("exp", "softsign"),
    )
    prior: str = setting(
        "standard_normal",
        "Distribution of the topmost level of latents: 'standard_normal' (the paper's) or 'flow' (learned: a RealNVP; "
        "for a vector of at least two dimensions).",
        choices=("standard_normal", "flow"),
    )
    prior_couplings: int = setting(8, "Affine couplings of the learned prior (prior='flow').")
    prior_layers: int = setting(2, "Hidden layers in each coupling of the learned prior.")
    prior_channels: int = setting(128, "Units of each hidden layer of the learned prior.")
    encoder_channels: tuple[int, ...] = setting(
        (32, 64, 64),
        "Feature maps of the encoder, full resolution first: one number for each stage, which halves the sides "
        "(network='convolutional'), or for each resolution, each half the previous one (network='residual').",
    )
    conditioning: str = setting(
        "bias",
        "How the decoder receives z: 'bias' adds a linear map of z in every gate; 'maps' upsamples z to maps, which "
        "are a second input beside the image.",
        choices=("bias", "maps"),
    )
    upsampling_channels: tuple[int, ...] = setting(
        (32, 32, 64),
        "Feature maps of the upsampler, full resolution first (for conditioning='maps'). With network='residual', give "
        "as many numbers as for encoder_channels.",
    )
    residual_blocks: int = setting(
        1, "Residual blocks at each resolution, in addition to the blocks that change the resolution."
    )
    batch_normalization: bool = setting(True, "Use batch normalization in the residual blocks.")
    masked_blocks: str = setting(
        "stacks",
        "Masked layers: 'stacks' (vertical and horizontal, without a blind spot), 'residual' (from the paper's code "
        "for natural images, with a blind spot), or PixelRNN's 'diagonal_bilstm' (sees all rows above) or 'row_lstm' "
        "(sees a triangle above the pixel).",
        choices=("stacks", "residual", *LSTM_BLOCKS),
    )
    residual_connections: bool = setting(
        True, "Add the input of each LSTM layer to its output; the other masked layers always do so."
    )
    pixelcnn_layers: int = setting(
        13, "Masked layers over the pixels, including the first one (mask A); 0 makes pixels independent given z."
    )
    pixelcnn_channels: int = setting(
        16,
        "Feature maps of each masked stack. An LSTM layer has this many units per direction, and twice as many maps.",
    )
    latent_pixelcnn_layers: int = setting(
        3,
        "Masked layers over the latent maps of each level below the topmost; 0 makes the positions of a map "
        "independent given the level above.",
    )
    latent_pixelcnn_channels: int = setting(64, "Feature maps of each masked stack over latent maps.")
    first_kernel_size: int = setting(7, "Side of the first masked layer's kernel; an odd number.")
    kernel_size: int = setting(
        5, "Side of the other masked layers' kernels; an odd number. The Diagonal BiLSTM's kernels are always 1x1."
    )
    activation: str = setting(
        "gated",
        "Unit of the masked layers: 'gated' (tanh times sigmoid) or 'relu'. LSTM layers have their own.",
        choices=("gated", "relu"),
    )
    output_layers: int = setting(2, "Masked 1x1 layers between the last masked layer and the logits.")
    output_distribution: str = setting(
        "discrete",
        "Distribution of a pixel: 'discrete' (Bernoulli for two levels, else a softmax), 'logistics' (a mixture of "
        "discretized logistics for each color) or 'gaussian' (a discretized Gaussian, only for decoders without masked "
        "layers).",
        choices=("discrete", "logistics", "gaussian"),
    )
    mixture_components: int = setting(10, "Logistics in the mixture of each color (output_distribution='logistics').")
    embedding_channels: int = setting(
        0, "Dimensions of a learned embedding of each color's values at the input; 0 uses the scaled pixel values."
    )
    weight_normalization: bool = setting(True, "Use weight normalization in every convolution and linear layer.")

    def __post_init__(self):
        super().__post_init__()
        require(
            len(self.image_shape) == 3 and min(self.image_shape, default=0) >= 1,
            "image_shape",
            self.image_shape,
            "give (height, width, colors), each at least 1",
        )
        require(2 <= self.pixel_levels <= 256, "pixel_levels", self.pixel_levels, "use 2 to 256")
        require(
            self.num_classes == 0 or self.num_classes >= 2,
            "num_classes",
            self.num_classes,
            "use 2 or more, or 0 for a model without labels",
        )
        for name in ("latent_channels", "encoder_channels", "upsampling_channels"):
            value = getattr(self, name)
            require(all(item >= 1 for item in value), name, value, "every entry must be at least 1")
        for name in (
            "pixelcnn_layers",
            "latent_pixelcnn_layers",
            "output_layers",
            "embedding_channels",
            "residual_blocks",
        ):
            require(getattr(self, name) >= 0, name, getattr(self, name), "use 0 or more")
        for name in ("first_kernel_size", "kernel_size"):
            value = getattr(self, name)
            require(value >= 3 and value % 2 == 1, name, value, "use an odd number of at least 3")
        require(
            self.pixelcnn_channels >= self.image_shape[2],
            "pixelcnn_channels",
            self.pixelcnn_channels,
            "use at least one feature map for each color",
        )
        require(
            self.latent_pixelcnn_channels >= 1,
            "latent_pixelcnn_channels",
            self.latent_pixelcnn_channels,
            "use 1 or more",
        )
        if self.num_levels:
            require(
                len(self.encoder_channels) >= 1,
                "encoder_channels",
                (),
                "give at least one number: an encoder needs a stage",
            )
        for name in ("prior_couplings", "prior_layers", "prior_channels"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "use 1 or more")
        if self.pixelcnn_layers == 0:
            require(self.num_levels > 0, "pixelcnn_layers", 0, "without latents the model needs a masked layer")
            require(
                self.conditioning == "maps",
                "pixelcnn_layers",
                0,
                "without masked layers z has to be upsampled: use conditioning='maps'",
            )
        require(self.mixture_components >= 1, "mixture_components", self.mixture_components, "use 1 or more")
        if self.output_distribution == "gaussian":
            require(
                self.pixelcnn_layers == 0,
                "output_distribution",
                "gaussian",
                "masked layers need discrete pixels: use pixelcnn_layers=0 or output_distribution='discrete'",
            )
        if self.num_levels and self.conditioning == "maps":
            require(
                len(self.upsampling_channels) >= 1,
                "upsampling_channels",
                (),
                "give at least one number: an upsampler needs a stage",
            )
        self._check_levels()
        self._check_masked_blocks()
        if self.prior == "flow":
            require(
                self.num_levels > 0,
                "prior",
                "flow",
                "there are no latents: give latent_channels, or use prior='standard_normal'",
            )
            shape = self.latent_shapes[-1]
            require(
                len(shape) == 1,
                "prior",
                "flow",
                f"the topmost level is a map of latents, {shape}: let "
                "latent_strides end with 0 (a vector), or use prior='standard_normal'",
            )
            require(
                shape[0] >= 2,
                "prior",
                "flow",
                "a flow needs at least two dimensions in the topmost level: raise the "
                "last of latent_channels, or use prior='standard_normal'",
            )

    def _check_masked_blocks(self) -> None:
        if self.masked_blocks not in LSTM_BLOCKS:
            others = ", ".join(map(repr, LSTM_BLOCKS))
            require(
                self.residual_connections,
                "residual_connections",
                False,
                f"masked_blocks={self.masked_blocks!r} cannot do without; those that can are {others}",
            )
            return
        require(
            self.activation == "gated",
            "activation",
            self.activation,
            f"masked_blocks={self.masked_blocks!r} has the gates of an LSTM: leave it at 'gated', or use 'stacks'",
        )
        layers = {"pixelcnn_layers": self.pixelcnn_layers}
        if self.num_levels > 1:
            layers["latent_pixelcnn_layers"] = self.latent_pixelcnn_layers
        for name, count in layers.items():
            require(
                count != 1,
                name,
                count,
                f"the first layer is a convolution: masked_blocks={self.masked_blocks!r} needs 2 or more",
            )

    def _check_levels(self) -> None:
        strides = self.latent_strides
        require(
            not strides or len(strides) == self.num_levels,
            "latent_strides",
            strides,
            f"give one number for each of the {self.num_levels} latent_channels, or none",
        )
        if self.network == "convolutional":
            require(
                self.num_levels <= 1, "latent_channels", self.latent_channels, "several levels need network='residual'"
            )
            require(not any(strides), "latent_strides", strides, "maps of latents need network='residual'")
            require(
                self.masked_blocks != "residual",
                "masked_blocks",
                self.masked_blocks,
                "needs network='residual'; others are 'stacks', 'diagonal_bilstm' and 'row_lstm'",
            )
            return
        if not self.num_levels:
            return
        require(self.conditioning == "maps", "conditioning", self.conditioning, "network='residual' needs 'maps'")
        require(
            len(self.upsampling_channels) == len(self.encoder_channels),
            "upsampling_channels",
            self.upsampling_channels,
            f"give {len(self.encoder_channels)} numbers, as many as encoder_channels has",
        )
        coarsest = 2 ** (len(self.encoder_channels) - 1)
        require(
            all(side % coarsest == 0 for side in self.image_shape[:2]),
            "image_shape",
            self.image_shape,
            f"{len(self.encoder_channels)} encoder_channels reduce the sides to 1/{coarsest}: use sides that are "
            f"multiples of {coarsest}, or fewer encoder_channels",
        )
        allowed = [2**halvings for halvings in range(len(self.encoder_channels))]
        of_maps = strides[:-1] if strides[-1:] in ((), (0,)) else strides
        require(
            all(stride in allowed for stride in of_maps) and list(of_maps) == sorted(set(of_maps)),
            "latent_strides",
            strides,
            f"use increasing powers of two up to {coarsest}, and 0 (a vector) only for the topmost level",
        )
        require(
            self.num_levels == 1 or strides,
            "latent_strides",
            strides,
            "with several levels each needs a stride, for example 4,0",
        )

    @property
    def latent_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of each level's latents without the batch, z1 first: (channels,) or (height, width, channels)."""
        height, width, _ = self.image_shape
        strides = self.latent_strides or (0,) * self.num_levels
        return tuple(
            (height // stride, width // stride, channels) if stride else (channels,)
            for stride, channels in zip(strides, self.latent_channels, strict=True)
        )

    @property
    def num_levels(self) -> int:
        """Number of levels of latent variables, L in equation 2; 0 for an unconditional PixelCNN."""
        return len(self.latent_channels)

    @property
    def num_dimensions(self) -> int:
        """Number of dimensions of an image, the divisor of bits per dimension."""
        return math.prod(self.image_shape)
