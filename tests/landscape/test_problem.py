"""Losses of many points against NumPy, point by point; what moves and what is re-fitted."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from crar_diag.errors import InputError
from crar_diag.landscape.problem import SUM, Problem, evaluate, matching, means, pieces
from tests.landscape import toys

MODELS = [toys.model(seed) for seed in range(7)]
POINTS = toys.population([toys.hidden(m) for m in MODELS])
HELD = toys.readout(MODELS[0])


def expected(point: int) -> dict[str, float]:
    return toys.losses_by_hand(toys.hidden(MODELS[point]) | HELD)


# Values


@pytest.mark.parametrize("features", [False, True])
@pytest.mark.parametrize("looped", [False, True])
@pytest.mark.parametrize("at_once", [1, 3, 64])
def test_losses_at_many_points_are_those_of_each(features, looped, at_once):
    found = evaluate(toys.problem(features, looped=looped), POINTS, HELD, at_once)
    assert list(found.losses) == ["fit", "ridge", "size", SUM]
    assert found.errors == {}
    for name, values in found.losses.items():
        assert values.shape == (7,)
        by_hand = [expected(k)[name] for k in range(7)]
        np.testing.assert_allclose(values.numpy(), by_hand, rtol=1e-13)


def test_points_one_at_a_time_have_the_same_bits_whatever_stands_beside_them():
    problem = toys.problem(dtype=torch.float32)
    points = {name: p.float() for name, p in POINTS.items()}
    held = {name: p.float() for name, p in HELD.items()}
    together = evaluate(problem, points, held, at_once=1)
    for k in range(7):
        alone = evaluate(problem, {n: p[k : k + 1] for n, p in points.items()}, held, at_once=1)
        for name, values in together.losses.items():
            assert values[k] == alone.losses[name][0]


def test_points_prevail_over_what_is_held():
    others = {name: torch.full_like(p[0], math.nan) for name, p in POINTS.items()}
    found = evaluate(toys.problem(), POINTS, HELD | others)
    assert found.losses[SUM][3] == pytest.approx(expected(3)[SUM], rel=1e-13)


def test_the_losses_of_one_model_have_gradients_and_those_of_points_none():
    problem = toys.problem()
    model = {name: p.clone().requires_grad_() for name, p in MODELS[0].items()}
    total = problem.total(problem.values(model))
    (gradient,) = torch.autograd.grad(total, model["readout.weight"])
    x, y = toys.units_by_hand(MODELS[0]), toys.data()[1].numpy()
    w = MODELS[0]["readout.weight"].numpy()
    by_hand = 2 * x.T @ (x @ w - y) / len(y) + 2 * toys.RIDGE * w
    np.testing.assert_allclose(gradient.numpy(), by_hand, rtol=1e-12)
    points = {name: p.clone().requires_grad_() for name, p in POINTS.items()}
    found = evaluate(problem, points, model)
    assert not any(values.requires_grad for values in found.losses.values())
    assert all(p.grad is None for p in [*points.values(), *model.values()])


@pytest.mark.parametrize("looped", [False, True])
def test_evaluating_changes_no_tensor_of_the_caller(looped):
    problem = toys.problem(looped=looped)
    before = [p.clone() for p in [*POINTS.values(), *HELD.values(), *problem.batch]]
    evaluate(problem, POINTS, HELD, at_once=2)
    after = [*POINTS.values(), *HELD.values(), *problem.batch]
    assert all(map(torch.equal, before, after))


def test_constants_are_what_the_parameters_give_at_first():
    def losses(parameters, batch):
        target = parameters["target"] if "target" in parameters else 2 * parameters["w"].detach()
        return {"gap": ((parameters["w"] - target) ** 2).sum()}

    def constants(parameters, batch):
        return {"target": 2 * parameters["w"].detach()}

    problem = Problem(losses, None, constants=constants)
    start, later = {"w": torch.tensor([1.0, 2.0])}, {"w": torch.tensor([4.0, 4.0])}
    held = problem.anchored(start)
    assert held["target"].tolist() == [2.0, 4.0]
    assert problem.values(start)["gap"] == problem.values(start | held)["gap"] == 5.0
    assert problem.values(later | held)["gap"] == 4.0  # (4 - 2)^2 + (4 - 4)^2
    assert Problem(losses, None).anchored(start) == {}


def test_parameters_are_brought_to_where_the_batch_lies():
    # A device without numbers stands for an accelerator.
    batch = tuple(x.to("meta") for x in toys.data())
    for looped in (False, True):
        problem = replace(toys.problem(looped=looped), batch=batch, device="meta")
        found = evaluate(problem, POINTS, HELD)
        assert found.losses[SUM].device.type == "meta"
        assert found.losses[SUM].shape == (7,)
        assert problem.values(MODELS[0])["fit"].device.type == "meta"


# Terms and their errors


def with_terms(clusters=None, **changes) -> Problem:
    def losses(parameters, batch):
        gap = batch[0] @ parameters["w"] - batch[1]
        return {"square": gap * gap, "absolute": gap.abs(), "size": (parameters["w"] ** 2).sum()}

    settings = {"weights": {"absolute": 3.0, "size": 10.0}, "clusters": clusters} | changes
    return Problem(losses, toys.data(), **settings)


def error_by_hand(terms: np.ndarray, clusters: np.ndarray) -> float:
    mean, count = terms.mean(), len(set(clusters.tolist()))
    sums = [sum(t - mean for t, c in zip(terms, clusters, strict=True) if c == k) for k in clusters]
    unique = dict(zip(clusters.tolist(), sums, strict=True)).values()
    return math.sqrt(count / (count - 1) * sum(s * s for s in unique)) / len(terms)


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("looped", [False, True])
def test_losses_with_terms_are_means_with_standard_errors(clustered, looped):
    clusters = np.array([0, 1, 2, 3, 0, 1, 2, 3, 0, 0, 1, 1]) if clustered else np.arange(12)
    given = torch.from_numpy(clusters) if clustered else None
    problem = with_terms(given, looped=looped)
    ws = np.random.default_rng(5).normal(size=(4, 3))
    found = evaluate(problem, {"w": torch.from_numpy(ws)}, {})
    assert list(found.losses) == ["square", "absolute", "size", SUM]
    assert list(found.errors) == ["square", "absolute", SUM]
    x, y = (part.numpy() for part in toys.data())
    for k, w in enumerate(ws):
        gap = x @ w - y
        terms = {"square": gap**2, "absolute": abs(gap), SUM: gap**2 + 3 * abs(gap)}
        for name, own in terms.items():
            offset = 10 * w @ w if name == SUM else 0.0
            assert found.losses[name][k] == pytest.approx(own.mean() + offset, rel=1e-12)
            assert found.errors[name][k] == pytest.approx(error_by_hand(own, clusters), rel=1e-12)


def test_means_of_terms_are_in_double_precision():
    terms = torch.tensor([1e8, 1.0, 1.0, 1.0])
    found = means({"terms": terms, "scalar": torch.tensor(2.0)})
    assert found["terms"].item() == 100000003 / 4
    assert found["scalar"].dtype == torch.float32


# Names


def test_names_are_matched_as_file_names_are():
    names = dict.fromkeys(["encoder.0.weight", "encoder.1.bias", "q.0.weight", "Q"], torch.ones(1))
    assert list(matching(names, ["encoder.*"])) == ["encoder.0.weight", "encoder.1.bias"]
    assert list(matching(names, ["q*", "*.bias"])) == ["encoder.1.bias", "q.0.weight"]
    assert list(matching(names, ["*.[01].weight"])) == ["encoder.0.weight", "q.0.weight"]
    assert matching(names, []) == {}


def test_what_moves_and_what_is_re_fitted_are_named():
    problem = toys.problem()
    assert list(problem.moving(MODELS[0])) == ["hidden.weight", "hidden.bias"]
    assert list(problem.refitted(MODELS[0])) == ["readout.weight"]
    for moves in (("encoder.*",), ("hidden.*", "encoder.*")):
        with pytest.raises(InputError, match=r"no parameter that moves is called 'encoder\.\*': t"):
            replace(problem, moves=moves).moving(MODELS[0])
    with pytest.raises(InputError, match=r"no parameter to re-fit is called 'q\.\*': the names ar"):
        replace(problem, refits=("readout.*", "q.*")).refitted(MODELS[0])
    with pytest.raises(InputError, match="names of the parameters to re-fit, found none"):
        replace(problem, refits=()).refitted(MODELS[0])


def test_a_parameter_cannot_both_move_and_be_re_fitted():
    problem = toys.problem(refits=("*.bias", "readout.*"))
    with pytest.raises(InputError, match=r"^parameter 'hidden\.bias' both moves and is re-fitted$"):
        problem.refitted(MODELS[0])


# The sum


def test_the_sum_is_weighted_by_name():
    values = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([10.0, 20.0])}
    problem = Problem(lambda p, b: values, None, weights={"b": 0.5})
    assert problem.total(values).tolist() == [6.0, 12.0]
    assert replace(problem, weights={"a": 0.0, "b": -1.0}).total(values).tolist() == [-10.0, -20.0]


@pytest.mark.parametrize("weights", [{"c": 1.0}, {"a": math.nan}, {"b": math.inf}])
def test_a_weight_that_means_nothing_is_refused(weights):
    problem = toys.problem(
        weights={"fit" if name == "a" else name: w for name, w in weights.items()}
    )
    with pytest.raises(InputError, match="finite weight of one of the losses fit, ridge, size, f"):
        evaluate(problem, POINTS, HELD)


def test_no_loss_can_be_called_sum():
    problem = Problem(lambda p, b: {"sum": p["w"].sum()}, None)
    with pytest.raises(InputError, match="no loss can be called 'sum'"):
        evaluate(problem, {"w": torch.ones(2, 3)}, {})


def test_pieces_are_all_points_in_order():
    found = list(pieces({"w": torch.arange(7.0)}, 3))
    assert [part["w"].tolist() for part in found] == [[0, 1, 2], [3, 4, 5], [6]]
