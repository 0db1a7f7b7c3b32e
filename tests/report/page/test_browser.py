"""The page in a real browser: what is drawn, moved and chosen, and that nothing else happens."""

import time

import numpy as np
import pytest

from crar_diag.agent.history import labelled
from crar_diag.report.page.assembly import write_page
from crar_diag.report.plane_scale import scale_of
from crar_diag.report.planes import Trajectory
from tests.report.figures import by_hand
from tests.report.page import hand
from tests.report.page.browser import Page, browser, needs_browser
from tests.report.surfaces import ALPHAS, plane

pytestmark = needs_browser

_STEPS = np.array([0.0, 0.5, 1.0])
WALK = Trajectory(
    x=_STEPS,
    y=np.zeros(3),
    distance=np.array([0.2, 0.1, 0.0]),
    updates=np.array([0, 10, 20]),
    losses=dict.fromkeys(("transition", "volume", "sum"), 1 + _STEPS),
)


@pytest.fixture(scope="module")
def page(page_path, tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as found:
        found.open(page_path)
        yield found


def points(page: Page, plot: str, axis: str | None = None) -> np.ndarray:
    """The states that a plot shows, in the order of their numbers, `[31, 2]`."""
    found = {}
    for trace in page.traces(plot):
        if trace["mode"] == "markers" and (axis is None or trace["xaxis"] == axis):
            for number, x, y in zip(trace["customdata"], trace["x"], trace["y"], strict=True):
                found[number] = (x, y)
    return np.array([found[k] for k in range(len(found))])


def choose(page: Page, select: str, value: object) -> None:
    page.run(
        "const e = document.getElementById(arguments[0]); e.value = String(arguments[1]);"
        "e.dispatchEvent(new Event('change'))",
        select,
        value,
    )


def test_every_plot_is_drawn_without_an_error(page):
    for plot in ("line-losses", "line-embedding", "outcomes-plot", "outcomes-embedding"):
        marks = f"return document.querySelectorAll('#{plot} svg .scatterlayer .trace path').length"
        assert page.run(marks) > 0, plot
    # Two scenes, and pixels in them that are not the background's.
    drawn = page.run("""
        return [...document.querySelectorAll('#surfaces-plot canvas')].map((canvas) => {
          const gl = canvas.getContext('webgl2') || canvas.getContext('webgl');
          return gl ? gl.drawingBufferWidth * gl.drawingBufferHeight : 0;
        })""")
    assert sum(size > 10_000 for size in drawn) == 2
    assert page.errors() == []


def test_both_surfaces_have_the_reports_values_and_one_scale(page):
    dataset = hand.groups()["plane/a-to-b-random-plane"]
    found = [one for one in page.traces("surfaces-plot") if one["type"] == "surface"]
    assert [one["name"] for one in found] == ["frozen", "unfrozen"]
    shown = [dataset[name].sel(loss="sum").values for name in ("frozen", "unfrozen")]
    scale = scale_of(shown)
    low, high = scale.norm.vmin, scale.norm.vmax
    of = np.log10 if scale.logarithmic else np.asarray
    axis = page.run("return document.getElementById('surfaces-plot').layout.coloraxis")
    np.testing.assert_allclose([axis["cmin"], axis["cmax"]], of([low, high]), rtol=1e-5)
    for one, values in zip(found, shown, strict=True):
        heights = of(np.maximum(values, low)) if scale.logarithmic else values
        np.testing.assert_allclose(np.array(one["z"], float), heights.T, rtol=1e-4, atol=1e-6)


def test_another_loss_draws_other_surfaces(page):
    before = page.traces("surfaces-plot")[0]["z"]
    choose(page, "surfaces-loss", 1)
    page.until(
        "return document.getElementById('surfaces-plot').layout.coloraxis.colorbar.title.text"
        " !== 'weighted sum'"
    )
    assert page.traces("surfaces-plot")[0]["z"] != before
    choose(page, "surfaces-loss", 0)


def test_the_slider_moves_the_embedding(page):
    line = hand.moving_line()
    slide = (
        "const e = document.getElementById('line-slider'); e.value = arguments[0];"
        "e.dispatchEvent(new Event('input'))"
    )
    for k in (0, 3, 5):
        page.run(slide, k)
        page.until(
            "return document.getElementById('line-position').textContent"
            f".startsWith('at {ALPHAS[k]:.3f}')"
        )
        np.testing.assert_allclose(
            points(page, "line-embedding"), line.embedding.values[k], rtol=1e-5, atol=1e-6
        )
        (up,) = [one for one in page.traces("line-embedding") if one["name"] == "up"]
        np.testing.assert_allclose(up["y"][1::3], line.prediction.values[k, :, 0, 1], rtol=1e-5)
    assert page.errors() == []


def test_a_line_of_an_older_report_says_what_it_needs(page):
    choose(page, "line-choice", 1)
    note = page.until("return document.getElementById('line-note').textContent")
    assert "crar-diag landscape CKPT_A CKPT_B --mode line" in note
    assert page.run("return document.getElementById('line-embedding').style.display") == "none"
    assert page.traces("line-losses")
    choose(page, "line-choice", 0)
    page.until("return document.getElementById('line-note').textContent === ''")


@pytest.mark.parametrize("row", [2, 1])
def test_a_click_on_an_outcome_shows_that_runs_embedding(page, row):
    name = hand.NAMES[row]
    page.run("document.getElementById('outcomes').scrollIntoView({behavior: 'instant'})")
    # Where the point is on the screen, by plotly's own scale of axes.
    x, y = page.run(
        """
        const plot = document.getElementById('outcomes-plot');
        const {xaxis, yaxis} = plot._fullLayout, box = plot.getBoundingClientRect();
        const trace = plot.data.find((one) => (one.customdata || []).includes(arguments[0]));
        const k = trace.customdata.indexOf(arguments[0]);
        return [box.left + xaxis._offset + xaxis.d2p(trace.x[k]),
                box.top + yaxis._offset + yaxis.d2p(trace.y[k])];
        """,
        row,
    )
    # Two clicks within this time are a double click, which puts the axes back.
    delay = page.run("return document.getElementById('outcomes-plot')._context.doubleClickDelay")
    time.sleep(1.1e-3 * delay)
    mouse = {"x": x, "y": y, "button": "left", "clickCount": 1}
    for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
        page.driver.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": kind, **mouse})
    page.until(f"return document.getElementById('outcomes-name').textContent === '{name}'")
    states = hand.moved_states()
    own = states.embedding.sel(member=name).isel(time=-1).values
    np.testing.assert_allclose(points(page, "outcomes-embedding", "x"), own, rtol=1e-5)
    base = states.base_embedding.sel(base_model=str(states.base.sel(member=name).values)).values
    np.testing.assert_allclose(points(page, "outcomes-embedding", "x2"), base, rtol=1e-5)
    words = page.run("return document.getElementById('outcomes-words').textContent")
    kind = str(hand.outcome().kind.values[row])
    assert words.startswith(f"{kind}no success")
    assert f"{hand.outcome().distance.values[row]:.3g}" in words
    assert page.errors() == []


def test_names_that_are_markup_are_shown_as_text(page):
    choose(page, "outcomes-transfer", 0)
    page.until("return document.getElementById('outcomes-name').textContent.startsWith('</scr')")
    assert page.run("return document.getElementById('outcomes-name').textContent") == hand.HOSTILE
    about = page.run("return document.getElementById('line-about').textContent")
    assert about == f"A: {hand.HOSTILE_FILE} · domain: inverse"
    assert page.run("return document.images.length") == 0
    assert page.run("return document.title") == "a & <b>.h5"
    assert page.run("return [...document.scripts].length") == 3
    cells = page.run("return [...document.querySelectorAll('td')].map((one) => one.textContent)")
    assert hand.HOSTILE in cells
    assert page.errors() == []


def test_nothing_but_the_page_itself_is_asked_for(page, page_path):
    assert page.requested() == {page_path.as_uri()}


def test_it_fits_a_phone_and_an_older_report(tmp_path):
    old = {"outcome": hand.outcome(linked=False)}
    path = tmp_path / "old.html"
    write_page(hand.report(tmp_path / "old.h5", **old), path)
    with browser(tmp_path / "profile") as page:
        size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
        page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        page.open(path)
        assert page.run("return document.documentElement.scrollWidth") <= 390
        own = hand.moved_states().embedding.isel(member=0, time=-1).values
        np.testing.assert_allclose(points(page, "outcomes-embedding", "x"), own, rtol=1e-5)
        assert page.errors() == []


def test_states_that_are_images_and_a_trajectory_are_drawn(tmp_path):
    states = by_hand.states(tuple(by_hand.ENDS), images=True)
    names = {"member": labelled(["member"], by_hand.text(hand.NAMES), "name")}
    own = {
        "embedding/moved/states": states.assign_coords(names),
        "plane/a-to-b-random-plane": plane(trajectory=WALK),
    }
    path = tmp_path / "images.html"
    write_page(hand.report(tmp_path / "images.h5", **own), path)
    with browser(tmp_path / "profile") as page:
        page.open(path)
        (image,) = page.traces("outcomes-embedding")
        z = np.array(image["z"][:8] + image["z"][9:], float)
        pair = np.stack(
            [
                states.base_embedding.sel(base_model="good").values[0],
                states.embedding.values[0, -1, 0],
            ]
        )
        for k in range(2):
            for channel in range(3):
                shown = z[8 * k : 8 * k + 8, 9 * channel : 9 * channel + 8]
                np.testing.assert_allclose(shown, pair[k, channel], rtol=1e-5)
        walked = [one for one in page.traces("surfaces-plot") if one["type"] == "scatter3d"]
        assert walked
        np.testing.assert_allclose(walked[0]["x"], WALK.x, rtol=1e-5)
        assert page.errors() == []
