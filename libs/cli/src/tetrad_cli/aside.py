"""Evaluation beside an earlier run: in a temporary folder, so that no file of that run changes.

Owns the overrides that move a run there. A run that trains is never moved.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tetrad_cli.fresh_start import holds_run
from tetrad_cli.prepared import Prepared, prepare
from tetrad_cli.run_options import RunOptions
from tetrad_runtime.exits import ConfigFault

PREFIX: Final = "tetrad-eval-"


@contextmanager
def prepared_to_launch(options: RunOptions, *, environ: Mapping[str, str]) -> Iterator[Prepared]:
    """Prepare a run. One that only evaluates, and whose folder holds an earlier run, is moved to a temporary folder.

    Raises what `prepare` does, and ConfigFault where answers would be written into the earlier run.
    """
    prepared = prepare(options, environ=environ)
    if prepared.config.trainer.epochs > 0 or not holds_run(prepared.run_dir):
        yield prepared
        return
    dump = _dump_folder(prepared)
    with TemporaryDirectory(prefix=PREFIX) as folder:
        yield prepare(options.with_overrides(*moved_to(Path(folder), dump=dump)), environ=environ)


def moved_to(folder: Path, *, dump: Path | None) -> tuple[str, ...]:
    """Return the overrides by which a run lives in a folder, and writes answers to `dump` where it is to."""
    words = [assigned("trainer.run_dir", str(folder / "run")), "trainer.ckpt_path=null"]
    return (*words, assigned("trainer.export_path", str(dump))) if dump is not None else tuple(words)


def assigned(key: str, value: str) -> str:
    """Return the override that sets a key to a text, whatever signs are in it."""
    return f"{key}={json.dumps(value)}"


def _dump_folder(prepared: Prepared) -> Path | None:
    """Where the user wants the answers; None where they are not asked for."""
    trainer = prepared.config.trainer
    if not trainer.dump_eval_results:
        return None
    folder = trainer.export_path.resolve()
    if folder.is_relative_to(prepared.run_dir):
        raise ConfigFault(
            f"{prepared.run_dir} holds an earlier run, which evaluation leaves as it is; set trainer.export_path to a "
            "folder elsewhere for the answers"
        )
    return folder
