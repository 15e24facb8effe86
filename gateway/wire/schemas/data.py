"""Schemas of the data resources: simple, S3, Rucio, IVOA and SKAO."""

from gateway.wire import kinds
from gateway.wire.schemas.blocks import (
    OneOfKinds,
    WireSchema,
    kind,
    listed,
    nested,
    one_of,
    text,
    variants,
)
from gateway.wire.schemas.components import LifecycleSchema, RequestedLifecycle
from gateway.wire.schemas.fields import INT32, Whole

OBJECT_TYPES = ("FILE", "CONTAINER", "DATASET")
"""What an object of the data lake is."""


class DataFields(LifecycleSchema):
    """What every data resource has; ``storage`` names where it is put, by name or UUID."""

    storage = text()


class SimpleDataSchema(DataFields):
    """Data at a URL."""

    kind = kind(kinds.SIMPLE_DATA)
    location = text()


class S3DataSchema(DataFields):
    """Data in an S3 bucket."""

    kind = kind(kinds.S3_DATA)
    endpoint = text()
    template = text()
    bucket = text()
    object = text()


class RucioBlockSchema(WireSchema):
    """A Rucio identifier and the service that knows it."""

    endpoint = text()
    scope = text()
    object = text()
    type = one_of(*OBJECT_TYPES)


class RucioDataSchema(DataFields):
    """Data known to Rucio."""

    kind = kind(kinds.RUCIO_DATA)
    rucio = nested(RucioBlockSchema())


class ObsCoreSchema(WireSchema):
    """A row of IVOA ObsCore."""

    obs_id = text()
    obs_collection = text()
    obs_publisher_did = text()
    obs_creator_did = text()
    dataproduct_type = text()
    calib_level = Whole(validate=INT32, allow_none=True)
    access_url = text()
    access_format = text()


class DataLinkSchema(WireSchema):
    """A row of IVOA DataLink."""

    ID = text()
    access_url = text()
    service_def = text()
    error_message = text()
    description = text()
    semantics = text()
    content_type = text()
    content_length = Whole(validate=INT32, allow_none=True)
    content_qualifier = text()
    local_semantics = text()
    link_auth = text()
    link_authorized = text()


class IvoaBlockSchema(WireSchema):
    """An IVOA identifier and what is known of it."""

    ivoid = text()
    obscore = nested(ObsCoreSchema())
    datalink = nested(DataLinkSchema())


class IvoaDataSchema(DataFields):
    """Data with an IVOA identifier."""

    kind = kind(kinds.IVOA_DATA)
    ivoa = nested(IvoaBlockSchema())


class ChecksumSchema(WireSchema):
    """A checksum and how it was made."""

    type = text()
    value = text()


class ReplicaSchema(WireSchema):
    """One copy of a file."""

    rsename = text()
    dataurl = text()


class SkaoBlockSchema(WireSchema):
    """An object of the SRCNet data lake; ``datasize`` in bytes."""

    namespace = text()
    objectname = text()
    objecttype = one_of(*OBJECT_TYPES)
    datasize = Whole(allow_none=True)
    checksum = nested(ChecksumSchema())
    replicas = listed(ReplicaSchema())


class SkaoDataSchema(DataFields):
    """Data in the SRCNet data lake."""

    kind = kind(kinds.SKAO_DATA)
    ivoa = nested(IvoaBlockSchema())
    skao = nested(SkaoBlockSchema())


class DataSchema(OneOfKinds):
    """What is read."""

    type_schemas = variants(
        SimpleDataSchema(), S3DataSchema(), RucioDataSchema(), IvoaDataSchema(), SkaoDataSchema()
    )


class RequestedSimpleDataSchema(RequestedLifecycle, SimpleDataSchema):
    """Data asked for at a URL."""


class RequestedS3DataSchema(RequestedLifecycle, S3DataSchema):
    """Data asked for in an S3 bucket."""


class RequestedRucioDataSchema(RequestedLifecycle, RucioDataSchema):
    """Data asked for that Rucio knows."""


class RequestedIvoaDataSchema(RequestedLifecycle, IvoaDataSchema):
    """Data asked for by its IVOA identifier."""


class RequestedSkaoDataSchema(RequestedLifecycle, SkaoDataSchema):
    """Data asked for from the SRCNet data lake."""


class RequestedDataSchema(OneOfKinds):
    """What is to be read."""

    is_open = True
    type_schemas = variants(
        RequestedSimpleDataSchema(),
        RequestedS3DataSchema(),
        RequestedRucioDataSchema(),
        RequestedIvoaDataSchema(),
        RequestedSkaoDataSchema(),
    )
