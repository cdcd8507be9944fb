#!/usr/bin/env python3
"""Measures how soon clips and recordings are there. Prints figures; asserts nothing.

Runs the release binary and a real ffmpeg publishing in real time on loopback, then prints
 - for clips of the running broadcast: request to answer, request to first byte of the file,
   request to `completed` at a webhook endpoint (each p50, p90, p99, max), and beside them what the
   same machine needs for a bare HTTP exchange and for one durable write: the limits below it all;
 - for the recording of that broadcast, and for one of ten minutes (encoded before, sent as fast as it is
   taken): the publisher's exit to `completed` at the endpoint.

Usage: bench/latency.py [--clips 200] [--seconds 60] [--binary target/release/mediahooks]
Needs: ffmpeg. Python's standard library only.
"""

import argparse
import http.client
import http.server
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime, timedelta, timezone

SECRET = "bench-secret-bench-secret"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Hooks(http.server.ThreadingHTTPServer):
    """Remembers when each event of each asset arrived."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), HookHandler)
        self.seen = {}
        self.bodies = {}
        self.arrived = threading.Condition()

    def wait(self, asset, event, timeout=30):
        with self.arrived:
            found = self.arrived.wait_for(lambda: (asset, event) in self.seen, timeout)
            return self.seen[(asset, event)] if found else None


class HookHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # One packet an answer, at once: the figures are not to be those of delayed acknowledgements.
    wbufsize = 1 << 16
    disable_nagle_algorithm = True

    def do_POST(self):
        now = time.perf_counter()
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()
        self.wfile.flush()
        subject = body["data"].get("mediaAssetId") or body["data"].get("feedId")
        with self.server.arrived:
            self.server.seen[(subject, body["event"])] = now
            self.server.bodies[(subject, body["event"])] = body
            self.server.arrived.notify_all()

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass


class Api:
    last = 0.0

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port)

    def call(self, method, path, body=None):
        payload = None if body is None else json.dumps(body)
        if time.monotonic() - self.last > 10:
            # The server closes connections that are idle for long.
            self.connection.close()
        self.last = time.monotonic()
        self.connection.request(method, path, payload, {"authorization": f"Bearer {SECRET}"})
        reply = json.loads(self.connection.getresponse().read())
        if reply["status"] != "success":
            raise SystemExit(f"{method} {path}: {reply}")
        return reply["data"]


def wait_ready(port):
    for _ in range(400):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.025)
    raise SystemExit("the server did not become ready")


def show(name, values):
    values = sorted(values)
    at = lambda share: values[min(len(values) - 1, int(share * len(values)))] * 1000
    print(f"{name:<44} n={len(values):<4} p50 {at(0.5):7.2f}  p90 {at(0.9):7.2f}  p99 {at(0.99):7.2f}  max {values[-1] * 1000:7.2f} ms")


def bare_limits(directory, hooks):
    exchanges, writes = [], []
    connection = http.client.HTTPConnection("127.0.0.1", hooks.server_port)
    for _ in range(200):
        start = time.perf_counter()
        connection.request("GET", "/")
        connection.getresponse().read()
        exchanges.append(time.perf_counter() - start)
    with open(os.path.join(directory, "probe"), "wb") as probe:
        for _ in range(200):
            start = time.perf_counter()
            probe.write(b"x" * 4096)
            probe.flush()
            os.fdatasync(probe.fileno())
            writes.append(time.perf_counter() - start)
    show("limit: one HTTP exchange (python server)", exchanges)
    show("limit: one 4 KiB append + fdatasync", writes)


def publish(rtmp, token, seconds):
    return subprocess.Popen(
        ["ffmpeg", "-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=30"]
        + ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", str(seconds), "-c:v", "libx264"]
        + ["-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "60", "-b:v", "2500k", "-c:a", "aac", "-f", "flv"]
        + [f"rtmp://127.0.0.1:{rtmp}/v2/pub/bench?token={token}"],
        stdin=subprocess.DEVNULL,
    )


def measure_clips(api, hooks, count):
    answers, firsts, told = [], [], []
    for number in range(count):
        begin = datetime.now(timezone.utc) - timedelta(seconds=10)
        start = time.perf_counter()
        clip = api.call("POST", "/api/v3/media/assets", {"streamName": "bench", "startTime": begin.isoformat()})[0]
        answers.append(time.perf_counter() - start)
        while clip["status"] == "processing":
            clip = api.call("GET", f"/api/v3/media/assets/{clip['id']}")
        link = api.call("GET", f"/api/v3/media/assets/{clip['id']}")["download"]["downloadUrl"]
        host = http.client.HTTPConnection(link.split("/")[2])
        host.request("GET", "/" + link.split("/", 3)[3])
        reply = host.getresponse()
        reply.read(1)
        firsts.append(time.perf_counter() - start)
        host.close()
        told.append(hooks.wait(clip["id"], "completed") - start)
        time.sleep(0.02 + (number % 7) * 0.011)
    show("clip of 10 s: request to answer", answers)
    show("clip of 10 s: request to first byte of file", firsts)
    show("clip of 10 s: request to `completed` hook", told)


def measure_recording(api, hooks, name, publisher):
    publisher.wait()
    left = time.perf_counter()
    recording = api.call("GET", f"/api/v3/media/assets?type=recording&streamName={name}")[0]
    done = hooks.wait(recording["id"], "completed")
    length = hooks.bodies[(recording["id"], "completed")]["data"]["metadata"]["duration"]
    print(f"recording of {length} s: publisher's exit to `completed` hook {(done - left) * 1000:.1f} ms (negative: before its process was gone)")


def publish_ten_minutes(rtmp, token, directory):
    path = os.path.join(directory, "ten-minutes.flv")
    encode = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=160x90:rate=30", "-f", "lavfi", "-i", "sine=r=48000"]
    encode += ["-t", "600", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "60", "-c:a", "aac", path]
    subprocess.run(encode, check=True, stdin=subprocess.DEVNULL)
    url = f"rtmp://127.0.0.1:{rtmp}/v2/pub/ten?token={token}"
    return subprocess.Popen(["ffmpeg", "-v", "error", "-i", path, "-c", "copy", "-f", "flv", url], stdin=subprocess.DEVNULL)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--clips", type=int, default=200)
    options.add_argument("--seconds", type=int, default=60)
    options.add_argument("--binary", default="target/release/mediahooks")
    options = options.parse_args()
    hooks = Hooks()
    threading.Thread(target=hooks.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as directory:
        http_port, rtmp_port = free_port(), free_port()
        server = subprocess.Popen(
            [options.binary, "serve", "--data", directory + "/data", "--http", f"127.0.0.1:{http_port}"]
            + ["--rtmp", f"127.0.0.1:{rtmp_port}", "--webhook-allow", "127.0.0.0/8"],
            env={**os.environ, "MEDIAHOOKS_API_SECRET": SECRET, "MEDIAHOOKS_LOG": "warn"},
            stdout=subprocess.DEVNULL,
        )
        try:
            wait_ready(http_port)
            bare_limits(directory, hooks)
            api = Api(http_port)
            token = api.call("POST", "/api/publish_token", {"label": "bench", "streams": [{"streamName": "bench"}, {"streamName": "ten"}], "record": True, "clip": True})["token"]
            api.call("POST", "/api/webhooks", {"url": f"http://127.0.0.1:{hooks.server_port}/", "isFeedHooks": True, "isMediaHooks": True})
            publisher = publish(rtmp_port, token, options.seconds)
            time.sleep(min(15, options.seconds / 2))
            measure_clips(api, hooks, options.clips)
            measure_recording(api, hooks, "bench", publisher)
            measure_recording(api, hooks, "ten", publish_ten_minutes(rtmp_port, token, directory))
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    sys.exit(main())
