#!/usr/bin/env python3
"""Many publishers at once: what recording costs, beside nginx-rtmp writing FLV, in one run.

    cargo build --release -p mediahooks && cargo build --release -p mediahooks-testkit --example publish_many
    bench/scale.py --publishers 300 --seconds 60 --kbits 2500

Needs nginx with libnginx-mod-rtmp (Debian) for the comparison; --no-nginx leaves that out. Prints JSON:

  cpu_per_publisher   cores, user and system, of the server process only
  rss_mb_per_publisher  the most it had, less what it had before
  write_amplification bytes written to the disk by the process, per byte of media sent
  dropped             samples that were not kept (must be 0), and recordings that are not as long as what was sent
  clips               --clips clips asked for at once over the first ten timelines, with a webhook on them:
                      seconds until the last answer, and until the last hook; which hooks came, again, out of
                      order (of one clip), and how many were at the receiver at once

The receiver is a process of its own that answers a hook after --hook-ms.
"""

import argparse
import asyncio
import concurrent.futures
import http.client
import json
import multiprocessing
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SECRET = "bench-secret-of-the-scale"


def cpu_s(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def status(pid, name, file="status"):
    for line in pathlib.Path(f"/proc/{pid}/{file}").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    return 0


def publish(args, url):
    program = ROOT / f"target/{args.profile}/examples/publish_many"
    command = [program, url, str(args.publishers), str(args.seconds), str(args.kbits)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measured(args, pid, run):
    before = cpu_s(pid), status(pid, "VmRSS"), status(pid, "write_bytes", "io")
    begun = time.monotonic()
    outcome = run()
    wall = time.monotonic() - begun
    # Starts are spread; what counts is the time that each publishes.
    cpu = (cpu_s(pid) - before[0]) / args.seconds / args.publishers
    sent = args.publishers * args.seconds * args.kbits * 1000 / 8
    return {
        **outcome,
        "wall_s": round(wall, 1),
        "cpu_per_publisher": round(cpu, 5),
        "rss_mb_per_publisher": round((status(pid, "VmHWM") - before[1]) / 1024 / args.publishers, 3),
        "write_amplification": round((status(pid, "write_bytes", "io") - before[2]) / sent, 4),
    }


class Api:
    def __init__(self, address):
        self.address = address

    def call(self, method, path, body=None):
        connection = http.client.HTTPConnection(self.address, timeout=60)
        headers = {"authorization": f"Bearer {SECRET}", "content-type": "application/json"}
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        reply = connection.getresponse()
        text = reply.read().decode()
        connection.close()
        if reply.status >= 300:
            raise SystemExit(f"{method} {path}: {reply.status} {text}")
        return json.loads(text)["data"] if text.startswith("{") else text


class Hooks(asyncio.Protocol):
    """Takes hooks as fast as one process of Python can, which is why it reads of HTTP only what the sender writes."""

    came, here, most, delay = [], 0, 0, 0.0

    def connection_made(self, transport):
        self.transport, self.buffer = transport, b""

    def data_received(self, data):
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            headers = dict(line.split(b": ", 1) for line in self.buffer[:end].lower().split(b"\r\n")[1:])
            whole = end + 4 + int(headers[b"content-length"])
            if len(self.buffer) < whole:
                return
            Hooks.came.append((time.monotonic(), headers[b"webhook-id"].decode(), self.buffer[end + 4 : whole]))
            self.buffer = self.buffer[whole:]
            Hooks.here += 1
            Hooks.most = max(Hooks.most, Hooks.here)
            asyncio.get_running_loop().call_later(Hooks.delay, self.answer)

    def answer(self):
        Hooks.here -= 1
        self.transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")


def receive(pipe, delay):
    """The receiver: tells its port, then for every question the time of the last hook and how many came, at last all."""

    async def serve():
        Hooks.delay = delay
        server = await asyncio.get_running_loop().create_server(Hooks, "127.0.0.1", 0, backlog=512)
        pipe.send(server.sockets[0].getsockname()[1])
        ask = asyncio.Queue()
        asyncio.get_running_loop().add_reader(pipe.fileno(), lambda: ask.put_nowait(pipe.recv()))
        while await ask.get() == "count":
            pipe.send(len({identity for _, identity, _ in Hooks.came}))
        pipe.send((Hooks.came, Hooks.most))

    asyncio.run(serve())


def start_receiver(delay):
    ours, theirs = multiprocessing.Pipe()
    multiprocessing.Process(target=receive, args=(theirs, delay), daemon=True).start()
    return ours, ours.recv()


def start_mediahooks(args, data):
    environment = {**os.environ, "MEDIAHOOKS_API_SECRET": SECRET, "MEDIAHOOKS_METRICS_OPEN": "true"}
    environment["MEDIAHOOKS_WEBHOOK_ALLOW"] = "127.0.0.0/8"
    command = [ROOT / f"target/{args.profile}/mediahooks", "serve", "--data", data]
    command += ["--http", "127.0.0.1:18480", "--rtmp", "127.0.0.1:18435", "--log-format", "json"]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(200):
        try:
            Api("127.0.0.1:18480").call("GET", "/readyz")
            return server
        except OSError:
            time.sleep(0.05)
    raise SystemExit("mediahooks does not start")


def bench_mediahooks(args, work):
    server = start_mediahooks(args, work / "data")
    try:
        api = Api("127.0.0.1:18480")
        body = {"label": "bench", "streams": [{"streamName": ".*", "isRegex": True}], "record": True, "clip": True}
        token = api.call("POST", "/api/publish_token", body)["token"]
        result = measured(args, server.pid, lambda: publish(args, f"rtmp://127.0.0.1:18435/v2/pub/stream{{}}?token={token}"))
        result["dropped"] = dropped(args, api)
        result["clips"] = clips(args, api)
        return result
    finally:
        server.terminate()
        server.wait()


def assets(api, kind):
    found, page = [], 1
    while True:
        more = api.call("GET", f"/api/v3/media/assets?type={kind}&limit=100&page={page}")
        if not more:
            return found
        found, page = found + more, page + 1


def dropped(args, api):
    text = api.call("GET", "/metrics")
    counted = sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith("mediahooks_media_dropped_total"))
    recordings = assets(api, "recording")
    short = [asset for asset in recordings if asset["metadata"]["durationMs"] < args.seconds * 1000 - 50]
    return {"samples": counted, "recordings": len(recordings), "short": len(short)}


def clips(args, api):
    timelines = assets(api, "timeline")[:10]
    receiver, port = start_receiver(args.hook_ms / 1000)
    api.call("POST", "/api/webhooks", {"url": f"http://127.0.0.1:{port}/", "isFeedHooks": False, "isMediaHooks": True})

    def ask(number):
        timeline = timelines[number % len(timelines)]
        body = {"streamName": timeline["feed"]["streamName"], "startTime": timeline["startTime"], "stopTime": timeline["stopTime"]}
        return api.call("POST", "/api/v3/media/assets", body)

    begun = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        made = [asset for answer in pool.map(ask, range(args.clips)) for asset in answer]
    answered = time.monotonic()
    due = 2 * len(made)  # `processing` and `completed`
    while hooks(receiver, "count") < due and time.monotonic() < answered + 60:
        time.sleep(0.05)
    came, most = hooks(receiver, "all")
    return {
        "asked": args.clips,
        "complete": sum(asset["status"] == "complete" for asset in made),
        "seconds": round(answered - begun, 2),
        "hooks": {**judged({asset["id"] for asset in made}, came), "seconds": round(came[-1][0] - begun, 2), "at_once": most},
    }


def hooks(receiver, question):
    receiver.send(question)
    return receiver.recv()


def judged(made, came):
    """What is told of each clip, in the order of arrival."""
    told, known = {asset: [] for asset in made}, set()
    for _, identity, body in came:
        hook = json.loads(body)
        if identity not in known:
            told[hook["data"]["mediaAssetId"]].append(hook["event"])
        known.add(identity)
    in_order = sum(events == ["processing", "completed"] for events in told.values())
    missing = sum(2 - len(events) for events in told.values())
    return {"came": len(known), "missing": missing, "again": len(came) - len(known), "clips_in_order": in_order}


NGINX = """
load_module modules/ngx_rtmp_module.so;
daemon off; worker_processes 1; pid {work}/nginx.pid; error_log {work}/error.log;
events {{ worker_connections 4096; }}
rtmp {{ server {{ listen 127.0.0.1:18436; chunk_size 65536;
  application v2/pub {{ live on; record all; record_path {work}; }} }} }}
"""


def bench_nginx(args, work):
    work.chmod(0o777)
    configuration = work / "nginx.conf"
    configuration.write_text("user root;\n" + NGINX.format(work=work))
    server = subprocess.Popen(["nginx", "-p", "/usr/share/nginx", "-c", configuration])
    try:
        time.sleep(1)
        children = pathlib.Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        return measured(args, int(children[0]), lambda: publish(args, "rtmp://127.0.0.1:18436/v2/pub/stream{}"))
    finally:
        server.terminate()
        server.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--publishers", type=int, default=300)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--kbits", type=int, default=2500)
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--hook-ms", type=float, default=0, help="how long the receiver of hooks takes for one")
    parser.add_argument("--profile", default="release", help="target directory of the programs")
    parser.add_argument("--data", type=pathlib.Path, help="where both write; default: the system's temporary directory")
    parser.add_argument("--no-nginx", action="store_true")
    args = parser.parse_args()
    result = {"publishers": args.publishers, "seconds": args.seconds, "kbits": args.kbits}
    with tempfile.TemporaryDirectory(dir=args.data) as work:
        result["mediahooks"] = bench_mediahooks(args, pathlib.Path(work))
    if not args.no_nginx and shutil.which("nginx"):
        with tempfile.TemporaryDirectory(dir=args.data) as work:
            result["nginx_rtmp"] = bench_nginx(args, pathlib.Path(work))
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
