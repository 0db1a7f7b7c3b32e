"""What a page carries: numbers of JSON, and text that ends no script."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crar_diag.report.page.encoding import as_script, escape, number, numbers


@given(st.text())
def test_any_text_comes_back_and_none_is_markup(value):
    script = as_script({"name": value})
    assert json.loads(script) == {"name": value}
    assert not set(script) & set("<>&\u2028\u2029")


def test_what_ends_or_changes_a_script_is_escaped():
    assert as_script({"a": "</script><!--"}) == '{"a":"\\u003c/script\\u003e\\u003c!--"}'
    assert escape('<b a="\'">&') == "&lt;b a=&quot;&#x27;&quot;&gt;&amp;"


def test_numbers_have_six_digits_and_gaps_are_none():
    values = np.array([[1 / 3, np.nan], [np.inf, 1234567.0]])
    assert numbers(values) == [[0.333333, None], [None, 1234570.0]]
    assert numbers(np.array([1, 2])) == [1, 2]
    assert numbers(np.array([True])) == [True]
    assert (number(np.float64(0.5)), number(np.nan)) == (0.5, None)


def test_a_number_that_json_does_not_have_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        as_script({"a": float("nan")})
