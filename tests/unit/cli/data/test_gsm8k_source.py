"""GSM8K from the Hub, played by a server on this host; and what is said where there is no Hub."""

import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tetrad_trajectories.dataset import Dataset

FIXTURE = Path(__file__).parent / "gsm8k_fixture"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """Serves openai/gsm8k as the Hub does: one file for each split, named by commit and ETag."""

    def do_HEAD(self):  # the name that http.server calls
        self._answer()

    def do_GET(self):
        self.wfile.write(self._answer())

    def log_message(self, *_):
        """Stay silent."""

    def _answer(self):
        split = self.path.split("/")[-1].split("-")[0]
        content = parquet_of(split) if "/datasets/openai/gsm8k/resolve/" in self.path else b""
        self.send_response(200 if content else 404)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{split}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        return content


def parquet_of(split):
    problems = [json.loads(line) for line in (FIXTURE / f"{split}.jsonl").read_text().splitlines()]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(problems), sink)
    return sink.getvalue().to_pybytes()


@pytest.fixture
def hub():
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(timeout=10)


def prepare(folder, **environment):
    code = "import sys; from tetrad_cli.data import command; sys.exit(command(sys.argv[1:]))"
    return subprocess.run(
        [sys.executable, "-c", code, "gsm8k", "--output-dir", str(folder / "out")],
        env={**os.environ, "HF_HOME": str(folder / "hub"), "HF_HUB_DISABLE_XET": "1", **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_without_a_source_the_problems_come_from_the_hub(tmp_path, hub):
    done = prepare(tmp_path, HF_ENDPOINT=hub)

    assert done.returncode == 0, done.stderr
    assert [row.ground_truth for row in Dataset.read([tmp_path / "out/train.parquet"])] == ["5", "70000", "-5"]
    assert len(Dataset.read([tmp_path / "out/validation.parquet"])) == 2


def test_without_a_hub_the_error_names_the_way_out(tmp_path):
    done = prepare(tmp_path, HF_HUB_OFFLINE="1")

    assert done.returncode == 2
    assert "openai/gsm8k cannot be fetched from the Hub" in done.stderr
    assert "--source DIR" in done.stderr
    assert "Traceback" not in done.stderr
