"""What grades a run that goes on: the run's folder remembers the reward that it was swapped to.

Pure but for the look at the record.
"""

from collections.abc import Mapping
from dataclasses import replace

from tetrad_cli.prepared import Prepared
from tetrad_config import LoadedConfig, Origin, OriginKind
from tetrad_config.reward_record import FIRST, Edition, changed_keys, read_record
from tetrad_config.section import DottedKey
from tetrad_config.trainer import ResumeMode


def with_current_reward(prepared: Prepared) -> tuple[Prepared, Edition, str | None]:
    """Return the run as it is to go on, the edition of its reward, and what the user should know.

    A key that the command asks for otherwise than when the reward was swapped has the user's word. Where that decides
    what is learnt, `begin` refuses it.
    """
    record = read_record(prepared.run_dir)
    if record is None or prepared.config.trainer.resume_mode is ResumeMode.NONE:
        return prepared, FIRST, None
    config = record.resumed(prepared.config)
    changed = changed_keys(prepared.config, config)
    loaded = LoadedConfig(
        config=config,
        origins=_without(prepared.loaded.origins, changed),
        notices=prepared.loaded.notices,
        run_file=prepared.loaded.run_file,
    )
    return replace(prepared, loaded=loaded), record.current, _notice(record.current, changed)


def _without(origins: Mapping[DottedKey, Origin], keys: list[DottedKey]) -> Mapping[DottedKey, Origin]:
    return {**origins, **{key: Origin(OriginKind.RUN, "tetrad reward swap") for key in keys}}


def _notice(edition: Edition, changed: list[DottedKey]) -> str | None:
    if edition.endpoints:
        return (
            f"the reward was swapped in this run: it comes from {', '.join(edition.endpoints)}, which others keep; "
            "without it nothing is graded. `tetrad reward swap` takes another"
        )
    if edition == FIRST:
        return None
    which = f" ({', '.join(changed)})" if changed else ""
    return f"the reward was swapped in this run, which goes on with the new one{which}"
