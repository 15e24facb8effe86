"""Kind URIs and type URNs of the ExecutionBroker schema v1.0.

Source: the ``discriminator.mapping`` entries of the public OpenAPI document, schema version 1.0.7.
"""

from typing import Final

KIND_BASE: Final = "https://www.purl.org/ivoa.net/Calycopis-openapi/schema/v1.0/kinds"
"""Every component kind begins with this."""

DOCKER_CONTAINER: Final = f"{KIND_BASE}/executable/docker-container.yaml"
SINGULARITY_CONTAINER: Final = f"{KIND_BASE}/executable/singularity-container.yaml"
JUPYTER_NOTEBOOK: Final = f"{KIND_BASE}/executable/jupyter-notebook.yaml"
EXECUTABLE_KINDS: Final = frozenset({DOCKER_CONTAINER, SINGULARITY_CONTAINER, JUPYTER_NOTEBOOK})

SIMPLE_COMPUTE: Final = f"{KIND_BASE}/compute/simple-compute-resource.yaml"
COMPUTE_KINDS: Final = frozenset({SIMPLE_COMPUTE})

SIMPLE_STORAGE: Final = f"{KIND_BASE}/storage/simple-storage-resource.yaml"
STORAGE_KINDS: Final = frozenset({SIMPLE_STORAGE})

SIMPLE_VOLUME: Final = f"{KIND_BASE}/volume/simple-volume-mount.yaml"
VOLUME_KINDS: Final = frozenset({SIMPLE_VOLUME})

SIMPLE_DATA: Final = f"{KIND_BASE}/data/simple-data-resource.yaml"
S3_DATA: Final = f"{KIND_BASE}/data/S3-data-resource.yaml"
RUCIO_DATA: Final = f"{KIND_BASE}/data/rucio-data-resource.yaml"
IVOA_DATA: Final = f"{KIND_BASE}/data/ivoa-data-resource.yaml"
SKAO_DATA: Final = f"{KIND_BASE}/data/skao-data-resource.yaml"
DATA_KINDS: Final = frozenset({SIMPLE_DATA, S3_DATA, RUCIO_DATA, IVOA_DATA, SKAO_DATA})

SIMPLE_SESSION: Final = f"{KIND_BASE}/session/simple-execution-session.yaml"
SCHEDULED_SESSION: Final = f"{KIND_BASE}/session/scheduled-execution-session.yaml"
SESSION_KINDS: Final = frozenset({SIMPLE_SESSION, SCHEDULED_SESSION})

OFFERSET: Final = f"{KIND_BASE}/offerset/execution-offerset.yaml"

ABSTRACT_COST: Final = f"{KIND_BASE}/costs/abstract-cost-item.yaml"
MINMAX_COST: Final = f"{KIND_BASE}/costs/simple-minmax-float-cost.yaml"
COST_KINDS: Final = frozenset({ABSTRACT_COST, MINMAX_COST})

ABSTRACT_METRIC: Final = f"{KIND_BASE}/metrics/abstract-metric-item.yaml"
MINMAX_METRIC: Final = f"{KIND_BASE}/metrics/simple-minmax-float-metric.yaml"
METRIC_KINDS: Final = frozenset({ABSTRACT_METRIC, MINMAX_METRIC})

COMPONENT_KINDS: Final = (
    EXECUTABLE_KINDS | COMPUTE_KINDS | STORAGE_KINDS | VOLUME_KINDS | DATA_KINDS
)
"""Every kind of component that the schema has."""

CLIENT_BREAKING_KINDS: Final = frozenset({SIMPLE_SESSION, ABSTRACT_COST, ABSTRACT_METRIC})
"""Legal in the schema, but the public generated client recurses on them for ever: not emitted."""

STRING_OPTION: Final = "uri:string-value-option"
ENUM_OPTION: Final = "uri:enum-value-option"
INTEGER_OPTION: Final = "uri:integer-value-option"
DELTA_OPTION: Final = "uri:integer-delta-option"

STRING_UPDATE: Final = "uri:string-value-update"
ENUM_UPDATE: Final = "uri:enum-value-update"
INTEGER_UPDATE: Final = "uri:integer-value-update"
DELTA_UPDATE: Final = "uri:integer-delta-update"

COMPONENT_OPTION: Final = "uri:component-value-option"
COMPONENT_UPDATE: Final = "uri:component-value-update"
"""Ours, in the manner of the schema's: a component to be supplied at a path of a draft."""

DRAFT: Final = "urn:execbroker:draft"
"""Ours: a request that is being written."""

MONETARY_COST: Final = "urn:ivoa:calycopis:cost:monetary"
ENERGY_COST: Final = "urn:ivoa:calycopis:cost:energy"
CARBON_COST: Final = "urn:ivoa:calycopis:cost:carbon"
COMPUTE_PERFORMANCE: Final = "urn:ivoa:calycopis:metric:compute-performance"
IO_THROUGHPUT: Final = "urn:ivoa:calycopis:metric:io-throughput"
DATA_PROXIMITY: Final = "urn:ivoa:calycopis:metric:data-proximity"
STAGING_TIME: Final = "urn:execbroker:metric:staging-time"
BYTES_TO_MOVE: Final = "urn:execbroker:metric:bytes-to-move"
CPU_TIME: Final = "urn:execbroker:metric:cpu-time"
PEAK_MEMORY: Final = "urn:execbroker:metric:peak-memory"
BYTES_STAGED: Final = "urn:execbroker:metric:bytes-staged"
