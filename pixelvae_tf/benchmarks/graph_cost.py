"""The cost of a traced graph: arithmetic, memory traffic, and the peak memory of its tensors.

These functions run nothing. They derive the cost from the operations and the shapes of their tensors. The shapes must
be known, so trace the graph at a fixed batch size. The functions that a graph calls count, and loops count as often as
they run; only the memory that a function or a loop holds besides its results does not.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

# Operations whose result is their input with another shape or name.
_ALIASES = {"Identity", "IdentityN", "Reshape", "Squeeze", "ExpandDims", "StopGradient"}
# Operations without memory traffic that counts: their result is already in memory, or is a shape.
_FREE = {*_ALIASES, "Const", "NoOp", "Placeholder", "ReadVariableOp", "Shape", "ShapeN"}
# What they read and write stays where it is.
_LISTS = {"TensorListReserve", "TensorListSetItem", "TensorListGetItem"}
_CALLS = {"PartitionedCall", "StatefulPartitionedCall"}
_LOOPS = {"While", "StatelessWhile"}
# The filter of a convolution, and the maps at whose positions it sums.
_CONVOLUTIONS = {
    "Conv2D": lambda op: (op.inputs[1], op.outputs[0]),
    "Conv2DBackpropInput": lambda op: (op.inputs[1], op.inputs[2]),
    "Conv2DBackpropFilter": lambda op: (op.outputs[0], op.inputs[2]),
}


class Device(NamedTuple):
    """The limits of a device from its data sheet.

    Attributes:
        name: the name to print.
        flop_per_second: peak rate of matrix products, by the type of their inputs.
        bytes_per_second: peak rate of its memory.
    """

    name: str
    flop_per_second: dict[tf.DType, float]
    bytes_per_second: float


# https://www.nvidia.com/content/dam/en-zz/Solutions/Data-Center/a100/pdf/nvidia-a100-datasheet-us-nvidia-1758950-r4-web.pdf
# TensorFlow multiplies float32 matrices as TF32 there.
A100 = Device("A100 SXM 80 GB", {tf.float32: 156e12, tf.bfloat16: 312e12}, 2.039e12)


def needed(graph: tf.Graph) -> list[tf.Operation]:
    """Returns the operations that the results and effects of a graph need, in the order of their creation.

    TensorFlow skips all others, such as gradients of the images, when it runs the function.
    """
    waiting = [*(tensor.op for tensor in graph.outputs), *graph.control_outputs]
    reached = set()
    while waiting:
        op = waiting.pop()
        if op not in reached:
            reached.add(op)
            waiting += [*(tensor.op for tensor in op.inputs), *op.control_inputs]
    return [op for op in graph.get_operations() if op in reached]


def _inner(op: tf.Operation) -> tuple[tf.Graph, int] | None:
    """Returns the graph that an operation runs and how often; None for an operation without an inner graph.

    Raises:
        ValueError: for a loop without a known number of steps.
    """
    if op.type in _CALLS:
        return _function(op, "f"), 1
    if op.type not in _LOOPS:
        return None
    steps = tf.get_static_value(op.inputs[1])
    if steps is None or steps < 0:
        raise ValueError(f"{op.name}: how often this loop runs is not known; give it maximum_iterations")
    return _function(op, "body"), int(steps)


def _function(op: tf.Operation, attribute: str) -> tf.Graph:
    # TensorFlow has no public function from a call to the called graph.
    return op.graph._get_function(op.get_attr(attribute).name).graph


def _is_compiled(op: tf.Operation) -> bool:
    return "_XlaMustCompile" in op.node_def.attr and op.get_attr("_XlaMustCompile")


def flop(graph: tf.Graph) -> int:
    """Counts the floating-point operations of all convolutions and matrix products, two per multiply-add.

    Taps on padding count, because they are multiplied too. Element-wise operations do not count.
    """
    return sum(map(_flop, needed(graph)))


def _flop(op: tf.Operation) -> int:
    if inner := _inner(op):
        function, times = inner
        return times * flop(function)
    if op.type in _CONVOLUTIONS:
        kernel, maps = _CONVOLUTIONS[op.type](op)
        batch, height, width, _ = maps.shape
        return 2 * batch * height * width * kernel.shape.num_elements()
    if op.type == "MatMul":
        summed = op.inputs[0].shape[0 if op.get_attr("transpose_a") else 1]
        return 2 * op.outputs[0].shape.num_elements() * summed
    if op.type.startswith("BatchMatMul"):
        summed = op.inputs[0].shape[-2 if op.get_attr("adj_x") else -1]
        return 2 * op.outputs[0].shape.num_elements() * summed
    return 0


def seconds(graph: tf.Graph, device: Device) -> float:
    """Returns the time of all operations in sequence, each at the device's limit of arithmetic or memory traffic.

    An operation reads its inputs and writes its outputs once. A compiled function counts as one operation. Of another
    one, and of the body of a loop, each operation counts. A device can only beat this time by fusing more operations.
    Real kernels stay below the limits and take longer.
    """
    total = 0.0
    for op in needed(graph):
        if op.type in _FREE | _LISTS:
            continue
        if not _is_compiled(op) and (inner := _inner(op)):
            function, times = inner
            total += times * seconds(function, device)
            continue
        moved = [tensor for tensor in (*op.inputs, *op.outputs) if tensor.dtype != tf.variant]
        of_memory = sum(map(_bytes, moved)) / device.bytes_per_second
        work = _flop(op)
        total += max(of_memory, work / device.flop_per_second[op.outputs[0].dtype]) if work else of_memory
    return total


def _bytes(tensor: tf.Tensor) -> int:
    if tensor.dtype == tf.resource:
        return 0
    if tensor.dtype == tf.variant:
        return _list_bytes(tensor)
    elements = tensor.shape.num_elements() if tensor.shape.rank is not None else None
    if elements is None:
        raise ValueError(f"{tensor.name}: its shape {tensor.shape} is not known; trace at a fixed batch size")
    return elements * tensor.dtype.size


def _list_bytes(tensor: tf.Tensor) -> int:
    """Returns the bytes of a list of tensors when it is full."""
    op = tensor.op
    if op.type in _CALLS:
        return _list_bytes(_owner(_function(op, "f").outputs[tensor.value_index]))
    if op.type != "TensorListReserve":
        return 0
    shape, length = map(tf.get_static_value, op.inputs)
    return int(length * np.prod(shape, dtype=np.int64) * op.get_attr("element_dtype").size)


def peak_bytes(graph: tf.Graph) -> int:
    """Returns the peak memory of the tensors if the operations run in the order of their creation.

    A tensor lives from its operation to the last operation that reads it, or to the end if it is a result. Variables
    and constants do not count.
    """
    operations = needed(graph)
    last_use = {}
    for time, op in enumerate(operations):
        for tensor in _read(op):
            last_use[_owner(tensor).ref()] = time
    for tensor in graph.outputs:
        last_use[_owner(tensor).ref()] = len(operations)
    held = peak = 0
    ending: dict[int, int] = {}
    for time, op in enumerate(operations):
        if op.type not in _FREE:
            for tensor in op.outputs:
                size = _bytes(tensor) if _owner(tensor).name == tensor.name else 0
                held += size
                end = last_use.get(tensor.ref(), time)
                ending[end] = ending.get(end, 0) + size
        peak = max(peak, held)
        held -= ending.pop(time, 0)
    return peak


def _read(op: tf.Operation) -> list[tf.Tensor]:
    """Returns the inputs that an operation reads: for a call, those that the results of the called graph need."""
    if op.type not in _CALLS:
        return list(op.inputs)
    called = _function(op, "f")
    names = {inner.name for inner in needed(called)}
    return [tensor for tensor, argument in zip(op.inputs, called.inputs, strict=True) if argument.op.name in names]


def _owner(tensor: tf.Tensor) -> tf.Tensor:
    """Returns the tensor whose memory this tensor shares."""
    while True:
        op = tensor.op
        if op.type in _ALIASES:
            tensor = op.inputs[tensor.value_index if op.type == "IdentityN" else 0]
        elif op.type in _LOOPS and tensor.dtype == tf.variant:
            # A loop passes its lists on.
            tensor = op.inputs[tensor.value_index]
        elif op.type == "TensorListSetItem":
            tensor = op.inputs[0]
        elif op.type in _CALLS and (same := _same_in_call(tensor)).name != tensor.name:
            tensor = same
        else:
            return tensor


def _same_in_call(tensor: tf.Tensor) -> tf.Tensor:
    """Returns the input, or the first result, of a call that this result of it is inside the called graph."""
    called = _function(tensor.op, "f")
    names = [_owner(result).name for result in called.outputs]
    own = names[tensor.value_index]
    arguments = [argument.name for argument in called.inputs]
    return tensor.op.inputs[arguments.index(own)] if own in arguments else tensor.op.outputs[names.index(own)]
