"""The simple maze's encoder written out in NumPy: pictures, layers, gradients."""

import numpy as np

from tests.agent.test_losses import maze_cells, maze_picture

LAYERS = range(1, 6)  # after the first, which flattens


def maze_pictures(domain: str = "normal") -> np.ndarray:
    """The 31 pictures as rows, float64 `[31, 64]`."""
    pictures = np.array([np.ravel(maze_picture(cell)) for cell in maze_cells()])
    return {"normal": pictures, "inverse": -pictures}[domain]


def encode(parameters: dict, pictures: np.ndarray) -> np.ndarray:
    """The abstract states of pictures `[n, 64]`, float64 `[n, 2]`."""
    return _outputs(parameters, pictures)[-1]


def distance_and_gradient(
    parameters: dict, pictures: np.ndarray, wanted: np.ndarray
) -> tuple[float, dict[str, np.ndarray]]:
    """The mean of ||e(o) - y||^2 over pictures, and its derivatives by backpropagation."""
    outputs = _outputs(parameters, pictures)
    gap = outputs[-1] - wanted
    gradients = {}
    flowing = 2 * gap / len(pictures)
    for k in reversed(LAYERS):
        if k < LAYERS[-1]:
            flowing = flowing * (1 - outputs[k] ** 2)
        gradients[f"encoder.{k}.weight"] = flowing.T @ outputs[k - 1]
        gradients[f"encoder.{k}.bias"] = flowing.sum(0)
        flowing = flowing @ _array(parameters[f"encoder.{k}.weight"])
    return float((gap**2).sum(1).mean()), gradients


def _outputs(parameters: dict, pictures: np.ndarray) -> list[np.ndarray]:
    outputs = [pictures]
    for k in LAYERS:
        x = outputs[-1] @ _array(parameters[f"encoder.{k}.weight"]).T
        x = x + _array(parameters[f"encoder.{k}.bias"])
        outputs.append(np.tanh(x) if k < LAYERS[-1] else x)
    return outputs


def _array(tensor) -> np.ndarray:
    return np.asarray(tensor, np.float64)
