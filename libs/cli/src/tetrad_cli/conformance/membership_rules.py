"""How a reward service must register, beat, follow and leave."""

import time
from typing import Final

from tetrad_cli.conformance.site import HEARTBEAT_S, BrokenRule, Row, Site
from tetrad_cli.conformance.talk import close, open_episodes, opened, refused, step, stepped
from tetrad_wire.messages.leases import FailureKind
from tetrad_wire.messages.membership import Bye, Heartbeat, Hello, Role

# Told once, a service has this long to show that it has heard.
NOTICE_S: Final = 10.0
WINDOW_S: Final = 3.0
LEAVE_S: Final = 40.0


def says_hello(site: Site, _row: Row) -> None:
    """Registers as a reward service, with a name, an incarnation and the endpoint it was reached at."""
    hello = site.hello()
    said = {"name": hello.name, "incarnation": hello.incarnation, "host": hello.host}
    if hello.role is not Role.REWARD:
        raise BrokenRule(expected="role reward", got=f"role {hello.role.value}")
    if empty := [name for name, value in said.items() if not value]:
        raise BrokenRule(expected=f"{' and '.join(empty)}", got="empty text")
    if hello.pid < 1:
        raise BrokenRule(expected="pid of the process", got=str(hello.pid))
    if hello.endpoint != site.endpoint:
        raise BrokenRule(expected=f"endpoint {site.endpoint}", got=hello.endpoint or "empty text")


def offers_graders(site: Site, _row: Row) -> None:
    """Offers environments of different names, each with a grader version, and credit."""
    offer = site.hello().reward
    if offer is None:
        raise BrokenRule(expected="an offer in `reward`", got="nil")
    names = [one.name for one in offer.environments]
    if not names or len(set(names)) < len(names):
        raise BrokenRule(expected="environments of different names, at least one", got=str(names))
    if not all(one.grader_version for one in offer.environments):
        raise BrokenRule(expected="a grader_version for each environment", got="empty text")
    if offer.credit < 1:
        raise BrokenRule(expected="credit of at least 1", got=str(offer.credit))
    if offer.edition < 0:
        raise BrokenRule(expected="an edition of at least 0", got=str(offer.edition))


def beats(site: Site, _row: Row) -> None:
    """Sends a heartbeat every `heartbeat_s` that it was told, with its incarnation and its credit."""
    began = time.monotonic()
    site.go_on(WINDOW_S)
    found: list[Heartbeat] = site.said(Heartbeat, since=began)
    # Half of them, for a machine that is busy.
    if len(found) < WINDOW_S / HEARTBEAT_S / 2:
        raise BrokenRule(expected=f"a heartbeat every {HEARTBEAT_S} s", got=f"{len(found)} in {WINDOW_S:g} s")
    if any(beat.incarnation != site.hello().incarnation for beat in found):
        raise BrokenRule(expected="the incarnation of its hello", got=found[-1].incarnation)
    if found[-1].credit < 1 or found[-1].is_draining:
        raise BrokenRule(expected="credit, and no draining", got=f"credit {found[-1].credit}, {found[-1].is_draining}")


def follows_generations(site: Site, _row: Row) -> None:
    """Its heartbeats say which generation of the desired state it follows."""
    site.change()
    generation = site.desired.generation

    def is_followed() -> bool:
        return any(beat.generation == generation for beat in site.said(Heartbeat))

    site.until(is_followed, f"a heartbeat with generation {generation}", timeout_s=NOTICE_S)


def registers_again(site: Site, _row: Row) -> None:
    """Says hello again, as the same incarnation, when the coordinator does not know it."""
    incarnation, began = site.hello().incarnation, time.monotonic()
    site.tell(should_register=True)
    site.until(lambda: bool(site.said(Hello, since=began)), "another hello", timeout_s=NOTICE_S)
    if site.hello().incarnation != incarnation:
        raise BrokenRule(expected=f"incarnation {incarnation}", got=site.hello().incarnation)


def stamps_messages(site: Site, _row: Row) -> None:
    """Its messages carry the run and the newest coordinator epoch that it has seen."""
    site.epoch += 1
    site.tell()

    def is_stamped() -> bool:
        last = site.heard[-1].message
        return (last.run, last.epoch) == (site.desired.run, site.epoch)

    wanted = f"messages of run {site.desired.run} and epoch {site.epoch}"
    site.until(is_stamped, wanted, timeout_s=NOTICE_S)


def ignores_replaced_coordinators(site: Site, _row: Row) -> None:
    """Does not obey a coordinator of a lower epoch."""
    site.tell(epoch=site.epoch - 1, should_drain=True)
    began = time.monotonic()
    site.until(lambda: len(site.said(Heartbeat, since=began)) > 2, "heartbeats", timeout_s=NOTICE_S)
    if any(beat.is_draining for beat in site.said(Heartbeat, since=began)):
        raise BrokenRule(expected="an order of an old epoch to be ignored", got="draining")


def serves_without_coordinator(site: Site, row: Row) -> None:
    """Goes on grading, and beating, while the coordinator is silent."""
    site.is_silent = True
    try:
        began = time.monotonic()
        episode = opened(site, open_episodes(row, 1))[0]
        stepped(site, step(episode, 0, row.action))
        site.until(lambda: len(site.said(Heartbeat, since=began)) > 2, "heartbeats", timeout_s=NOTICE_S)
    finally:
        site.is_silent = False


def drains(site: Site, row: Row) -> None:
    """Told to drain it says so, opens nothing new, grades what is open, and says farewell once that is done."""
    episode = opened(site, open_episodes(row, 1))[0]
    site.change(should_drain=True)

    def is_draining() -> bool:
        return any(beat.is_draining for beat in site.said(Heartbeat))

    site.until(is_draining, "a heartbeat with is_draining", timeout_s=NOTICE_S)
    if site.said(Bye):
        raise BrokenRule(expected="no farewell while an episode is open", got="bye")
    refused(site, open_episodes(row, 1), kind=FailureKind.INFRA)
    stepped(site, step(episode, 0, row.action))
    # One that is not done after its turn is given up, as a rollout does at the end of a group.
    site.send(close(episode))
    site.until(lambda: bool(site.said(Bye)), "a bye", timeout_s=LEAVE_S)
    if site.said(Bye)[-1].incarnation != site.hello().incarnation:
        raise BrokenRule(expected="the incarnation of its hello in its bye", got=site.said(Bye)[-1].incarnation)
