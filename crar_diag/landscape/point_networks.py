"""Networks of dense layers at many points at once: in NumPy, without gradients, on a CPU.

What makes it fast: NumPy's small products run half again as fast as PyTorch's and its tanh ten
times; a row of ones below the values spares adding biases, each the last column of its weights;
weights that all points share are not copied; and of points that are sums of models, the weights of
a first layer, whose input all points share, are never made.
"""

import numpy as np

from crar_diag.agent.architecture import Architecture, Dense
from crar_diag.agent.networks import Parameters
from crar_diag.landscape.points import Combination, Points, count

Array = np.ndarray

# Sums of models are made of so many points at a time, whose last bits would else depend on how many
# points there are.
_BLOCK = 16


class PointNetworks:
    """The components of agents at G points.

    Values are `[G, features + 1, n]`: n inputs in columns, below them a row of ones; or
    `[1, features + 1, n]` where they are the same at all points.

    Args:
        architecture: of dense layers.
        points: the parameters that differ between the points.
        held: all others.
    """

    def __init__(self, architecture: Architecture, points: Points, held: Parameters) -> None:
        self._architecture, self.count = architecture, count(points)
        self._held = held
        self._models: Parameters = {}
        if isinstance(points, Combination):
            self._models, self._each = points.models, points.beside
            self._dtype = next(iter(points.dtypes.values()))
            own = points.coefficients.to(self._dtype).numpy()
            blocks = -(-self.count // _BLOCK)
            self._coefficients = np.zeros((_BLOCK * blocks, own.shape[1]), own.dtype)
            self._coefficients[: self.count] = own
        else:
            self._each = points

    def run(self, component: str, x: Array, start: int = 0, shared: bool = False) -> Array:
        """Apply a component, or its dense layers from one on, to values.

        Args:
            component: which.
            x: values.
            start: the first of its dense layers to apply.
            shared: whether all points have the values x, of which there is one then.
        """
        for position, layer in self._dense(component)[start:]:
            models = self._weights_of_models(component, position) if shared else None
            if models is not None:
                products, shared = self._combined(np.matmul(models, x)), False
                x = _room(products.shape, x.dtype)
            else:
                weight, inputs = self._weight(component, position), x
                shared = shared and len(weight) == 1
                shape = (max(len(weight), len(x)), weight.shape[1], x.shape[2])
                x = _room(shape, x.dtype)
                products = np.matmul(weight, inputs, out=x[:, :-1])
            _activate(layer, products, x)
        return x

    def run_on_pairs(self, component: str, x: Array) -> Array:
        """Apply a component to all pairs of n states and an action.

        Args:
            component: whose input is the state and the action's one-hot code.
            x: values, the states.

        Returns:
            Values of all pairs by action and then by state, `n x actions` columns.
        """
        position, layer = self._dense(component)[0]
        size = x.shape[1] - 1
        weight = self._weight(component, position)
        of_state = np.matmul(np.ascontiguousarray(weight[..., :size]), x[:, :size])
        of_action = weight[..., size:-1] + weight[..., -1:]
        actions = of_action.shape[2]
        pairs = _room((*of_state.shape[:2], actions * x.shape[2]), x.dtype)
        both = pairs[:, :-1].reshape(*of_state.shape[:2], actions, -1)  # in the same memory
        np.add(of_state[:, :, None], of_action[..., None], out=both)
        _activate(layer, pairs[:, :-1], pairs)
        return self.run(component, pairs, 1)

    def _dense(self, component: str) -> list[tuple[int, Dense]]:
        layers = enumerate(self._architecture.layers(component))
        return [(position, layer) for position, layer in layers if isinstance(layer, Dense)]

    def _weight(self, component: str, position: int) -> Array:
        """Return a layer's weights, biases in the last column: `[G or 1, outputs, inputs + 1]`."""
        models = self._weights_of_models(component, position)
        if models is not None:
            return self._combined(models)
        return _joined(*(self._parameter(name) for name in _names(component, position)))

    def _weights_of_models(self, component: str, position: int) -> Array | None:
        """Return the same of the models that are added up; None where it is not made of these."""
        names = _names(component, position)
        if any(name not in self._models for name in names):
            return None
        return _joined(*(self._models[name].to(self._dtype).numpy() for name in names))

    def _parameter(self, name: str) -> Array:
        if name in self._models:
            return self._combined(self._models[name].to(self._dtype).numpy())
        found: Array
        if name in self._each:
            found = self._each[name].detach().numpy()
        else:
            found = self._held[name].detach().numpy()[None]
        return found

    def _combined(self, models: Array) -> Array:
        flat = models.reshape(len(models), -1)
        blocks = np.matmul(self._coefficients.reshape(-1, _BLOCK, len(flat)), flat)
        return blocks.reshape(-1, *models.shape[1:])[: self.count]


def with_ones(x: Array) -> Array:
    """Return `[..., features, n]` with a row of ones below."""
    return np.concatenate([x, np.ones((*x.shape[:-2], 1, x.shape[-1]), x.dtype)], axis=-2)


def _names(component: str, position: int) -> tuple[str, str]:
    return f"{component}.{position}.weight", f"{component}.{position}.bias"


def _joined(weight: Array, bias: Array) -> Array:
    """Return `[G, outputs, inputs + 1]` of `[G, outputs, inputs]` and `[G, outputs]`, or of 1."""
    count = max(len(weight), len(bias))
    found = np.empty((count, weight.shape[1], weight.shape[2] + 1), weight.dtype)
    found[..., :-1], found[..., -1] = weight, bias
    return found


def _room(shape: tuple[int, ...], dtype: np.dtype) -> Array:
    """Return memory for values `[G, features, n]`, with the row of ones below."""
    found = np.empty((shape[0], shape[1] + 1, shape[2]), dtype)
    found[:, -1] = 1
    return found


def _activate(layer: Dense, products: Array, x: Array) -> None:
    """Write the values of a layer's products, which may lie there already."""
    if layer.tanh:
        np.tanh(products, out=x[:, :-1])
    else:
        x[:, :-1] = products
