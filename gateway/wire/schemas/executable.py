"""Schemas of the executables: Docker and Singularity containers, Jupyter notebooks."""

from marshmallow import fields

from gateway.wire import kinds
from gateway.wire.schemas.blocks import OneOfKinds, WireSchema, kind, listed, nested, text, variants
from gateway.wire.schemas.components import LifecycleSchema, RequestedLifecycle
from gateway.wire.schemas.fields import INT32, Flag, StringMap, Whole


class PlatformSchema(WireSchema):
    """What an image runs on."""

    architecture = text()
    os = text()


class ImageSchema(WireSchema):
    """A container image, and everywhere it can be had."""

    locations = listed(fields.String())
    digest = text()
    platform = nested(PlatformSchema())


class InternalPortSchema(WireSchema):
    """A port inside the container."""

    port = Whole(validate=INT32, allow_none=True)


class ExternalPortSchema(WireSchema):
    """Where a port of the container can be reached."""

    port = Whole(validate=INT32, allow_none=True)
    addresses = listed(fields.String())


class PortSchema(WireSchema):
    """A port of a container."""

    access = Flag(allow_none=True)
    internal = nested(InternalPortSchema())
    external = nested(ExternalPortSchema())
    protocol = text()
    path = text()


class NetworkSchema(WireSchema):
    """The ports of a container."""

    ports = listed(PortSchema())


class DockerContainerSchema(LifecycleSchema):
    """A container run from an OCI image."""

    kind = kind(kinds.DOCKER_CONTAINER)
    image = nested(ImageSchema())
    privileged = Flag(allow_none=True)
    command = listed(fields.String())
    entrypoint = text()
    environment = StringMap(allow_none=True)
    network = nested(NetworkSchema())


class SingularityContainerSchema(LifecycleSchema):
    """A container run from a Singularity image."""

    kind = kind(kinds.SINGULARITY_CONTAINER)
    location = text()


class JupyterNotebookSchema(LifecycleSchema):
    """A notebook. ``environment`` is an extension: the parameters that it is run with."""

    kind = kind(kinds.JUPYTER_NOTEBOOK)
    location = text()
    environment = StringMap(allow_none=True)


class ExecutableSchema(OneOfKinds):
    """What runs."""

    type_schemas = variants(
        DockerContainerSchema(), SingularityContainerSchema(), JupyterNotebookSchema()
    )


class RequestedDockerContainerSchema(RequestedLifecycle, DockerContainerSchema):
    """A container to run from an OCI image."""


class RequestedSingularityContainerSchema(RequestedLifecycle, SingularityContainerSchema):
    """A container to run from a Singularity image."""


class RequestedJupyterNotebookSchema(RequestedLifecycle, JupyterNotebookSchema):
    """A notebook to run."""


class RequestedExecutableSchema(OneOfKinds):
    """What to run."""

    is_open = True
    type_schemas = variants(
        RequestedDockerContainerSchema(),
        RequestedSingularityContainerSchema(),
        RequestedJupyterNotebookSchema(),
    )
