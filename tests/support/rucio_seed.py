"""What the Rucio of the tests knows: six sites, a tape store, and data made to be tricky.

``SCOPE:complete``  10 files; whole at UK; 9 at JP and AU, so that one file is at UK alone
``SCOPE:scattered`` 6 files; nowhere whole: the even ones at SE and ZA, the odd ones at CA
``SCOPE:empty``     no files at all
``SCOPE:all``       a container of the containers ``outer`` and ``inner``; Rucio allows no mix
``SCOPE:outer``     a container of ``complete`` and ``scattered``
``SCOPE:inner``     a container of ``taped``
``SCOPE:taped``     2 files, on tape at UK alone
``SCOPE:lost``      a file without a replica that could be read
``SCOPE:blocked``   a file whose one replica is where nothing may be read
``SCOPE:deep/er/name.fits`` a file whose name has slashes, at SE
"""

from dataclasses import dataclass
from typing import Any, Final

from tests.support.rucio import RucioServer

SCOPE: Final = "ska-mid.test"
GB: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class SeededSite:
    """A site with one storage element of the same nature."""

    name: str
    rse: str
    country: str
    latitude: float
    longitude: float


SITES: Final = (
    SeededSite("uk", "UK_XRD", "GB", 51.57, -1.31),
    SeededSite("se", "SE_OSO", "SE", 57.69, 11.98),
    SeededSite("jp", "JP_STORM", "JP", 35.68, 139.54),
    SeededSite("au", "AU_STORM", "AU", -31.95, 115.86),
    SeededSite("za", "ZA_IDIA", "ZA", -33.92, 18.42),
    SeededSite("ca", "CA_XRD", "CA", 48.46, -123.31),
)
TAPE: Final = "UK_TAPE"
BLOCKED: Final = "ZA_BLOCKED"
"""Holds copies, and nothing may be read from it."""

COMPLETE: Final = tuple((f"complete/{index}.fits", (index + 1) * GB) for index in range(10))
SCATTERED: Final = tuple((f"scattered/{index}.fits", (index + 1) * GB) for index in range(6))
TAPED: Final = tuple((f"taped/{index}.fits", 5 * GB) for index in range(2))
LOST: Final = ("lost", 7 * GB)
HIDDEN: Final = ("blocked", 3 * GB)
DEEP: Final = ("deep/er/name.fits", 2 * GB)

REPLICAS: Final = {
    "UK_XRD": COMPLETE,
    "JP_STORM": COMPLETE[:9],
    "AU_STORM": COMPLETE[:9],
    "SE_OSO": (*SCATTERED[::2], DEEP),
    "ZA_IDIA": SCATTERED[::2],
    "CA_XRD": SCATTERED[1::2],
    TAPE: TAPED,
    BLOCKED: (HIDDEN, *COMPLETE),
}
"""Which files are at which storage element."""


def seed(server: RucioServer) -> None:
    """Tell the server all of it."""
    server.call("POST", f"/accounts/root/scopes/{SCOPE}")
    for site in SITES:
        _add_rse(server, site.rse, site, "DISK")
    _add_rse(server, TAPE, SITES[0], "TAPE")
    _add_rse(server, BLOCKED, SITES[4], "DISK")
    for source in SITES:
        for target in SITES:
            if source.name < target.name:
                distance = {"distance": _distance(source, target), "bidirectional": True}
                server.call("POST", f"/rses/{source.rse}/distances/{target.rse}", distance)
    for rse, files in REPLICAS.items():
        server.call("POST", "/replicas", {"rse": rse, "files": [_file(*file) for file in files]})
    server.call("POST", "/replicas", {"rse": "UK_XRD", "files": [_file(*LOST) | {"state": "U"}]})
    server.call("PUT", f"/rses/{BLOCKED}", {"availability_read": False})
    _add_collections(server)


def _add_collections(server: RucioServer) -> None:
    datasets = {"complete": COMPLETE, "scattered": SCATTERED, "taped": TAPED, "empty": ()}
    containers = {
        "inner": ("taped",),
        "outer": ("complete", "scattered"),
        "all": ("outer", "inner"),
    }
    made = [{"scope": SCOPE, "name": name, "type": "DATASET"} for name in datasets]
    made += [{"scope": SCOPE, "name": name, "type": "CONTAINER"} for name in containers]
    server.call("POST", "/dids", made)
    attached = [(name, [file for file, _ in files]) for name, files in datasets.items() if files]
    attached += [(name, list(children)) for name, children in containers.items()]
    for name, children in attached:
        dids = [{"scope": SCOPE, "name": child} for child in children]
        attachment = {"scope": SCOPE, "name": name, "dids": dids}
        server.call("POST", "/dids/attachments", {"attachments": [attachment]})


def _add_rse(server: RucioServer, rse: str, site: SeededSite, rse_type: str) -> None:
    described: dict[str, Any] = {"deterministic": True, "rse_type": rse_type}
    described |= {"latitude": site.latitude, "longitude": site.longitude}
    server.call("POST", f"/rses/{rse}", described | {"country_name": site.country})
    for key, value in {"site": site.name, "lfn2pfn_algorithm": "hash"}.items():
        server.call("POST", f"/rses/{rse}/attr/{key}", {"value": value})
    may = {"read": 1, "write": 1, "delete": 1}
    protocol = {
        "hostname": f"{rse.lower().replace('_', '-')}.test.invalid",
        "port": 1094,
        "prefix": "/data/",
        "impl": "rucio.rse.protocols.gfal.Default",
        "domains": {
            "lan": may,
            "wan": may | {"third_party_copy_read": 1, "third_party_copy_write": 1},
        },
    }
    server.call("POST", f"/rses/{rse}/protocols/davs", protocol)


def _file(name: str, size: int) -> dict[str, Any]:
    return {"scope": SCOPE, "name": name, "bytes": size, "adler32": "0cc737eb", "md5": "0" * 32}


def _distance(one: SeededSite, other: SeededSite) -> int:
    """Nothing real: less for sites that are near in degrees."""
    return max(1, round(abs(one.latitude - other.latitude) + abs(one.longitude - other.longitude)))
