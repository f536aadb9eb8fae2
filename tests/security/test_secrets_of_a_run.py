"""A real run that holds three secrets in its environment and uses one: none is in anything that it writes or shows."""

import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from chaos.run_under_test import RunUnderTest
from unit.reward.judge_server import JudgeServer, a_judge_server

pytestmark = [pytest.mark.live, pytest.mark.long, pytest.mark.timeout(600)]

SECRETS = {
    "HF_TOKEN": "hf_SecretOfTheTestHuggingFace",
    "WANDB_API_KEY": "5ec2e70f7e57" + "0" * 28,
    "OPENAI_API_KEY": "sk-secret-of-the-test-judge",
}
PAGES = ("metrics", "healthz", "readyz", "why")


@pytest.fixture
def judge() -> Iterator[JudgeServer]:
    with a_judge_server() as server:
        yield server


@pytest.fixture
def run(tmp_path: Path, judge: JudgeServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunUnderTest]:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = RunUnderTest(tmp_path / "run")
    run.overrides += (
        "trainer.max_steps=1",
        "trainer.ckpt_interval=-1",
        "trainer.logger=[console,wandb]",
        "reward.implementation=llm_judge",
        f"environment.skyrl_gym.llm_as_a_judge.base_url={judge.url}",
    )
    yield run
    run.stop()


def test_no_secret_of_the_environment_is_written_or_shown(run: RunUnderTest, judge: JudgeServer) -> None:
    # Held at the judge's, so that every service still runs while its pages are read.
    judge.hold.clear()
    run.start()
    run.until(lambda: judge.requests != [], "the judge is asked", timeout_s=240)
    pages = [page for one in run.instances() if one.port for page in pages_at(one.port)]
    judge.hold.set()

    assert run.finish(timeout_s=300) == 0, run.last_words()

    written = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}
    assert judge.requests[0][1]["Authorization"] == f"Bearer {SECRETS['OPENAI_API_KEY']}"
    assert {path.name for path in written} >= {"config.yaml", "train.log", "reward-0.log", "learner.log"}
    assert [path for path in written if path.suffix == ".wandb"]
    assert len(pages) >= 4 * 3
    for secret in SECRETS.values():
        assert not [path for path, text in written.items() if secret.encode() in text]
        assert not [page for page in pages if secret.encode() in page]


def pages_at(port: int) -> Iterator[bytes]:
    for name in PAGES:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{name}", timeout=10) as page:
                yield page.read()
        except urllib.error.HTTPError as refusal:  # not ready, or a page that this service has not
            yield refusal.read()
