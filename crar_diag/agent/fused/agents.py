"""What the update asks of an agent, whichever kind: chosen by its layout when it is compiled."""

from collections.abc import Callable
from typing import Any

from numba.extending import overload

from crar_diag.agent.fused import image, vector
from crar_diag.agent.fused.compiling import BORROWING, OPTIONS

_KINDS = {vector.VectorLayout: vector, image.ImageLayout: image}


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
    to_weights: bool,
    to_states: bool,
    work: Any,
) -> None:
    """Take `work.dout` back through the head that ran last.

    Fills the head's part of the gradient if `to_weights`; adds to `work.dx` if `to_states`.
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


def _choose(name: str) -> Callable[..., Any]:
    def choose(*arguments: Any) -> Callable[..., Any]:
        """Return the function of that name for the kind of agent that the layout tells of."""
        classes = [getattr(argument, "instance_class", None) for argument in arguments]
        kind = next(_KINDS[found] for found in classes if found in _KINDS)
        found: Callable[..., Any] = getattr(kind, name).py_func
        return found

    return choose


for _stub in (
    workspace,
    encode,
    encoder_gradient,
    run_head,
    head_gradient,
    refresh_target,
    next_values_known,
    square_norms,
    sum_tied,
    descend,
):
    # Not strict: one chooser takes the arguments of all of them.
    _options = OPTIONS if _stub in (workspace, sum_tied) else BORROWING
    overload(_stub, strict=False, jit_options=_options)(_choose(_stub.__name__))
