"""A stack of bits by asymmetric numeral systems (Duda 2009), on the entropy coders of `constriction`.

A stack and not a queue: what is pushed last is popped first. So a decoder undoes the steps of an encoder in reverse,
and an encoder may pop symbols of a distribution from the bits that are there, which bits-back coding does.

All probabilities are whole numbers of 1 / TOTAL. `constriction` makes such numbers from floats: it adds one unit to
every symbol and shares out the rest in proportion. Here the rest is given as whole numbers that need no scaling, so
that each symbol gets exactly the units that it was given.
"""

from __future__ import annotations

import functools
import hashlib

import numpy as np

from pixelvae_tf.compression.support import library

FREQUENCY_BITS = 24
TOTAL = 1 << FREQUENCY_BITS
# Bits of a word, and of what has to stay on a stack so that it is the same with more words below as without.
WORD_BITS = 32
MARGIN_BITS = 3 * WORD_BITS


class CorruptError(ValueError):
    """Popped what nobody pushed: the bits, or the probabilities, are not those of the encoder."""


class Stack:
    """The bits.

    Args:
        words: (words,) uint32 from another stack's `words`, the bottom first.

    Attributes:
        untouched: words at the bottom that no pop has needed so far.
        initial: random words that were put below all others, with the untouched ones.
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
        """Random bits below all others, as far as `words` has them."""
        return WORD_BITS * (self.initial - self.untouched)

    @property
    def bits(self) -> int:
        """The size of what is there."""
        return self._coder.num_valid_bits()

    def words(self) -> np.ndarray:
        """All of it, (words,) uint32, without the words at the bottom that no pop has needed."""
        return self._coder.get_compressed()[self.untouched :]

    def ensure(self, bits: int) -> None:
        """Puts random words below what is there, so that this many bits can be popped.

        Nothing that was pushed before is popped otherwise with them, as long as every pop was ensured.
        """
        missing = bits + MARGIN_BITS - self.bits
        if missing <= 0:
            return
        words, below = self._coder.get_compressed(), _random_words(-(-missing // WORD_BITS))
        self._coder = library().stack.AnsCoder(np.concatenate([below, words]))
        self.initial += len(below)
        self.untouched = self.untouched + len(below) if len(words) else self._coder.pos()[0]

    def note_depth(self) -> None:
        """To be called where pops end: notes how deep they went."""
        self.untouched = min(self.untouched, self._coder.pos()[0])

    # Symbols of finite alphabets, many at a time. Pops give them in the order in which they were pushed together.

    def push_intervals(self, left: np.ndarray, right: np.ndarray) -> None:
        """Symbols by their intervals in 1..TOTAL-1, as `quantization.cumulative` gives them; (symbols,) integers."""
        units = np.stack([left - 1, right - left - 1, TOTAL - 1 - right], axis=-1).astype("float64")
        self._coder.encode_reverse(np.ones(len(units), "int32"), self._table, units)

    def pop_symbols(self, cumulative: np.ndarray) -> np.ndarray:
        """(symbols,) int32, given the intervals of all symbols of each, (symbols, levels + 1) from 1 to TOTAL-1."""
        # A unit below and one above belong to nobody.
        units = np.zeros((len(cumulative), cumulative.shape[1] + 1))
        units[:, 1:-1] = np.diff(cumulative, axis=1) - 1
        symbols = self._coder.decode(self._table, units) - 1
        if symbols.min(initial=0) < 0 or symbols.max(initial=0) >= cumulative.shape[1] - 1:
            raise CorruptError("a symbol that does not exist")
        return symbols

    def push_uniform(self, symbols: np.ndarray, count: int) -> None:
        """(symbols,) integers of 0..count-1, equally likely; `count` divides TOTAL."""
        self._coder.encode_reverse(symbols.astype("int32"), self._uniform(count))

    def pop_uniform(self, symbols: int, count: int) -> np.ndarray:
        """So many of 0..count-1, (symbols,) int32."""
        return self._coder.decode(self._uniform(count), symbols)

    # Single symbols of large alphabets: who pops finds the interval in which the next unit lies.

    def next_unit(self) -> int:
        """The number in 0..TOTAL-1 whose interval is popped next."""
        return self._coder.pos()[1] & (TOTAL - 1)

    def push(self, left: int, right: int) -> None:
        """One symbol by its interval in 0..TOTAL. Raises CorruptError for an empty one, which `pop` never gave."""
        if right <= left:
            raise CorruptError("a symbol without an interval")
        if right - left < TOTAL:
            self._coder.encode_reverse(int(left > 0), self._parts(left, right))

    def pop(self, left: int, right: int) -> None:
        """The interval in which `next_unit` lies."""
        if right - left < TOTAL:
            self._coder.decode(self._parts(left, right))

    def _parts(self, left: int, right: int):
        """The interval as a symbol between those of all below and all above it, where there is something."""
        return self._one(np.array([part - 1.0 for part in (left, right - left, TOTAL - right) if part]))


def _random_words(count: int) -> np.ndarray:
    """The same random words on every machine, (count,) uint32, none of them zero."""
    blocks = [hashlib.sha256(block.to_bytes(4, "little")).digest() for block in range(-(-count // 8))]
    return np.frombuffer(b"".join(blocks), "<u4")[:count].astype("uint32") | 1
