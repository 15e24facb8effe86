"""The issuers in the settings, each with its keys, and what they have signed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry

from gateway.httpkit.bearer.errors import InvalidTokenProblem
from gateway.httpkit.bearer.fetching import IssuerReader
from gateway.httpkit.bearer.keys import IssuerKeys, PublicKey
from gateway.httpkit.bearer.settings import IssuerSettings


class _Registry(JWSRegistry):
    max_header_length = 4096  # with the certificate of its key (x5c), beyond the library's 512


@dataclass(frozen=True, slots=True)
class Issuer:
    """One that tokens are believed of."""

    settings: IssuerSettings
    keys: IssuerKeys
    _registry: JWSRegistry

    def signed(self, token: str, key: PublicKey) -> bytes:
        """What the token says, as far as it was signed with this key.

        Raises
        ------
        InvalidTokenProblem
            It was not.
        """
        try:
            return jws.deserialize_compact(token, key, registry=self._registry).payload
        except (JoseError, ValueError) as error:
            raise InvalidTokenProblem("is not signed by its issuer") from error


def issuers_of(sections: Sequence[IssuerSettings]) -> Mapping[str, Issuer]:
    """Those of the settings, by their URLs."""
    return {
        settings.issuer: Issuer(
            settings,
            IssuerKeys(settings, IssuerReader(settings)),
            _Registry(algorithms=settings.algorithms, strict_check_header=False),
        )
        for settings in sections
    }
