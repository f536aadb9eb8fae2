"""Troubles that a run is refused with: of the run file, the machine, models, data and folders. One literal table."""

from typing import Final

from tetrad_cli.troubles.trouble import Trouble, When
from tetrad_runtime.exits import ExitCode

RUN_FILE: Final = (
    Trouble(
        slug="unknown-key",
        title="A key that no run file has",
        says=r"unknown key(;|$| \()",
        cause="A key is misspelt, or belongs to another system; nothing is ignored in silence.",
        fix="Take the key that the message names. `tetrad explain KEY` says what a key does and what is near it.",
        raised="tetrad_config.explain:explained",
        when=When.BEFORE,
        code=ExitCode.CONFIG,
    ),
    Trouble(
        slug="uneven-batch",
        title="Sizes that do not divide each other",
        says=r"does not divide|not divisible by \d+ ranks",
        cause="A step is cut into mini-batches, these over ranks, and there into micro-batches, without a rest.",
        fix="Set one of the sizes that the message names. `tetrad plan` prints the arithmetic.",
        raised="tetrad_config.rules:check",
        when=When.BEFORE,
        code=ExitCode.CONFIG,
    ),
    Trouble(
        slug="too-few-rows",
        title="Fewer prompts than one step takes",
        says=r"prompts per step is more than the \d+ rows",
        cause="`trainer.train_batch_size` counts prompts, and the files of `data.train_data` hold fewer.",
        fix="Set `trainer.train_batch_size` to the number that the message names, or add rows.",
        raised="tetrad_config.plan:plan",
        when=When.BEFORE,
        code=ExitCode.CONFIG,
    ),
)
MACHINE: Final = (
    Trouble(
        slug="sglang-missing",
        title="SGLang is not installed",
        says=r"sglang is not installed",
        cause="`generator.backend` is `sglang`, and no such package can be imported here.",
        fix="On a machine with a GPU make the environment of `docs/how-to/run-on-a-gpu.md`, with "
        "`services/rollout[sglang]` in it; or add the override that the message names (`+experiment=cpu` without a "
        "GPU).",
        raised="tetrad_config.machine:check_machine",
        when=When.BEFORE,
        code=ExitCode.CONFIG,
    ),
    Trouble(
        slug="too-few-gpus",
        title="More GPUs asked for than there are",
        says=r"asks for \d+ GPUs .* this machine has \d+",
        cause="Ranks and engines together ask for more GPUs than `CUDA_VISIBLE_DEVICES` leaves.",
        fix="Add the overrides that the message names; they are the largest learner and engines that fit.",
        raised="tetrad_config.machine:check_machine",
        when=When.BEFORE,
        code=ExitCode.CONFIG,
    ),
    Trouble(
        slug="attention-backend",
        title="An attention backend that the GPU does not run",
        says=r"attention_backend: asks for \w+; it needs compute capability",
        cause="SGLang's fa3 runs on compute capability 8.0 to 9.9, on neither older GPUs nor Blackwell. SGLang itself "
        "says `FlashAttention v3 Backend requires SM>=80`.",
        fix="Leave out `generator.engine_init_kwargs.attention_backend`: it is then chosen by the GPU, and "
        "the log says "
        "why. `+generator.engine_init_kwargs.attention_backend=flashinfer` works on 7.5 and newer.",
        raised="tetrad_config.machine:check_machine",
        when=When.BEFORE,
        code=ExitCode.CONFIG,
    ),
    Trouble(
        slug="model-missing",
        title="There is no such model",
        says=r"there is no such model folder",
        cause="A model is neither a folder here nor a name on the Hub that can be asked, or is in the cache.",
        fix="Correct the path, unset `HF_HUB_OFFLINE`, or run the command that the message names.",
        raised="tetrad_config.machine:check_machine",
        when=When.BEFORE,
        code=ExitCode.CONFIG,
    ),
    Trouble(
        slug="data-missing",
        title="There is no such data file",
        says=r"there is no such file",
        cause="A file of `data.train_data` or `data.val_data` is not there.",
        fix="Correct the path, or make the file by the `tetrad data` command that the message names.",
        raised="tetrad_config.machine:check_machine",
        when=When.BEFORE,
        code=ExitCode.CONFIG,
    ),
    Trouble(
        slug="no-chat-template",
        title="A model without a chat template",
        says=r"has no chat template",
        cause="Prompts are chats; a base model's tokenizer does not say how one is written.",
        fix="Take the instruct model, or copy its `chat_template.jinja` into the folder. `tetrad doctor "
        "--model FOLDER` "
        "looks for it.",
        raised="tetrad_config.machine:check_machine",
        when=When.BEFORE,
        code=ExitCode.CONFIG,
    ),
    Trouble(
        slug="adapter-target-unknown",
        title="Adapters for layers that the model lacks",
        says=r"linear layers of .* between its two ends are",
        cause="A name in `trainer.policy.model.lora.target_modules` or `exclude_modules` is no layer of the model.",
        fix="Take names from the list in the message, or `all-linear`.",
        raised="tetrad_config.machine:check_machine",
        when=When.BEFORE,
        code=ExitCode.CONFIG,
    ),
)
FOLDERS: Final = (
    Trouble(
        slug="run-exists",
        title="The folder holds an earlier run",
        says=r"holds an earlier run",
        cause="Nothing of an earlier run is written over by accident.",
        fix="Set one of the three keys that the message names: go on, clear it, or another name.",
        raised="tetrad_cli.fresh_start:begin",
        when=When.BEFORE,
        code=ExitCode.CONFIG,
    ),
    Trouble(
        slug="learnt-otherwise",
        title="The run was begun with other settings",
        says=r"holds a run that learnt with other settings",
        cause="A key that decides the learning has changed since; what goes on would not be the same run.",
        fix="Set the listed keys back, or choose another `trainer.run_name`.",
        raised="tetrad_cli.fresh_start:begin",
        when=When.BEFORE,
        code=ExitCode.CONFIG,
    ),
    Trouble(
        slug="checkpoint-of-another-model",
        title="A checkpoint of another architecture",
        says=r"is a checkpoint of another model than",
        cause="`trainer.resume_path` was written for a model with tensors of other names or shapes.",
        fix="Set `trainer.policy.model.path` to the model that the checkpoint's run began with, or choose another "
        "checkpoint.",
        raised="tetrad_cli.architecture:refuse_other_architecture",
        when=When.BEFORE,
        code=ExitCode.CONFIG,
    ),
    Trouble(
        slug="checkpoint-damaged",
        title="A checkpoint is not as it was written",
        says=r"is missing or differs from the manifest",
        cause="A file of `global_step_N` was changed, cut off or removed since.",
        fix="Choose another checkpoint. A run that resumes sets a damaged one aside and takes the one "
        "before by itself.",
        raised="tetrad_trajectories.checkpoint:verify",
        when=When.BEFORE,
        code=ExitCode.CONFIG,
    ),
)
DATA: Final = (
    Trouble(
        slug="no-prompt-column",
        title="A dataset without prompts",
        says=r"has no column prompt",
        cause="The file is of another format than SkyRL's rows: `prompt`, `env_class`, `reward_spec`.",
        fix="Write the column, a list of messages with `role` and `content`; `tetrad data --help` lists "
        "what makes such "
        "files, and `tetrad data inspect FILE --model FOLDER` shows them.",
        raised="tetrad_trajectories.row:parse_row",
        when=When.START,
        code=ExitCode.DATA,
    ),
    Trouble(
        slug="prompt-is-text",
        title="A prompt that is plain text",
        says=r"a bare string would bypass the chat template",
        cause="A text would be sent as it is; the model was taught on chats, and every reward would be 0.",
        fix='Write `[{"role": "user", "content": TEXT}]` in its place.',
        raised="tetrad_trajectories.row:parse_row",
        when=When.START,
        code=ExitCode.DATA,
    ),
    Trouble(
        slug="broken-chat-template",
        title="A chat template with an error",
        says=r"the chat template has an error in line",
        cause="The model's Jinja template cannot be read.",
        fix="Mend the line in the model folder's `chat_template.jinja` or `tokenizer_config.json`.",
        raised="tetrad_rollout.rendering:Renderer",
        when=When.START,
        code=ExitCode.CONFIG,
    ),
    Trouble(
        slug="unknown-environment",
        title="No environment of that name",
        says=r"no environment '",
        cause="`environment.env_class`, or a row's `env_class`, names what is neither bundled nor installed.",
        fix="Take the name that the message suggests, or name your own as `package.module:Class` or "
        "`path/to/file.py:function`.",
        raised="tetrad_reward.registry:GraderError",
        when=When.START,
        code=ExitCode.CONFIG,
    ),
    Trouble(
        slug="unknown-engine-argument",
        title="An argument that SGLang does not have",
        says=r"is no argument of the installed SGLang's ServerArgs",
        cause="`generator.engine_init_kwargs` is handed to SGLang as it is, and this release knows no such argument.",
        fix="Take the name that the message suggests; names change between releases of SGLang.",
        raised="tetrad_rollout.engine.sglang.arguments:check_extra",
        when=When.START,
        code=ExitCode.CONFIG,
    ),
)
ENGINE: Final = (
    Trouble(
        slug="engine-share-too-small",
        title="An engine's share of the GPU leaves no room for its KV cache",
        says=r"leave no GPU memory for the KV cache|Please try to increase --mem-fraction-static",
        cause="`generator.gpu_memory_utilization` is the share of a GPU that SGLang takes for weights and KV cache "
        "together (its `--mem-fraction-static`), and the weights alone fill it, or others hold memory there already.",
        fix="Raise `generator.gpu_memory_utilization` to the value that the message names, or end what else holds "
        "memory there. If that is more than 0.95: more GPUs for each engine "
        "(`generator.inference_engine_tensor_parallel_size`), or a smaller model.",
        raised="tetrad_rollout.engine.sglang.start_report:memory_fault",
        when=When.START,
        code=ExitCode.CONFIG,
    ),
    Trouble(
        slug="engine-gpu-full",
        title="The GPU was full before an engine had started",
        says=r"the GPU was full before the engine had started",
        cause="Beside weights and KV cache an engine needs memory for CUDA's context, its graphs and activations, and "
        "others may hold some.",
        fix="Lower `generator.gpu_memory_utilization` by 0.1, then `generator.max_num_seqs`, which the graphs are made "
        "for; end what else holds memory there (`nvidia-smi` names it). `tetrad plan` prints who uses which GPU.",
        raised="tetrad_rollout.engine.sglang.start_report:memory_fault",
        when=When.START,
        code=ExitCode.CONFIG,
    ),
)
STARTING: Final = (*RUN_FILE, *MACHINE, *FOLDERS, *DATA, *ENGINE)
