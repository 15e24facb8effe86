"""What staging tells clients: why data cannot be fetched or results not be sent, and what it took.

``${location}`` is always shown without its query, which may carry a signature.
"""

from typing import Final

from gateway.wire.phases import MessageLevel
from node_stub.reasons import Reason

# Where data may come from. The same reasons are given before an offer and while fetching.
URL_SYNTAX: Final = Reason("urn:invalid-value", "Not a URL that can be used [${location}]")
USER_IN_URL: Final = Reason(
    "urn:invalid-value", "A URL may not carry a user or a password [${location}]"
)
SCHEME_REFUSED: Final = Reason(
    "urn:location-refused", "The scheme [${scheme}] is not allowed here [${location}]"
)
HOST_REFUSED: Final = Reason(
    "urn:location-refused", "The host [${host}] is not allowed here [${location}]"
)
ADDRESS_REFUSED: Final = Reason(
    "urn:location-refused", "[${host}] is at an address that is not allowed here [${address}]"
)
FILE_REFUSED: Final = Reason(
    "urn:location-refused", "The file is not in a place that this site offers [${location}]"
)
REDIRECTS: Final = Reason("urn:location-refused", "Redirected more than ${limit} times")
LOCATION_LEFT_OUT: Final = Reason(
    "urn:location-left-out", "Not fetched from [${location}]: ${why}", MessageLevel.INFO
)

# What data is.
NOT_LOCATED: Final = Reason(
    "urn:data-not-located", "Nothing says where the data can be fetched from [${identifier}]"
)
NOT_ONE_FILE: Final = Reason(
    "urn:not-supported", "A ${type} can be fetched only with a list of its files [${identifier}]"
)
CHECKSUM_UNUSABLE: Final = Reason(
    "urn:invalid-value", "Not a checksum that can be verified here [${type}][${value}]"
)
BUCKET_CHECKSUM: Final = Reason(
    "urn:invalid-value", "A checksum cannot be that of a whole bucket [${bucket}]"
)
SIZE_INVALID: Final = Reason("urn:invalid-value", "Not a size in bytes [${value}]")
FILE_TOO_LARGE: Final = Reason(
    "urn:resource-limit", "A file of [${size}] bytes is larger than this site fetches [${limit}]"
)
STORAGE_TOO_SMALL: Final = Reason(
    "urn:resource-limit",
    "Data of [${size}] bytes does not fit the storage that it is put on [${limit}]",
)
CREDENTIALS_UNKNOWN: Final = Reason(
    "urn:location-refused", "The site has no credentials of this name [${name}]"
)
CREDENTIALS_ELSEWHERE: Final = Reason(
    "urn:location-refused", "The credentials [${name}] are not for this endpoint [${location}]"
)
NOTEBOOK_AMBIGUOUS: Final = Reason(
    "urn:invalid-value", "Several data resources have the name of the notebook [${location}]"
)

# Where results may go.
PUSH_REFUSED: Final = Reason(
    "urn:location-refused", "Results cannot be sent from this site [${location}]"
)

# What an offer says of it.
SIZE_ASSUMED: Final = Reason(
    "urn:size-assumed",
    "The size of the data is not known: its time is estimated for ${gib} GiB",
    MessageLevel.INFO,
)
