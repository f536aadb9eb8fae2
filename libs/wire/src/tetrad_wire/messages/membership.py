"""Who is there and what they should do: one registry, desired state.

A service says Hello, then Heartbeats; the coordinator answers each change and each heartbeat with the full
Desired state. Repeating any of them is safe.
"""

from enum import StrEnum

import msgspec

from tetrad_wire.durations import require_not_negative, require_positive
from tetrad_wire.ids import Incarnation, PolicyVersion, RunId, Token


class Role(StrEnum):
    """The kinds of process."""

    TRAINER = "trainer"
    """One rank of the learner."""
    ROLLOUT = "rollout"
    """An engine and its episodes."""
    REWARD = "reward"
    """Environments and graders."""
    BROADCASTER = "broadcaster"
    """Has the newest versions from the learner, for every engine."""
    RELAY = "relay"
    """The broadcaster's agent on another host."""
    HOST = "host"
    """Starts the trainer ranks of a host that is not the coordinator's."""


class CachePolicy(StrEnum):
    """What a commit did with the engine's KV cache."""

    FLUSH = "flush"
    KEEP = "keep"


class RunState(StrEnum):
    """States of a run, as the ledger records them."""

    STARTING = "starting"
    """No version of this start is out yet."""
    RUNNING = "running"
    """Groups are leased and trained."""
    STALLED = "stalled"
    """There is work, but no engine is certified for it."""
    DRAINING = "draining"
    """Nothing new is drawn; the last checkpoint and evaluation are made."""
    ENDED = "ended"
    """All steps are trained and saved, or it was stopped in order."""
    FAILED = "failed"
    """It cannot go on without somebody's help; the reason says whose."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be granted or trained."""
        return self in (RunState.ENDED, RunState.FAILED)


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """Proof of what an engine runs, made after the load."""

    run: RunId
    incarnation: Incarnation
    """The engine's process start; a certificate dies with it."""
    version: PolicyVersion
    digest: str
    """Manifest digest of the committed weights."""
    cache_policy: CachePolicy
    is_probe_ok: bool
    """Whether the engine computed finite numbers after the commit."""


class EngineMemory(StrEnum):
    """What a colocated engine holds of its GPU, or may hold."""

    ASLEEP = "asleep"
    """Nothing: neither weights nor KV cache."""
    WEIGHTS = "weights"
    """Its weights and the stage for new ones, no KV cache."""
    AWAKE = "awake"
    """Everything: it may be built, and serve."""


class MemoryFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes, as a process sees them: on its GPU where it has one, in the host's memory otherwise."""

    used: int
    """That this process holds."""
    reserved: int = 0
    """That its allocator keeps beyond that for later; 0 where it keeps none."""
    free: int = 0
    """Of the whole device, for anybody."""
    total: int = 0
    """Of the whole device; 0 where it is not known."""
    gpu: str = ""
    """UUID of the GPU; empty for the host's memory."""


class DeviceOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What colocated engines may hold of their GPUs from now on."""

    turn: int
    """Grows with every change, over restarts of the coordinator too; a lower one than was followed means nothing."""
    memory: EngineMemory
    engines: tuple[Incarnation, ...]
    """Process starts that it is about; any other colocated one holds nothing until it is among them."""


class DeviceReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a colocated engine holds of its GPU."""

    turn: int
    """Of the newest order that it has obeyed; -1 before the first."""
    memory: EngineMemory
    """What it may be holding: more than the order says while it obeys."""
    digest: str = ""
    """Manifest digest of the weights that it has committed and still holds; empty without any."""
    problem: str = ""
    """Why it has not obeyed the newest order yet, where it has tried."""
    figures: MemoryFigures | None = None
    """Bytes at this moment."""


class RolloutOffer(msgspec.Struct, frozen=True, kw_only=True):
    """What a rollout replica can do."""

    engine: str
    """Name of the engine, such as `transformers`."""
    credit: int
    """Groups it takes at once."""
    honours_seeds: bool
    """Whether equal seeds give equal samples."""
    is_deterministic: bool
    """Whether samples do not depend on what shares a forward batch."""
    is_colocated: bool = False
    """Whether it shares its GPUs with the learner, and holds of them what `Desired.device` says."""
    started: int = 0
    """When its process started, in clock ticks after boot (field 22 of /proc/PID/stat); 0 where it is not colocated."""


class EnvironmentOffer(msgspec.Struct, frozen=True, kw_only=True):
    """One environment class that a reward replica serves."""

    name: str
    """The `env_class` of prompts that it grades."""
    grader_version: str
    """Changes whenever grading may change; pinned for each group."""
    is_replayable: bool = False
    """Whether recorded actions lead to the same observations and rewards."""


class RewardOffer(msgspec.Struct, frozen=True, kw_only=True):
    """What a reward replica can do."""

    environments: tuple[EnvironmentOffer, ...]
    """What it grades."""
    credit: int
    """Episodes it holds at once."""
    serves_any: bool = False
    """Whether it grades rows of every environment class by one implementation."""
    edition: int = 1
    """Which of the run's reward implementations it belongs to: 1 is the first; 0 stands by until a swap names it."""


class RanksOrder(msgspec.Struct, frozen=True, kw_only=True):
    """The set of trainer ranks that should run now; each host named in it runs its part, any other runs none."""

    incarnation: Incarnation
    """Of the set; another one means that what ran before must end first."""
    hosts: tuple[Incarnation, ...]
    """Process starts of the hosts, in the order of nodes: the first is node 1, since node 0 is the coordinator's."""
    ranks_per_host: int
    """On each of them, and on the coordinator's."""
    rendezvous: str
    """HOST:PORT of the store at which torchrun on every host meets."""
    num_steps: int
    """Training steps of the whole run."""
    steps_per_epoch: int
    """Training steps of one pass over the data."""
    load: str = ""
    """Checkpoint folder to continue from; empty begins with the model."""
    micro_batch_divisor: int = 1
    """By how much the configured size of micro-batches is divided: they did not fit into memory as they were."""


class RanksReport(msgspec.Struct, frozen=True, kw_only=True):
    """What has become of a set of ranks on one host."""

    incarnation: Incarnation
    """Of the set."""
    is_running: bool
    """Whether this host's part was started and has not ended."""
    reason: str = ""
    """Why its part is over; empty while it runs."""


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """Registers a process start with the coordinator."""

    role: Role
    name: str
    """Stable name of the replica, such as `rollout-0`."""
    incarnation: Incarnation
    endpoint: str = ""
    """Where it binds, if it binds."""
    metrics_url: str = ""
    """Where its metrics and health are served; empty if nowhere."""
    host: str
    """Name of the machine; segments and GPUs are shared within one."""
    pid: int
    """Process id on that machine."""
    gpus: tuple[str, ...] = ()
    """UUIDs of the GPUs it uses."""
    rollout: RolloutOffer | None = None
    """What a rollout replica can do; nil for other roles."""
    reward: RewardOffer | None = None
    """What a reward replica can do; nil for other roles."""
    versions: dict[str, str] = {}
    """Installed versions of what matters, for the log."""


class Grading(msgspec.Struct, frozen=True, kw_only=True):
    """Turns of a lease that wait for their grades."""

    num_turns: int
    """Turns that wait now; at least 1."""
    replica: str
    """Name of the reward replica that has had one of them for longest."""
    seconds: float
    """For how long it has had it."""

    def __post_init__(self) -> None:
        """There is a turn, and the time is finite and not negative."""
        if self.num_turns < 1:
            raise ValueError(f"num_turns is {self.num_turns}; without a turn nothing is graded")
        require_not_negative(self.seconds, "seconds")


class LeaseProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a held lease has come."""

    token: Token
    progress: int
    """Tokens and turns so far; a larger number renews the lease."""
    grading: Grading | None = None
    """What of it is with the reward service; nil while nothing is."""


class WeightPhase(StrEnum):
    """What a rollout is doing to run the wanted version."""

    WAITING = "waiting"
    """It knows no broadcaster, or pauses after a failure."""
    STAGING = "staging"
    """Its bytes are being fetched into a buffer beside the engine, which serves."""
    COMMITTING = "committing"
    """The engine switches to it."""
    PROVING = "proving"
    """The engine is probed, to be certified."""


class WeightProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a rollout is with a version that it does not run yet."""

    version: PolicyVersion
    """The one that is wanted."""
    phase: WeightPhase
    seconds: float
    """For how long it has been in this phase."""
    problem: str = ""
    """Why the last attempt failed; empty without one."""

    def __post_init__(self) -> None:
        """The time is finite and not negative."""
        require_not_negative(self.seconds, "seconds")


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """Sent every `Desired.heartbeat_s`; proves the loop, not only the process."""

    incarnation: Incarnation
    generation: int
    """Generation of the Desired state that it follows."""
    credit: int = 0
    """Groups (rollout) or episodes (reward) it would take now."""
    certificate: Certificate | None = None
    """What a rollout's engine runs; nil while it runs nothing that is proved."""
    leases: tuple[LeaseProgress, ...] = ()
    """Every lease it holds."""
    holds: tuple[PolicyVersion, ...] = ()
    """Versions a broadcaster can serve."""
    is_draining: bool = False
    """Whether it wants to leave once what it holds is done."""
    device: DeviceReport | None = None
    """What a colocated rollout's engine holds of its GPU; nil for everyone else."""
    ranks: RanksReport | None = None
    """The newest set of ranks on a host that was asked for one; nil for everyone else."""
    activity: str = ""
    """What a trainer rank does at the moment, in a few words; empty while it waits for an order."""
    activity_s: float = 0.0
    """Seconds that it has been doing this."""
    weights: WeightProgress | None = None
    """How far a rollout is with the wanted version; nil once it runs it."""


class RouteUse(StrEnum):
    """What rollouts may open on a reward replica; open episodes go on wherever they are."""

    OPEN = "open"
    """Episodes of any group."""
    PINNED = "pinned"
    """Episodes of groups that are pinned to its grader: another implementation has taken its place."""
    CLOSING = "closing"
    """Nothing: it leaves once its episodes are done."""


class RewardRoute(msgspec.Struct, frozen=True, kw_only=True):
    """A reward replica that rollouts may reach."""

    name: str
    """Stable name of the replica, such as `reward-0`."""
    incarnation: Incarnation
    endpoint: str
    """Where it binds."""
    offer: RewardOffer
    public_key: str = ""
    """Key by which it is known to the coordinator; empty where no keys are used."""
    use: RouteUse = RouteUse.OPEN
    """What may be opened there."""


class WantedWeights(msgspec.Struct, frozen=True, kw_only=True):
    """The policy version that engines should run."""

    version: PolicyVersion
    digest: str
    """Of its manifest."""
    step: int
    """Training step that made it; 0 is the initial model."""


class Desired(msgspec.Struct, frozen=True, kw_only=True):
    """The full state that a peer should reconcile itself with."""

    generation: int
    """Grows with every change of the desired state."""
    state: RunState
    run: RunId
    weights: WantedWeights | None = None
    """What engines should run; nil until the first version is published."""
    rewards: tuple[RewardRoute, ...] = ()
    """Every reward replica that holds or may hold episodes; those that stand by are left out."""
    broadcaster: str = ""
    """Endpoint of the broadcaster; empty while there is none."""
    broadcaster_key: str = ""
    """Key by which the broadcaster is known to the coordinator; empty where no keys are used."""
    heartbeat_s: float = 2.0
    """How often the peer should send a Heartbeat."""
    liveness_s: float = 10.0
    """A peer silent for this long is presumed dead."""
    device: DeviceOrder | None = None
    """What colocated engines may hold of their GPUs; nil where learner and engines share none."""
    ranks: RanksOrder | None = None
    """The trainer ranks that hosts should run; nil where there are none now, or none beside the coordinator's host."""
    should_drain: bool = False
    """Whether this peer should finish what it holds and leave."""
    should_register: bool = False
    """Whether the coordinator does not know this peer and wants its Hello."""

    def __post_init__(self) -> None:
        """Both durations are finite and above 0: a peer takes its rhythm from them."""
        require_positive(self.heartbeat_s, "heartbeat_s")
        require_positive(self.liveness_s, "liveness_s")


class Bye(msgspec.Struct, frozen=True, kw_only=True):
    """A peer leaves for good and holds nothing any more."""

    incarnation: Incarnation
    reason: str
    """For the log."""
