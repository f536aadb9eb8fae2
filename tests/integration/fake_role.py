"""A role for launcher tests: serves /healthz and does as its options say. Standard library only."""

import argparse
import http.server
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

options = argparse.ArgumentParser()
options.add_argument("--port", type=int, default=int(os.environ["ROLE_PORT"]))
options.add_argument("--name", default=os.environ["ROLE_NAME"])
options.add_argument("--diary", type=Path, required=True, help="gets a line at start and at stop")
options.add_argument("--unhealthy", action="store_true", help="never says 200")
options.add_argument("--healthy-file", type=Path, help="says 200 once this file is there")
options.add_argument("--healthy-but-index", nargs=2, metavar=("N", "FILE"), help="the same, for one replica alone")
options.add_argument("--unready", action="store_true", help="says 200 on /healthz only")
options.add_argument("--crash", type=int, help="exit at once with this code")
options.add_argument("--deaf-grandchild", action="store_true", help="start a child that ignores SIGTERM")
options.add_argument("--deaf", action="store_true", help="ignore SIGTERM")
options.add_argument("--exit-file", type=Path, help="exit with the code in this file once it exists")
options.add_argument(
    "--bursts", type=int, default=0, help="fill the log so often, each time once it was cut to nothing"
)
role = options.parse_args()

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"


def write(line: str) -> None:
    with role.diary.open("a") as diary:
        diary.write(f"{line} {role.name} {os.getpid()}\n")


def on_term(_number: int, _frame: object) -> None:
    write("stop")
    os._exit(0)


def is_held() -> bool:
    if role.healthy_file is not None:
        return not role.healthy_file.exists()
    if role.healthy_but_index is not None and role.name.endswith(f"-{role.healthy_but_index[0]}"):
        return not Path(role.healthy_but_index[1]).exists()
    return False


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        is_ok = not role.unhealthy and not is_held() and (self.path == "/healthz" or not role.unready)
        self.send_response(200 if is_ok else 503)
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        pass


write("start")
print(f"hello from {role.name}", flush=True)
if role.crash is not None:
    print("boom: the engine is on fire", flush=True)
    sys.exit(role.crash)
signal.signal(signal.SIGTERM, signal.SIG_IGN if role.deaf else on_term)
if role.deaf_grandchild:
    child = subprocess.Popen([sys.executable, "-c", DEAF], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    write(f"grandchild {child.pid} of")
server = http.server.HTTPServer(("127.0.0.1", role.port), Page)
threading.Thread(target=server.serve_forever, daemon=True).start()
write("serve")
for burst in range(role.bursts):
    print("".join(f"burst {burst} line {line} of {role.name}\n" for line in range(500)), end="", flush=True)
    while os.fstat(sys.stdout.fileno()).st_size:
        time.sleep(0.01)
if role.bursts:
    print("said all", flush=True)
    write("said")
while True:
    if role.exit_file is not None and role.exit_file.exists():
        write("exit")
        os._exit(int(role.exit_file.read_text()))
    time.sleep(0.02)
