import pytest

from codedpo.core.errors import ConfigError
from codedpo.core.hub import endpoint, offline

VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("value", [None, "", "0", "1", "on", "OFF", "True", "false", "yes", "no", "2"])
def test_offline_is_what_the_hubs_client_takes_for_it(monkeypatch, variable, value):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    if value is not None:
        monkeypatch.setenv(variable, value)
    client = pytest.importorskip("huggingface_hub.constants")
    assert offline() == client._is_true(value)


def test_an_endpoint_without_its_scheme_is_refused(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://mirror:8080/")
    assert endpoint() == "http://mirror:8080"
    monkeypatch.setenv("HF_ENDPOINT", "")
    assert endpoint() == "https://huggingface.co"
    monkeypatch.setenv("HF_ENDPOINT", "hf-mirror.com")
    with pytest.raises(
        ConfigError, match=r"HF_ENDPOINT is hf-mirror\.com, which is no address; begin it with https://"
    ):
        endpoint()
