"""Tries a reward service by every rule, in order, and says how each went. Owns the list of rules."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Final

from tetrad_cli.conformance import episode_rules as episodes
from tetrad_cli.conformance import membership_rules as membership
from tetrad_cli.conformance import robustness_rules as robustness
from tetrad_cli.conformance.site import BrokenRule, NotApplicable, Row, Site
from tetrad_transport import TransportError
from tetrad_wire.messages.membership import Hello

Rule = Callable[[Site, Row], None]
"""Named after what the service does; its docstring is the promise. Raises BrokenRule or NotApplicable."""

RULES: Final[tuple[Rule, ...]] = (
    membership.says_hello,
    membership.offers_graders,
    membership.beats,
    membership.follows_generations,
    membership.registers_again,
    membership.stamps_messages,
    membership.ignores_replaced_coordinators,
    episodes.opens_groups,
    episodes.grades_turns,
    episodes.opens_once,
    episodes.grades_once,
    episodes.refuses_another_action,
    episodes.refuses_gaps,
    episodes.refuses_unknown_episodes,
    episodes.forgets_closed_episodes,
    episodes.keeps_ids_apart,
    episodes.respects_pins,
    episodes.refuses_unknown_environments,
    episodes.survives_odd_rows,
    episodes.survives_odd_actions,
    episodes.answers_who_asked,
    robustness.ignores_unknown_fields,
    robustness.drops_incomplete_messages,
    robustness.drops_foreign_messages,
    robustness.drops_malformed_frames,
    robustness.drops_deep_messages,
    robustness.drops_oversized_messages,
    robustness.cuts_oversized_frames,
    membership.serves_without_coordinator,
    # Last: the service leaves.
    membership.drains,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """How one rule went."""

    rule: str
    promise: str
    verdict: str
    """`pass`, `fail` or `skip`."""
    expected: str = ""
    got: str = ""
    """Of a rule that fails; of one that is skipped, why."""


def try_service(site: Site, row: Row, *, hello_s: float, only: Collection[str] = ()) -> Iterator[Finding]:
    """Yield a finding for each rule, or for each of those named; a service that never says hello ends the trial."""
    try:
        site.until(lambda: bool(site.said(Hello)), "a hello", timeout_s=hello_s)
    except BrokenRule as broken:
        yield _failed("says_hello", promise_of(membership.says_hello), broken)
        return
    offer = site.hello().reward
    offered = offer.environments[0].name if offer is not None and offer.environments else ""
    for rule in (rule for rule in RULES if not only or rule.__name__ in only):
        yield _tried(rule, site, row.of(offered))
    yield _speaks_well(site)


def promise_of(rule: Rule) -> str:
    """Return what a rule promises, in a sentence."""
    return " ".join((rule.__doc__ or "").split())


def _tried(rule: Rule, site: Site, row: Row) -> Finding:
    name, promise = rule.__name__, promise_of(rule)
    try:
        rule(site, row)
    except BrokenRule as broken:
        return _failed(name, promise, broken)
    except TransportError as error:
        return _failed(name, promise, BrokenRule(expected="a service that reads", got=str(error)))
    except NotApplicable as reason:
        return Finding(rule=name, promise=promise, verdict="skip", got=str(reason))
    return Finding(rule=name, promise=promise, verdict="pass")


def _speaks_well(site: Site) -> Finding:
    name, promise = "speaks_the_protocol", "Every message that it sent could be read, and was one that it may send."
    if not site.violations:
        return Finding(rule=name, promise=promise, verdict="pass")
    got = f"{len(site.violations)} that could not be taken, first {site.violations[0]}"
    return _failed(name, promise, BrokenRule(expected="messages by the protocol", got=got))


def _failed(name: str, promise: str, broken: BrokenRule) -> Finding:
    return Finding(rule=name, promise=promise, verdict="fail", expected=broken.expected, got=broken.got)
