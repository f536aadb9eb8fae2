"""Troubles of a run that goes on: memory, weights, steps, ranks, prompts. One literal table."""

from typing import Final

from tetrad_cli.troubles.trouble import Trouble, When
from tetrad_runtime.exits import ExitCode

RUNNING: Final = (
    Trouble(
        slug="micro-batches-cut-smaller",
        title="Memory ran out, and smaller micro-batches do",
        says=r"micro_batches_cut_smaller|all ranks begin again with smaller ones",
        cause="A micro-batch did not fit into memory. The mini-batch was begun again with smaller ones, and "
        "its gradient "
        "is the same: the loss divides by counts of the whole mini-batch. Several ranks all begin again from the last "
        "checkpoint, since the others wait within a collective.",
        fix="Nothing has to be done. To begin with what fits, set what the warning names under `fix`, such as "
        "`trainer.micro_train_batch_size_per_gpu=4`.",
        raised="tetrad_learner.rank.step_warnings:warn_of_shortage",
        when=When.RUNNING,
    ),
    Trouble(
        slug="out-of-memory",
        title="A single sample does not fit into the learner's memory",
        says=r"each micro-batch is a single sample already|: out of memory: (?!.*smaller)",
        cause="Micro-batches were made smaller until each was one sample, or the model alone does not fit.",
        fix="Set the first key that the message names, `trainer.gradient_checkpointing=true` where it is off; then "
        "`trainer.policy.fsdp_config.cpu_offload=true`, a shorter `generator.sampling_params.max_generate_length`, "
        "adapters (`trainer.policy.model.lora.rank`), or more ranks. `tetrad plan` prints memory by role.",
        raised="tetrad_learner.trainer.errors:MemoryShortError",
        when=When.RUNNING,
        code=ExitCode.ENVIRONMENT,
    ),
    Trouble(
        slug="engine-cannot-wake",
        title="An engine finds less free memory than it gave back",
        says=r"needs [\d.]+ GiB \(\d+ bytes\) for .* are free on",
        cause="Engine and learner take turns on one GPU. When the engine's turn came again, more was held there than "
        "it had left: by the ranks' CUDA contexts and publishing buffers, or by another program. It tries again until "
        "the memory is there.",
        fix="Lower `generator.gpu_memory_utilization` by the share that is lacking, or end what else holds memory "
        "there (`nvidia-smi` names it). Fewer samples at once (`generator.max_num_seqs`) make its graphs smaller.",
        raised="tetrad_rollout.device_keeper:MemoryShortError",
        when=When.RUNNING,
    ),
    Trouble(
        slug="weight-sync-timeout",
        title="An engine did not take new weights over in time",
        says=r"had not taken version \d+ over within|was not copied within|was not offered within",
        cause="The message names the version, the phase (staging, committing, proving), the replica and its peer; of a "
        "transfer also the chunk, or the collective's bucket and ranks. The engine is left out and tries again; the "
        "others go on.",
        fix="If the phase is slow and not stuck, raise `generator.weight_sync_timeout` (seconds). If it is stuck, look "
        "at the peer that is named; `tetrad why` says what the learner waits for.",
        raised="tetrad_rollout.weights.errors:SyncDeadlineError",
        when=When.RUNNING,
    ),
    Trouble(
        slug="publish-timeout",
        title="The broadcaster did not take new weights in time",
        says=r"had not accepted version \d+ from rank 0 within",
        cause="Rank 0 offered a version, and the broadcaster was gone, busy with engines that still read, or short of "
        "memory; the reason follows the colon. After several attempts the run fails.",
        fix="Look at the reason and at `logs/broadcaster.log`; raise `generator.weight_sync_timeout` "
        "(seconds) for large "
        "models.",
        raised="tetrad_learner.publishing:PublishDeadlineError",
        when=When.RUNNING,
        code=ExitCode.PEER_LOST,
    ),
    Trouble(
        slug="group-broken",
        title="A collective between broadcaster and engine broke",
        says=r"the process group with .* broke in",
        cause="A process of the group died or was late; the message names the peer, the phase and the "
        "bucket. A new group "
        "is made, then sockets are used.",
        fix="Nothing where it is rare. Else set `generator.weight_sync_backend=gloo`, or mend the network "
        "between them.",
        raised="tetrad_weights.errors:GroupBrokenError",
        when=When.RUNNING,
    ),
    Trouble(
        slug="weights-damaged",
        title="Weights arrived otherwise than they were sent",
        says=r"has digest \w+; its manifest says",
        cause="Memory or network changed bytes on the way. They are never loaded; the version is asked for again.",
        fix="If it repeats, have the memory and the network of the host tested.",
        raised="tetrad_weights.errors:DigestMismatchError",
        when=When.RUNNING,
    ),
    Trouble(
        slug="shared-memory-short",
        title="No room in shared memory",
        says=r"a segment needs \d+ bytes in",
        cause="Weights lie in `/dev/shm` on their way to engines of the host, two versions of them; "
        "containers have 64 MB.",
        fix="Enlarge it (`--shm-size=8g`, an `emptyDir` of medium `Memory`), or remove what fills it.",
        raised="tetrad_weights.errors:SegmentAllocationError",
        when=When.RUNNING,
        code=ExitCode.ENVIRONMENT,
    ),
    Trouble(
        slug="poisoned-step",
        title="A loss or gradient that is not finite",
        says=r"the step is poisoned",
        cause="A reward, a log-probability or a gradient was NaN or infinite. Nothing of it was applied; the batch is "
        "kept below `poisoned/`.",
        fix="Look into it by the `tetrad replay --dump` that the message names, then go on past it with "
        "`--skip-step N`.",
        raised="tetrad_learner.trainer.errors:NonFiniteError",
        when=When.RUNNING,
        code=ExitCode.DATA,
    ),
    Trouble(
        slug="prompt-too-long",
        title="A prompt longer than the run allows",
        says=r"tokens; trainer\.max_prompt_length is \d+",
        cause="Rendered with the chat template it has more tokens than `trainer.max_prompt_length`. It is dropped and "
        "counted, and the run goes on.",
        fix="Raise `trainer.max_prompt_length`, or remove the rows: `tetrad data inspect FILE --model "
        "FOLDER` says which.",
        raised="tetrad_rollout.rendering:PromptTooLongError",
        when=When.RUNNING,
    ),
    Trouble(
        slug="template-refuses-prompt",
        title="A prompt that the chat template does not take",
        says=r"the chat template refuses messages by",
        cause="Some templates know no system prompt, or want roles to alternate, and say so. The prompt is dropped.",
        fix="Change the prompts as the message says, or the model's template.",
        raised="tetrad_rollout.rendering:RenderingError",
        when=When.RUNNING,
    ),
    Trouble(
        slug="ranks-silent",
        title="Ranks that make no progress",
        says=r"no progress from the ranks for \d+ s",
        cause="A rank hangs, in a collective mostly; the message says what each does, and for how long.",
        fix="They begin again by themselves. If it repeats, look at the rank that is named first, and at its host.",
        raised="tetrad_learner.coordinator.rank_set:RankSet",
        when=When.RUNNING,
    ),
    Trouble(
        slug="no-certified-engine",
        title="No engine runs the newest weights",
        says=r"no engine certified for version \d+ within",
        cause="Every engine is gone, or none could take the version over. What was learnt has been saved.",
        fix="Look at `logs/rollout-*.log`; `trainer.stall_timeout` (seconds) is how long the learner waits.",
        raised="tetrad_learner.coordinator.core.patience:Patience",
        when=When.RUNNING,
        code=ExitCode.ENGINE,
    ),
)
