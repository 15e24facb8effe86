"""Signature version 4 of S3 requests, by botocore; we fetch ourselves.

Imported only where the site has S3 credentials: botocore is the extra ``s3``.
"""

from collections.abc import Mapping
from typing import Final

from botocore.auth import S3SigV4Auth  # type: ignore[import-untyped]  # has no annotations
from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]  # has no annotations
from botocore.credentials import Credentials  # type: ignore[import-untyped]  # has no annotations
from yarl import URL

from node_stub.staging.client import Signer
from node_stub.staging.settings import S3Credentials

EMPTY_SHA256: Final = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""SHA-256 of nothing, which is what a GET sends."""


class _Signer(S3SigV4Auth):  # type: ignore[misc]  # its base has no annotations
    """Signs for a body that is not at hand, only its checksum."""

    def __init__(self, credentials: Credentials, region: str, body_sha256: str) -> None:
        super().__init__(credentials, "s3", region)
        self._body_sha256 = body_sha256

    def payload(self, request: AWSRequest) -> str:  # noqa: ARG002  # declared so by its base
        """The checksum of the body."""
        return self._body_sha256


def s3_signer(credentials: S3Credentials, body_sha256: str = EMPTY_SHA256) -> Signer:
    """What signs requests with these keys, for a body with this SHA-256."""
    token = credentials.session_token
    keys = Credentials(
        credentials.access_key.reveal(),
        credentials.secret_key.reveal(),
        None if token is None else token.reveal(),
    )

    def sign(method: str, url: URL) -> Mapping[str, str]:
        request = AWSRequest(method=method, url=str(url))
        _Signer(keys, credentials.region, body_sha256).add_auth(request)
        return dict(request.headers.items())

    return sign
