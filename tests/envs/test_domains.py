import numpy as np
import pytest
import torch

from crar_diag.envs import domains
from crar_diag.envs.data import exact_transitions, gather
from crar_diag.envs.domains import Domain, domain_names, get_domain, register_domain
from crar_diag.envs.noise import LARGEST_NOISE, counter_words, picture_noise, splitmix64
from crar_diag.envs.observer import Observer
from crar_diag.envs.rendering import sprite_table
from crar_diag.envs.simple_maze import all_tiles
from crar_diag.envs.tiles import EMPTY, KEY, PATH, PLAYER, WALL
from crar_diag.errors import InputError

VIEWS = [(e, o) for e in ("simple-maze", "labyrinth") for o in ("symbolic", "pixels")]
NAMES = ("normal", "inverse", "swapped", "permuted", "rotated", "noise")


@pytest.fixture(scope="module")
def tiles():
    """Some states of each environment, all distinct."""
    drawn = gather("labyrinth", 400, np.random.default_rng(0)).distinct()[0]
    return {"simple-maze": all_tiles(), "labyrinth": drawn}


def test_the_registry_holds_the_six_domains():
    assert domain_names()[:6] == NAMES
    assert [get_domain(name).tilewise for name in NAMES] == [True, True, True, False, False, False]


@pytest.mark.parametrize(("environment", "observation"), VIEWS)
@pytest.mark.parametrize("name", NAMES)
def test_torch_equals_numpy_bit_by_bit(environment, observation, name, tiles):
    observer = Observer(environment, observation, name)
    expected = observer(tiles[environment])
    tensor = observer(torch.from_numpy(tiles[environment]))
    assert expected.dtype == np.float32
    assert tensor.dtype == torch.float32
    assert tensor.numpy().tobytes() == expected.tobytes()


@pytest.mark.parametrize(("environment", "observation"), VIEWS)
@pytest.mark.parametrize("name", NAMES)
def test_a_state_looks_the_same_in_any_batch(environment, observation, name, tiles):
    observer = Observer(environment, observation, name)
    many = tiles[environment][:6]
    together = observer(many)
    assert np.array_equal(observer(many.reshape(2, 3, 8, 8)).reshape(together.shape), together)
    assert np.array_equal(observer(many[4]), together[4])


@pytest.mark.parametrize(("environment", "observation"), VIEWS)
@pytest.mark.parametrize("name", NAMES)
def test_distinct_states_stay_distinct_and_within_bounds(environment, observation, name, tiles):
    observer = Observer(environment, observation, name)
    seen = observer(tiles[environment])
    assert len({one.tobytes() for one in seen}) == len(seen)
    low, high = observer.bounds
    assert low <= seen.min() <= seen.max() <= high


@pytest.mark.parametrize(("environment", "observation"), VIEWS)
def test_inverse_negates_and_is_its_own_inverse(environment, observation, tiles):
    normal = Observer(environment, observation)(tiles[environment])
    inverse = Observer(environment, observation, "inverse")(tiles[environment])
    domain = get_domain("inverse")
    assert np.array_equal(inverse, -normal)
    assert not np.signbit(inverse[inverse == 0]).any()
    assert domain(normal).tobytes() == inverse.tobytes()
    assert domain(domain(normal)).tobytes() == normal.tobytes()


@pytest.mark.parametrize(("environment", "observation"), VIEWS)
def test_swapped_exchanges_sprites(environment, observation):
    normal = sprite_table(environment, observation)
    swapped = Observer(environment, observation, "swapped").table
    assert np.array_equal(swapped[PATH], normal[WALL])
    assert np.array_equal(swapped[WALL], normal[PATH])
    player = KEY if environment == "labyrinth" else PLAYER
    assert np.array_equal(swapped[PLAYER], normal[player])
    if environment == "labyrinth":
        assert np.array_equal(swapped[KEY], normal[PLAYER])
    assert np.array_equal(get_domain("swapped")(swapped), normal)


@pytest.mark.parametrize("edge", [8, 48])
def test_permuted_is_one_bijection_of_pixels(edge):
    numbered = np.arange(edge * edge, dtype=np.float32).reshape(1, edge, edge)
    shuffled = get_domain("permuted")(numbered)
    assert sorted(shuffled.ravel().tolist()) == numbered.ravel().tolist()
    moved = (shuffled != numbered).mean()
    assert moved > 0.9
    again = get_domain("permuted")(np.stack([numbered, numbered + 7]))
    assert np.array_equal(again[1], shuffled + 7)


def test_rotated_turns_against_the_clock():
    seen = Observer("simple-maze", "symbolic", "rotated")(all_tiles())
    normal = Observer("simple-maze", "symbolic")(all_tiles())
    for row in range(8):
        for column in range(8):
            assert np.array_equal(seen[:, 0, 7 - column, row], normal[:, 0, row, column])
    turned = normal
    for _ in range(4):
        turned = get_domain("rotated")(turned)
    assert np.array_equal(turned, normal)


def test_splitmix64_equals_the_published_outputs():
    """The first outputs from seeds 0 and 1234567, as reference implementations print them."""
    from_zero = counter_words(0, 3).view(np.uint64).tolist()
    assert from_zero == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    from_seed = counter_words(1234567, 3).view(np.uint64).tolist()
    assert from_seed == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_splitmix64_equals_arbitrary_precision_integers():
    def twin(state):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) % 2**64
        return state ^ (state >> 31)

    states = counter_words(3, 200)
    expected = [twin(int(state)) for state in states.view(np.uint64)]
    assert splitmix64(states).view(np.uint64).tolist() == expected
    assert splitmix64(torch.from_numpy(states)).numpy().view(np.uint64).tolist() == expected


def test_noise_is_standard_normal_and_independent_between_pictures():
    pictures = np.random.default_rng(0).random((400, 1, 48, 48), dtype=np.float32)
    noise = picture_noise(pictures).astype(np.float64).reshape(400, -1)
    # 921,600 numbers: five standard errors of mean, variance and fourth moment.
    size = noise.size
    assert abs(noise.mean()) < 5 / size**0.5
    assert abs(noise.var() - 1) < 5 * (2 / size) ** 0.5
    assert abs((noise**4).mean() - 3) < 5 * (96 / size) ** 0.5
    assert np.abs(noise).max() <= LARGEST_NOISE
    between = np.corrcoef(noise) - np.eye(400)
    assert np.abs(between).max() < 6 / 48
    neighbours = (noise[:, 1:] * noise[:, :-1]).mean()
    assert abs(neighbours) < 5 / size**0.5


def test_noise_depends_on_every_pixel_but_not_on_the_sign_of_zero():
    blank = np.zeros((1, 8, 8), dtype=np.float32)
    changed = np.repeat(blank[None], 64, axis=0)
    changed.reshape(64, 64)[np.arange(64), np.arange(64)] = 0.5
    patterns = {one.tobytes() for one in picture_noise(np.concatenate([changed, blank[None]]))}
    assert len(patterns) == 65
    assert np.array_equal(picture_noise(-blank), picture_noise(blank))


def test_noise_has_standard_deviation_a_tenth():
    normal = Observer("simple-maze", "symbolic")(all_tiles())
    noisy = Observer("simple-maze", "symbolic", "noise")(all_tiles())
    difference = (noisy - normal).astype(np.float64)
    assert abs(difference.std() - 0.1) < 5 * 0.1 / (2 * difference.size) ** 0.5


def test_exact_transitions_keep_31_observations_under_noise():
    data = exact_transitions()
    seen = Observer("simple-maze", "symbolic", "noise")(
        np.concatenate([data.tiles, data.next_tiles])
    )
    assert len({one.tobytes() for one in seen}) == 31


@pytest.mark.parametrize(("environment", "observation"), VIEWS)
@pytest.mark.parametrize("name", NAMES)
def test_a_missing_picture_is_zero_in_every_domain(environment, observation, name):
    missing = np.full((2, 8, 8), EMPTY, dtype=np.uint8)
    assert not Observer(environment, observation, name)(missing).any()


@pytest.fixture
def _own_registry(monkeypatch):
    monkeypatch.setattr(domains, "_DOMAINS", dict(domains._DOMAINS))


@pytest.mark.usefixtures("_own_registry")
def test_a_registered_domain_is_known_by_its_name():
    register_domain(Domain("bright", "one tenth lighter", lambda o: o + 0.125, tilewise=True))
    register_domain(
        Domain("shifted", "one row down", lambda o: o[..., [7, 0, 1, 2, 3, 4, 5, 6], :])
    )
    normal = Observer("simple-maze", "symbolic")(all_tiles())
    assert np.array_equal(
        Observer("simple-maze", "symbolic", "bright")(all_tiles()), normal + 0.125
    )
    shifted = Observer("simple-maze", "symbolic", "shifted")(torch.from_numpy(all_tiles()))
    assert np.array_equal(shifted.numpy(), np.roll(normal, 1, axis=-2))
    missing = np.full((8, 8), EMPTY, dtype=np.uint8)
    assert not Observer("simple-maze", "symbolic", "bright")(missing).any()
    with pytest.raises(InputError, match="found 'bright', which exists"):
        register_domain(Domain("bright", "", lambda o: o))


@pytest.mark.usefixtures("_own_registry")
def test_a_domain_that_changes_the_shape_is_refused():
    register_domain(Domain("cropped", "", lambda o: o[..., 1:, :]))
    register_domain(Domain("double", "", lambda o: o.astype(np.float64), tilewise=True))
    with pytest.raises(InputError, match=r"'cropped' to return float32 \(1, 8, 8\), found"):
        Observer("simple-maze", "symbolic", "cropped")
    with pytest.raises(InputError, match="found float64"):
        Observer("simple-maze", "symbolic", "double")


def test_unknown_and_nameless_domains_are_named():
    with pytest.raises(InputError, match=r"unknown domain 'invers' \(did you mean 'inverse'\?\)"):
        get_domain("invers")
    with pytest.raises(InputError, match="found an empty one"):
        register_domain(Domain("", "", lambda o: o))
