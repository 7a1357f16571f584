"""A stack of bits by asymmetric numeral systems (Duda 2009), on the entropy coders of `constriction`.

It is a stack, not a queue: the last pushed symbol is popped first. So a decoder undoes the steps of an encoder in
reverse. An encoder may also pop symbols of any distribution from the bits on the stack, as bits-back coding does.

All probabilities are multiples of 1 / TOTAL. `constriction` makes such numbers from floats: it adds one unit to every
symbol and distributes the rest in proportion. Here the rest consists of whole numbers that need no scaling, so each
symbol gets exactly its units.
"""

from __future__ import annotations

import functools
import hashlib

import numpy as np

from pixelvae_tf.compression.support import library

FREQUENCY_BITS = 24
TOTAL = 1 << FREQUENCY_BITS
# Bits of a word, and bits that must stay on a stack so that more words below do not change its pops.
WORD_BITS = 32
MARGIN_BITS = 3 * WORD_BITS


class CorruptError(ValueError):
    """A pop found a symbol that was never pushed: the bits or the probabilities differ from the encoder's."""


class Stack:
    """The stack of bits.

    Args:
        words: (words,) uint32 from another stack's `words`, the bottom first.

    Attributes:
        untouched: number of words at the bottom that no pop has needed so far.
        initial: number of random words below all others, including untouched ones.
    """

    def __init__(self, words=()):
        models = library().model
        self._coder = library().stack.AnsCoder(np.asarray(words, "uint32"))
        self._table = models.Categorical(perfect=False)
        self._one = functools.partial(models.Categorical, perfect=False)
        self._uniform = functools.cache(models.Uniform)
        self.untouched = self._coder.pos()[0]
        self.initial = 0

    @property
    def initial_bits(self) -> int:
        """The number of random bits in `words`, below all others."""
        return WORD_BITS * (self.initial - self.untouched)

    @property
    def bits(self) -> int:
        """The number of bits on the stack."""
        return self._coder.num_valid_bits()

    def words(self) -> np.ndarray:
        """Returns the stack as (words,) uint32, without the words at the bottom that no pop has needed."""
        return self._coder.get_compressed()[self.untouched :]

    def ensure(self, bits: int) -> None:
        """Puts random words at the bottom if necessary, so that this many bits can be popped.

        They do not change the pops of symbols pushed before, as long as every pop was ensured.
        """
        missing = bits + MARGIN_BITS - self.bits
        if missing <= 0:
            return
        words, below = self._coder.get_compressed(), _random_words(-(-missing // WORD_BITS))
        self._coder = library().stack.AnsCoder(np.concatenate([below, words]))
        self.initial += len(below)
        self.untouched = self.untouched + len(below) if len(words) else self._coder.pos()[0]

    def note_depth(self) -> None:
        """Records how deep pops went. Call it after the last pop."""
        self.untouched = min(self.untouched, self._coder.pos()[0])

    # Symbols of finite alphabets, many at a time. A pop returns them in the order of their common push.

    def push_intervals(self, left: np.ndarray, right: np.ndarray) -> None:
        """Pushes symbols by their intervals in 1..TOTAL-1 from `quantization.cumulative`; (symbols,) integers."""
        units = np.stack([left - 1, right - left - 1, TOTAL - 1 - right], axis=-1).astype("float64")
        self._coder.encode_reverse(np.ones(len(units), "int32"), self._table, units)

    def pop_symbols(self, cumulative: np.ndarray) -> np.ndarray:
        """Pops (symbols,) int32, given the intervals of each's alphabet, (symbols, levels + 1) from 1 to TOTAL-1."""
        # The units below the first and above the last interval belong to no symbol.
        units = np.zeros((len(cumulative), cumulative.shape[1] + 1))
        units[:, 1:-1] = np.diff(cumulative, axis=1) - 1
        symbols = self._coder.decode(self._table, units) - 1
        if symbols.min(initial=0) < 0 or symbols.max(initial=0) >= cumulative.shape[1] - 1:
            raise CorruptError("a symbol that does not exist")
        return symbols

    def push_uniform(self, symbols: np.ndarray, count: int) -> None:
        """Pushes (symbols,) integers of 0..count-1, which are equally likely; `count` divides TOTAL."""
        self._coder.encode_reverse(symbols.astype("int32"), self._uniform(count))

    def pop_uniform(self, symbols: int, count: int) -> np.ndarray:
        """Pops this many integers of 0..count-1, (symbols,) int32."""
        return self._coder.decode(self._uniform(count), symbols)

    # Single symbols of large alphabets: to pop one, find the interval that contains the next unit.

    def next_unit(self) -> int:
        """Returns the number in 0..TOTAL-1 whose interval is popped next."""
        return self._coder.pos()[1] & (TOTAL - 1)

    def push(self, left: int, right: int) -> None:
        """Pushes one symbol by its interval in 0..TOTAL. Raises CorruptError for an empty interval."""
        if right <= left:
            raise CorruptError("a symbol without an interval")
        if right - left < TOTAL:
            self._coder.encode_reverse(int(left > 0), self._parts(left, right))

    def pop(self, left: int, right: int) -> None:
        """Pops the symbol whose interval contains `next_unit`."""
        if right - left < TOTAL:
            self._coder.decode(self._parts(left, right))

    def _parts(self, left: int, right: int):
        """Returns a model with up to three symbols: everything below the interval, the interval, everything above."""
        return self._one(np.array([size - 1.0 for size in (left, right - left, TOTAL - right) if size]))


def _random_words(count: int) -> np.ndarray:
    """Returns the same random words on every machine, (count,) uint32, all nonzero."""
    blocks = [hashlib.sha256(block.to_bytes(4, "little")).digest() for block in range(-(-count // 8))]
    return np.frombuffer(b"".join(blocks), "<u4")[:count].astype("uint32") | 1
