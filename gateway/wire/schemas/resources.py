"""Schemas of compute, storage and volumes."""

from marshmallow import fields

from gateway.wire import kinds
from gateway.wire.schemas.blocks import (
    MinMaxSchema,
    OneOfKinds,
    kind,
    listed,
    nested,
    one_of,
    text,
    variants,
)
from gateway.wire.schemas.components import (
    ComponentSchema,
    LifecycleSchema,
    Requested,
    RequestedLifecycle,
)


class SimpleVolumeSchema(ComponentSchema):
    """A data or storage resource made visible at a path."""

    kind = kind(kinds.SIMPLE_VOLUME)
    path = text()
    mode = one_of("READONLY", "READWRITE")
    resource = text()


class VolumeSchema(OneOfKinds):
    """A volume mount."""

    type_schemas = variants(SimpleVolumeSchema())


class RequestedSimpleVolumeSchema(Requested, SimpleVolumeSchema):
    """A data or storage resource to be made visible at a path."""


class RequestedVolumeSchema(OneOfKinds):
    """A volume mount asked for."""

    is_open = True
    type_schemas = variants(RequestedSimpleVolumeSchema())


class SimpleComputeSchema(LifecycleSchema):
    """Cores, memory in GiB, and what is mounted."""

    kind = kind(kinds.SIMPLE_COMPUTE)
    cores = nested(MinMaxSchema())
    memory = nested(MinMaxSchema())
    volumes = listed(VolumeSchema())


class ComputeSchema(OneOfKinds):
    """What it runs on."""

    type_schemas = variants(SimpleComputeSchema())


class RequestedSimpleComputeSchema(RequestedLifecycle, SimpleComputeSchema):
    """Cores and memory in GiB asked for, and what is to be mounted."""

    volumes = listed(RequestedVolumeSchema())


class RequestedComputeSchema(OneOfKinds):
    """What to run it on."""

    is_open = True
    type_schemas = variants(RequestedSimpleComputeSchema())


class SimpleStorageSchema(LifecycleSchema):
    """Storage of a size in GiB; ``data`` are UUIDs of the resources stored there.

    ``location`` is ours: where the files on it are sent when the execution has ended.
    """

    kind = kind(kinds.SIMPLE_STORAGE)
    size = nested(MinMaxSchema())
    location = text()
    data = listed(fields.String())


class StorageSchema(OneOfKinds):
    """Where data is put."""

    type_schemas = variants(SimpleStorageSchema())


class RequestedSimpleStorageSchema(RequestedLifecycle, SimpleStorageSchema):
    """Storage asked for, in GiB."""


class RequestedStorageSchema(OneOfKinds):
    """Where data is to be put."""

    is_open = True
    type_schemas = variants(RequestedSimpleStorageSchema())
