"""What the update asks of an agent, whichever kind: chosen by its layout when it is compiled."""

from collections.abc import Callable
from typing import Any

from numba.core import types
from numba.extending import overload

from crar_diag.agent.fused import image, vector
from crar_diag.agent.fused.compiling import OPTIONS

_KINDS = {vector.VectorLayout: vector, image.ImageLayout: image}


def _chosen(name: str, layout: types.NamedTuple) -> Callable[..., Any]:
    found: Callable[..., Any] = getattr(_KINDS[layout.instance_class], name).py_func
    return found


def workspace(layout: Any, theta: Any, table: Any, size: int) -> Any:
    """Return scratch memory for batches of `size` transitions."""


def encode(theta: Any, layout: Any, table: Any, picks: Any, n: int, work: Any) -> None:
    """Fill `work.x`, `[d, n]` flat, with the states of the pictures `picks[:n]`."""


def encoder_gradient(
    theta: Any, layout: Any, table: Any, n: int, dx: Any, sparse: bool, work: Any
) -> None:
    """Fill the encoder's part of the gradient from the derivative by the states last encoded.

    sparse: few columns of `dx` are not zero.
    """


def run_head(
    theta: Any, layout: Any, head: int, n: int, columns: Any, actions: Any, work: Any
) -> None:
    """Fill `work.out`, `[outputs, batch]` flat, from `columns` of the states in `work.x`."""


def head_gradient(
    theta: Any,
    layout: Any,
    head: int,
    n: int,
    columns: Any,
    actions: Any,
    to_states: bool,
    work: Any,
) -> None:
    """Take `work.dout` back through the head that ran last, to its part of the gradient.

    If `to_states`, the derivative by the states is added to `work.dx`.
    """


def refresh_target(target: Any, layout: Any, table: Any, work: Any) -> None:
    """Note what follows from the target network alone, which has changed."""


def next_values_known(second: Any, work: Any, layout: Any) -> bool:
    """Fill `work.next_q`, `[4, batch]`, with the target's Q values of the pictures `second`.

    Returns False where they are not known and the target network must run.
    """
    raise NotImplementedError


def square_norms(layout: Any, component: int, grad: Any, squares: Any) -> None:
    """Fill `squares` with the squared norm of each tensor of a component's gradient."""


def sum_tied(theta: Any, layout: Any) -> None:
    """Bring weights that are sums of others up to date."""


def descend(
    theta: Any,
    layout: Any,
    component: int,
    grad: Any,
    v: Any,
    squares: Any,
    norm: Any,
    rate: Any,
    hyper: Any,
) -> None:
    """Take an RMSprop step on a component's parameters; see `arithmetic.rmsprop`."""


@overload(workspace, jit_options=OPTIONS)
def _workspace(layout: Any, theta: Any, table: Any, size: int) -> Any:
    return _chosen("workspace", layout)


@overload(encode, jit_options=OPTIONS)
def _encode(theta: Any, layout: Any, table: Any, picks: Any, n: int, work: Any) -> Any:
    return _chosen("encode", layout)


@overload(encoder_gradient, jit_options=OPTIONS)
def _encoder_gradient(
    theta: Any, layout: Any, table: Any, n: int, dx: Any, sparse: bool, work: Any
) -> Any:
    return _chosen("encoder_gradient", layout)


@overload(run_head, jit_options=OPTIONS)
def _run_head(
    theta: Any, layout: Any, head: int, n: int, columns: Any, actions: Any, work: Any
) -> Any:
    return _chosen("run_head", layout)


@overload(head_gradient, jit_options=OPTIONS)
def _head_gradient(
    theta: Any,
    layout: Any,
    head: int,
    n: int,
    columns: Any,
    actions: Any,
    to_states: bool,
    work: Any,
) -> Any:
    return _chosen("head_gradient", layout)


@overload(refresh_target, jit_options=OPTIONS)
def _refresh_target(target: Any, layout: Any, table: Any, work: Any) -> Any:
    return _chosen("refresh_target", layout)


@overload(next_values_known, jit_options=OPTIONS)
def _next_values_known(second: Any, work: Any, layout: Any) -> Any:
    return _chosen("next_values_known", layout)


@overload(square_norms, jit_options=OPTIONS)
def _square_norms(layout: Any, component: int, grad: Any, squares: Any) -> Any:
    return _chosen("square_norms", layout)


@overload(sum_tied, jit_options=OPTIONS)
def _sum_tied(theta: Any, layout: Any) -> Any:
    return _chosen("sum_tied", layout)


@overload(descend, jit_options=OPTIONS)
def _descend(
    theta: Any,
    layout: Any,
    component: int,
    grad: Any,
    v: Any,
    squares: Any,
    norm: Any,
    rate: Any,
    hyper: Any,
) -> Any:
    return _chosen("descend", layout)
