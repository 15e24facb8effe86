"""Files that a settings file names, relative to its own folder."""

import ssl
from pathlib import Path
from typing import Any

from marshmallow import ValidationError, fields

from gateway.httpkit.settings import settings_folder


class _PathField(fields.Field[Path]):
    def _deserialize(
        self,
        value: Any,
        attr: str | None,  # noqa: ARG002  # marshmallow passes it
        data: Any,  # noqa: ARG002  # marshmallow passes it
        **kwargs: Any,  # noqa: ARG002  # marshmallow passes them
    ) -> Path:
        if not isinstance(value, str) or not value:
            raise ValidationError("must be the name of a file")
        return settings_folder() / value


class FileField(_PathField):
    """A file that is there."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Path:
        path = super()._deserialize(value, attr, data, **kwargs)
        if not path.is_file():
            raise ValidationError(f"there is no file {path}")
        return path


class CaFileField(_PathField):
    """Certificates of authorities, in PEM."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Path:
        path = super()._deserialize(value, attr, data, **kwargs)
        try:
            ssl.create_default_context(cafile=str(path))
        except OSError as error:
            raise ValidationError(f"there is no certificate in {path}") from error
        return path
