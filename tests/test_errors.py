import pickle

import pytest

from crar_diag.errors import CrarDiagError, InputError, StorageError


@pytest.mark.parametrize("kind", [CrarDiagError, InputError, StorageError])
def test_an_error_reaches_another_process_whole(kind):
    error = kind("depth is too large", arguments=["depth"])
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == "depth is too large"
    assert again.arguments == ("depth",)
    assert kind("no file").arguments == ()
