"""Which gateways a member believes, by the authorities that it is given for each."""

import shutil
from pathlib import Path

from gateway.httpkit.membership.member import MemberState
from tests.support.authority import Authority
from tests.support.joined_gateway import joined_gateway
from tests.support.membership import joining


def authority(folder: Path) -> Authority:
    folder.mkdir()
    return Authority(folder)


async def test_a_gateway_of_unknown_authority_is_not_joined_and_is_told_nothing(
    tmp_path: Path,
) -> None:
    its, another = authority(tmp_path / "its"), authority(tmp_path / "another")
    for trusted in (None, another.file):
        async with (
            joined_gateway(certificate=its.certify("127.0.0.1")) as gateway,
            joining(gateway, tmp_path, ca_file=trusted) as here,
        ):
            await here.member.step()
            assert here.member.status.state is MemberState.AWAY
            assert "certificate" in here.member.status.reason.lower()
            assert gateway.calls == 0


async def test_each_gateway_is_believed_by_the_authorities_given_for_it(tmp_path: Path) -> None:
    its = authority(tmp_path / "its")
    async with (
        joined_gateway(certificate=its.certify("127.0.0.1")) as gateway,
        joining(gateway, tmp_path, ca_file=its.file) as here,
    ):
        await here.member.step()
        assert here.member.status.state is MemberState.MEMBER
        assert gateway.names == {"alpha"}


async def test_authorities_that_were_added_to_the_file_are_believed_without_a_restart(
    tmp_path: Path,
) -> None:
    its, another = authority(tmp_path / "its"), authority(tmp_path / "another")
    trusted = tmp_path / "trusted.pem"
    shutil.copy(another.file, trusted)
    async with (
        joined_gateway(certificate=its.certify("127.0.0.1")) as gateway,
        joining(gateway, tmp_path, ca_file=trusted) as here,
    ):
        await here.member.step()
        before = here.member.status.state
        trusted.write_bytes(another.file.read_bytes() + its.file.read_bytes())
        await here.member.step()
        after = here.member.status.state
    assert (before, after) == (MemberState.AWAY, MemberState.MEMBER)
