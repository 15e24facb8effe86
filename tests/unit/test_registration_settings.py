"""What the settings file says of nodes and of who may register them."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.config import load_gateway_settings
from gateway.httpkit.settings import SettingsError
from gateway.settings import RegistrationSettings


def load(tmp_path: Path, **sections: Any) -> Any:
    file = tmp_path / "gateway.yaml"
    file.write_text(yaml.safe_dump({"listen": "127.0.0.1:0", **sections}))
    return load_gateway_settings(file)


def test_the_section_is_read_and_what_it_leaves_out_is_as_usual(tmp_path: Path) -> None:
    given = {"groups": ["ska"], "allow_private_addresses": True, "lease_s": 60}
    read = load(tmp_path, registration=given).registration
    assert read == RegistrationSettings(groups=("ska",), allow_private_addresses=True, lease_s=60.0)
    assert load(tmp_path).registration == RegistrationSettings()


def test_a_lease_that_one_lost_renewal_would_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"registration\.lease_s: must be twice"):
        load(tmp_path, registration={"lease_s": 40})


@pytest.mark.parametrize(
    "url", ["http://head:hunter2@127.0.0.1:1", "http://head@127.0.0.1:1", "http://127.0.0.1:1/?a=b"]
)
def test_the_url_of_a_node_has_no_password_and_no_query_in_it(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingsError, match=r"nodes\[0\]\.url") as refused:
        load(tmp_path, nodes=[{"name": "alpha", "url": url}])
    assert "hunter2" not in str(refused.value)
