"""Titles and texts of the reason codes. A text names the facts of the case as ``${name}``."""

from collections.abc import Mapping
from typing import Final, TypeAlias

Texts: TypeAlias = Mapping[str, tuple[str, str]]
"""Title and text by code."""

KEPT: Final[Texts] = {
    "starts_soonest": ("Begins soonest", "It can begin in ${value} s; none is known to be sooner."),
    "nearest_data": (
        "Nearest data",
        "Its data are there in ${value} s; none is known to be sooner.",
    ),
    "cheapest": ("Cheapest", "It costs at most ${value}; none is known to cost less."),
    "lowest_carbon": ("Least carbon", "It emits at most ${value} g; none is known to emit less."),
    "lowest_energy": ("Least energy", "It uses at most ${value} kWh; none is known to use less."),
    "fastest": ("Fastest", "It computes at ${value} or more; none is known to be faster."),
    "most_cores": ("Most cores", "It has ${value} cores beyond the minimum; none has more."),
    "most_memory": ("Most memory", "It has ${value} GiB beyond the minimum; none has more."),
    "most_reliable": ("Most reliable", "Its node kept its word in ${value} of 1; none did better."),
    "counts_most": (
        "Counts most",
        "${quantity} ${value} ${unit} is worth ${utility} of 1, at weight ${weight} of ${weights}.",
    ),
}
"""Speak for an offer in the ranking."""

NOTED: Final[Texts] = {
    "unknown_quantity": (
        "Not known",
        "${quantity} is not known and counts as ${prior} ${unit}.",
    ),
    "only_a_bound": (
        "Only a bound known",
        "Of ${quantity} only the bound ${value} ${unit} is known; it counts as ${counted} ${unit}.",
    ),
    "placement_unknown": (
        "Staging not known",
        "How long it takes to bring the data here is not known: ${why}.",
    ),
    "placement_approximate": (
        "Staging is a rough guess",
        "How long it takes to bring the data here is a rough guess: ${why}.",
    ),
    "dominated": ("Dominated", "Offer ${offer} of ${node} is as good or better in everything."),
    "may_exceed_cost_limit": (
        "May cost more",
        "${type} may reach ${offered}, more than the limit ${limit}.",
    ),
    "may_miss_metric_limit": (
        "May miss a limit",
        "${type} may be ${offered}, outside the limit ${limit}.",
    ),
    "cost_not_reported": (
        "Cost not reported",
        "The limit ${limit} on ${type} could not be checked: the offer does not report it.",
    ),
    "metric_not_reported": (
        "Metric not reported",
        "The limit ${limit} on ${type} could not be checked: the offer does not report it.",
    ),
    "limit_reported_by_nobody": (
        "Limit not checked",
        "The limit on ${type} could not be checked: no offer reports it.",
    ),
    "limit_not_understood": (
        "Limit not understood",
        "The limit ${type} was passed on to the nodes but could not be checked here.",
    ),
    "amount_unknown": ("Amount not known", "How much ${resource} is offered is not known."),
    "duration_unknown": ("Duration not known", "The offer does not say how long it lasts."),
    "start_unknown": ("Start not known", "The offer does not say when it starts."),
    "expiry_unknown": ("Expiry not known", "The offer does not say how long it is held."),
    "limited_by_quota": (
        "Limited by a quota",
        "There is room for ${room} more live offers; up to ${limit} would have been given.",
    ),
    "nodes_not_asked": ("More nodes there", "${nodes} more nodes were not asked: ${why}"),
}
"""Qualify an offer, or the whole set, without dropping anything."""

DROPPED: Final[Texts] = {
    "below_minimum_cores": ("Too few cores", "${offered} cores offered, ${limit} needed."),
    "above_maximum_cores": ("Too many cores", "${offered} cores offered, at most ${limit} wanted."),
    "below_minimum_memory": (
        "Too little memory",
        "${offered} GiB of memory offered, ${limit} needed.",
    ),
    "above_maximum_memory": (
        "Too much memory",
        "${offered} GiB of memory offered, at most ${limit} wanted.",
    ),
    "below_minimum_storage": (
        "Too little storage",
        "${offered} GiB of storage offered, ${limit} needed.",
    ),
    "above_maximum_storage": (
        "Too much storage",
        "${offered} GiB of storage offered, at most ${limit} wanted.",
    ),
    "too_short": ("Too short", "${offered} offered, ${limit} needed."),
    "no_start": ("No start", "The request says when to start, the offer does not."),
    "start_outside_window": (
        "Start outside the window",
        "It would start at ${start}, which is in none of the requested intervals.",
    ),
    "outside_daily_window": (
        "Outside the daily window",
        "It would run from ${start} to ${end}, which is not within the daily window.",
    ),
    "over_cost_limit": (
        "Over the cost limit",
        "${type} is at least ${offered}, more than the limit ${limit}.",
    ),
    "below_metric_limit": (
        "Below the metric limit",
        "${type} is at most ${offered}, less than the limit ${limit}.",
    ),
    "above_metric_limit": (
        "Above the metric limit",
        "${type} is at least ${offered}, more than the limit ${limit}.",
    ),
    "expired": (
        "Expired",
        "The offer had expired ${ago_s} s before it came, at ${expires}: its node's clock may be "
        "wrong.",
    ),
    "expires_too_soon": (
        "Expires too soon",
        "The offer expires at ${expires}, too soon to be accepted.",
    ),
    "not_offered": ("Not an offer", "The session is in phase ${phase}, not OFFERED."),
    "duplicate_offer": ("Duplicate", "The UUID ${uuid} belongs to another session already."),
    "invalid_offer": ("Unreadable", "The offer cannot be passed on: ${detail}"),
    "over_per_node": ("Over per_node", "${per_node} offers of ${node} are kept already."),
    "over_limit": ("Over limit", "${limit} offers are kept already."),
    "longer_way": ("Longer way", "The node that makes this offer is reached by a shorter way too."),
}
"""An offer is not passed on."""

SKIPPED: Final[Texts] = {
    "not_wanted": ("Not wanted", "The client asked for other nodes only."),
    "node_not_permitted": (
        "Not permitted",
        "The rules of this gateway do not let you use the node.",
    ),
    "node_reserved": ("Reserved", "The node serves other owners and groups only."),
    "disabled": ("Disabled", "The node is switched off in the gateway's configuration."),
    "draining": ("Draining", "The node takes no new requests."),
    "lease_expired": (
        "Lease over",
        "The node has not renewed its registration, which was over at ${since}.",
    ),
    "node_left": ("Left", "The node left the federation at ${since}; its sessions are followed."),
    "credentials_sealed": (
        "Credentials sealed",
        "The gateway cannot read what to log in with at the node: its secret_key is another.",
    ),
    "kind_not_listed": ("Kind not listed", "The node does not list ${kinds} among its kinds."),
    "beyond_node_limits": (
        "Beyond its limits",
        "${needed} ${what} are needed, the node gives one request ${limit} at most.",
    ),
    "kind_refused_before": (
        "Kind refused before",
        "The node did not know ${kinds} when last asked; it is asked again after ${until}.",
    ),
    "ejected": (
        "Left alone",
        "The node failed again and again (${cause}); it is probed from ${until} on.",
    ),
    "asked_to_wait": ("Asked to wait", "The node wants to be asked again from ${until} on."),
    "path_loop": ("Loop", "The request has passed this gateway or node already."),
    "hop_limit": ("Too many hops", "The request has passed ${hops} gateways, ${limit} allowed."),
    "asked_already": ("Asked already", "The same request came by another way, answered there."),
    "not_needed": ("Not needed", "Nodes asked before it gave offers enough."),
    "hold_limit": ("Hold limit", "Nodes asked before it hold as much as one request may."),
    "no_time_left": ("No time left", "The time was over before it was its turn to be asked."),
}
"""A node was not asked."""

SILENT: Final[Texts] = {
    "node_removed": ("Removed", "The node is not registered any more."),
    "connection_refused": ("Connection refused", "The node refuses the connection."),
    "name_unknown": ("Name unknown", "The node's host name cannot be resolved."),
    "tls_failed": ("No secure connection", "The node's certificate or protocol is not trusted."),
    "unreachable": ("Unreachable", "No connection can be made to the node."),
    "no_descriptors": ("Gateway exhausted", "The gateway has no more connections to give."),
    "node_busy": ("Busy", "Too many calls to the node were under way until the deadline."),
    "connect_timeout": ("Connecting took too long", "No connection within the time allowed."),
    "headers_timeout": ("No answer in time", "Connected, but no answer before the deadline."),
    "body_timeout": ("Answer cut by time", "The answer was not whole before the deadline."),
    "connection_lost": ("Connection lost", "The connection ended before the answer was whole."),
    "error_status": ("Failed", "The node answered with HTTP status ${status}."),
    "no_credentials": ("No credentials", "Nothing to log in with at the node: ${detail}"),
    "refused_credentials": ("Credentials refused", "The node refuses the credentials sent."),
    "answer_too_large": ("Answer too large", "The answer is larger than this gateway reads."),
    "invalid_answer": ("Unreadable answer", "The answer cannot be used: ${detail}"),
    "not_waited_for": ("Not waited for", "What the client asked for was complete without it."),
    "beyond_own_limit": (
        "Beyond its own limit",
        "No answer within ${limit_ms} ms, its limit by what is known of it; all others were in.",
    ),
    "arrived_late": ("Late", "The answer came after the set was given out."),
}
"""A node was asked and gave no usable answer in time."""

NO: Final[Texts] = {
    "node_said_no": ("Said no", "The node cannot run this: ${detail}"),
    "no_offers_given": ("No offers", "The node said yes and offered nothing."),
    "no_usable_offer": ("No usable offer", "None of the node's ${offers} offers is readable."),
    "no_fitting_offer": (
        "No fitting offer",
        "None of the node's ${offers} offers keeps to the request: ${why}",
    ),
}
"""A node answered, and offers nothing."""

SESSION: Final[Texts] = {
    "session_unknown": ("Unknown to its node", "The node no longer knows this session."),
    "accept_pending": ("Being accepted", "The offer is being accepted; its node still holds it."),
    "node_still_active": (
        "Still active",
        "The session is ${phase}, but its node still shows ${reported}.",
    ),
    "node_went_back": (
        "Went back",
        "The node shows ${reported} after ${phase}; phases do not go back.",
    ),
    "node_ended_differently": (
        "Ended otherwise",
        "The session is ${phase}, its node says ${reported}.",
    ),
}
"""A session is shown otherwise than its node shows it, or not as the client asked."""

DATA: Final[Texts] = {
    "data_not_found": ("Data not found", "The data lake does not know ${data}."),
    "data_without_replica": (
        "No readable copy",
        "The data lake knows ${data}, and no copy of it that can be read.",
    ),
    "data_place_unknown": ("Place not known", "Where ${data} lies is not known: ${why}."),
    "data_size_unknown": ("Size not known", "How large ${data} is is not known."),
    "collection_too_large": (
        "Too large to look into",
        "${data} has too many parts to look up where each of them lies.",
    ),
    "too_much_to_place": (
        "Too much to place",
        "Where ${resources} data resources lie could not be held against ${nodes} nodes in time.",
    ),
    "locations_stale": (
        "Old locations",
        "Where ${data} lies was looked up ${age_s} s ago; there is nothing newer.",
    ),
}
"""What is known, or not known, of where a request's data are."""

LAKE: Final[Texts] = {
    "lake_unavailable": ("Data lake down", "Data lake ${lake} cannot be reached."),
    "lake_timeout": ("Data lake slow", "Data lake ${lake} did not answer within ${seconds} s."),
    "lake_resting": (
        "Data lake left alone",
        "Data lake ${lake} failed too often and is not asked for the next ${seconds} s.",
    ),
    "lake_failed": ("Data lake failed", "Data lake ${lake} answered with HTTP status ${status}."),
    "lake_refused_credentials": (
        "Data lake refused",
        "Data lake ${lake} refuses the gateway's credentials.",
    ),
    "lake_invalid_answer": (
        "Unreadable data lake",
        "The answer of data lake ${lake} cannot be used: ${detail}",
    ),
    "topology_stale": (
        "Old map of sites",
        "What is known of sites and storage is ${age_s} s old; there is nothing newer.",
    ),
}
"""A data lake could not be asked, or not in full."""

REFUSED: Final[Texts] = {
    "submit_not_permitted": (
        "Not permitted",
        "The rules of this gateway do not let you ask for offers.",
    ),
    "kind_not_permitted": (
        "Kind not permitted",
        "The rules of this gateway do not let you use components of the kind ${kind}.",
    ),
    "quota_offers": (
        "Too many offers",
        "${holder} holds ${held} live offers, ${limit} allowed: let some go, accept one, or wait "
        "until they expire.",
    ),
    "quota_sessions": (
        "Too many sessions",
        "${holder} has ${held} live sessions, ${limit} allowed: wait for one to end, or cancel.",
    ),
}
"""The caller may not ask this, or holds as much as it may already."""
