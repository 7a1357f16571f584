"""The stack of bits: pops undo pushes, symbols cost what their probabilities say, and units are shared out exactly."""

import sys

import numpy as np
import pytest

from pixelvae_tf.compression import quantization, support
from pixelvae_tf.compression.ans import MARGIN_BITS, TOTAL, CorruptError, Stack
from pixelvae_tf.errors import UserError


def random_table(generator: np.random.Generator, rows: int, levels: int) -> np.ndarray:
    """Probabilities from nearly certain to nearly even, (rows, levels)."""
    logits = generator.normal(size=(rows, levels)) * generator.choice([0.1, 3.0, 30.0], size=(rows, 1))
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (weights / weights.sum(axis=1, keepdims=True)).astype("float32")


@pytest.mark.parametrize("levels", [2, 3, 17, 256])
def test_symbols_come_back_in_order_and_cost_what_their_probabilities_say(levels):
    generator = np.random.default_rng(levels)
    table = random_table(generator, 500, levels)
    cumulative = quantization.cumulative(table)
    symbols = np.array([generator.choice(levels, p=row / row.sum()) for row in table.astype("float64")])
    left, right = (cumulative[np.arange(500), symbols + shift] for shift in (0, 1))
    stack = Stack()
    stack.push_intervals(left, right)
    cost = -np.log2((right - left) / TOTAL).sum()
    assert cost <= stack.bits <= cost + 40
    np.testing.assert_array_equal(Stack(stack.words()).pop_symbols(cumulative), symbols)


def test_every_symbol_has_the_units_that_it_was_given():
    """At both ends of each interval: `constriction` neither rounds nor scales what it is given."""
    cumulative = quantization.cumulative(random_table(np.random.default_rng(0), 20, 7))
    for row in cumulative:
        for symbol, (left, right) in enumerate(zip(row[:-1], row[1:], strict=True)):
            for unit in (left, right - 1):
                stack = Stack(np.array([5, 6, 77 << 24 | int(unit), 7], "uint32"))
                assert stack.next_unit() == unit
                assert stack.pop_symbols(row[None]) == [symbol]


def test_probabilities_become_units_in_proportion_and_none_is_without():
    table = random_table(np.random.default_rng(1), 200, 256)
    units = np.diff(quantization.cumulative(table), axis=-1)
    assert units.min() >= 1
    assert (units.sum(axis=-1) == TOTAL - 2).all()
    assert np.abs(units / TOTAL - table).max() < 1e-4
    with pytest.raises(UserError, match="not finite"):
        quantization.cumulative(np.array([[0.5, np.nan]]))


def test_a_unit_of_nobody_is_corrupt():
    row = quantization.cumulative(np.array([[0.5, 0.5]]))
    for unit in (0, TOTAL - 1):
        with pytest.raises(CorruptError):
            Stack(np.array([5, 6, 77 << 24 | unit, 7], "uint32")).pop_symbols(row)


def test_uniform_symbols_cost_their_bits_exactly():
    symbols = np.random.default_rng(2).integers(1 << 16, size=1000)
    stack = Stack()
    stack.push_uniform(symbols, 1 << 16)
    assert 16000 - 16 <= stack.bits <= 16000 + 24
    np.testing.assert_array_equal(stack.pop_uniform(1000, 1 << 16), symbols)


@pytest.mark.parametrize("mean", [0.0, 0.7, -3.9, 6.0, -40.0, 1e6])
@pytest.mark.parametrize("scale", [1.0, 0.2, 1e-3, 1e-9, 30.0])
def test_pushing_buckets_back_restores_the_stack(mean, scale):
    """Bits back for nothing: with posteriors like the prior, far from it, wider, and of a single bucket."""
    stack = Stack()
    stack.ensure(50 * 24)
    stack.note_depth()
    before = stack.words().copy()
    assert stack.bits >= 50 * 24 + MARGIN_BITS
    buckets = [quantization.pop_bucket(stack, mean, scale) for _ in range(50)]
    for bucket in reversed(buckets):
        quantization.push_bucket(stack, bucket, mean, scale)
    np.testing.assert_array_equal(stack.words(), before)


def test_buckets_are_popped_with_the_probabilities_of_the_posterior():
    stack = Stack()
    stack.ensure(4000 * 24)
    values = quantization.centers()[[quantization.pop_bucket(stack, 0.8, 0.25) for _ in range(4000)]]
    assert values.mean() == pytest.approx(0.8, abs=0.02)
    assert values.std() == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("reach", [0.0, 16.0])
@pytest.mark.parametrize(("mean", "scale"), [(0.3, 16.0), (-1e7, 2.2), (12345.6, 500.0), (5.0, 1e-6)])
def test_pushing_cells_back_restores_the_stack(mean, scale, reach):
    stack = Stack()
    stack.ensure(50 * 24)
    before = stack.words().copy()
    cells = [quantization.pop_cell(stack, mean, min(scale, reach or scale), reach) for _ in range(50)]
    assert abs(np.mean(cells) - mean) <= scale + 0.5
    for cell in reversed(cells):
        quantization.push_cell(stack, cell, mean, min(scale, reach or scale), reach)
    np.testing.assert_array_equal(stack.words(), before)


def test_any_number_of_32_bits_can_be_pushed_under_a_standard_normal():
    cells = [0, 1, -1, 700, -8191, 8191, 8192, -8192, 1 << 20, -(1 << 31), (1 << 31) - 1]
    stack = Stack()
    for cell in cells:
        quantization.push_standard(stack, cell, 1024)
    assert [quantization.pop_standard(stack, 1024) for _ in cells] == cells[::-1]
    assert not stack.bits


def test_words_that_no_pop_has_needed_are_left_out_and_not_missed():
    stack = Stack()
    stack.ensure(3000)
    symbols = stack.pop_uniform(10, 1 << 16)
    stack.note_depth()
    assert stack.initial_bits <= 160 + 96
    other = Stack(stack.words())
    other.push_uniform(symbols, 1 << 16)
    assert other.bits == stack.bits - 32 * stack.untouched + 160


def test_what_was_pushed_before_comes_back_when_more_random_words_were_put_below():
    stack = Stack()
    stack.ensure(16)
    popped = stack.pop_uniform(1, 1 << 16)
    stack.note_depth()
    stack.push_uniform(np.arange(3), 1 << 16)
    stack.ensure(1000)
    later = stack.pop_uniform(60, 1 << 16)
    stack.note_depth()
    decoder = Stack(stack.words())
    decoder.push_uniform(later, 1 << 16)
    np.testing.assert_array_equal(decoder.pop_uniform(3, 1 << 16), np.arange(3))
    decoder.push_uniform(popped, 1 << 16)


def test_without_the_library_one_line_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "constriction", None)
    support.library.cache_clear()
    with pytest.raises(UserError, match=r"constriction.*\[compression\]"):
        Stack()
    support.library.cache_clear()
