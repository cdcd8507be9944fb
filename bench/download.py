#!/usr/bin/env python3
"""How fast files are downloaded, beside nginx serving the same bytes as a plain file, in one run. Prints figures; asserts nothing.

    cargo build --release -p mediahooks
    bench/download.py --megabytes 1000 --rounds 5

Records --megabytes of media of --mbits as H.264 and AAC and as VP9 and Opus (with --ffmpeg9, which can send that over RTMP), asks for a file of
each format once to have the same bytes on the disk as one object, and starts nginx (Debian's, `sendfile on`) on that, with `tcp_nopush` off and
on: neither is the faster one throughout. Then all are asked in turns, everything in the page cache (ranges of nginx without `tcp_nopush` only):

  FORMAT, curl        the file by one client, and by four at once, that copies every byte into its memory
  FORMAT, discarding  likewise by a client that has the kernel discard them (`MSG_TRUNC`), so that the server is the limit; by one client ten
                      times in a round, as a single one takes some 40 ms, and twice as long where the scheduler wakes the client on another core
  FORMAT, ranges      10,000 requests of 64 KiB, and of 4 KiB, anywhere in the file over one kept connection, each after the last one is answered
  export              the same file as an object on the disk, synced, beside `cp` and a sync of it

Of each: MB/s (of 10^6 bytes; of ranges, requests per second), median of the rounds; CPU time of the server's processes per GB, or per request; and
the ratios to those of nginx, medians of those of each round.
"""

import argparse
import hashlib
import http.client
import json
import os
import pathlib
import random
import socket
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parent.parent
SECRET = "bench-secret-of-the-download"
RANGES = (64 << 10, 4 << 10)
IN_A_ROW = 10

NGINX = """
daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/error.log;
events {{ worker_connections 64; }}
http {{ access_log off; sendfile on; tcp_nopush {nopush}; keepalive_requests 100000;
client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
server {{ listen 127.0.0.1:{port}; root {files}; }} }}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port, path="/"):
    for _ in range(400):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", path)
            connection.getresponse().read()
            return
        except OSError:
            time.sleep(0.025)
    raise SystemExit(f"nothing answers at port {port}")


class Server:
    """A server process, the address of one file there, and what it costs."""

    def __init__(self, name, process, url):
        self.name, self.process, self.full_url = name, process, url
        self.url = urllib.parse.urlsplit(url)

    def pids(self):
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [self.process.pid, *map(int, children.split())]

    def cpu_s(self):
        total = 0
        for pid in self.pids():
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        return total / os.sysconf("SC_CLK_TCK")

    def request(self, header=""):
        path = self.url.path + ("?" + self.url.query if self.url.query else "")
        return f"GET {path} HTTP/1.1\r\nhost: {self.url.netloc}\r\n{header}\r\n".encode()

    def connect(self):
        sock = socket.create_connection((self.url.hostname, self.url.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def stop(self):
        self.process.terminate()
        self.process.wait()


def head(sock, buffer):
    """Reads a response's head; returns its length and how many bytes of the body came with it."""
    got = b""
    while b"\r\n\r\n" not in got:
        read = sock.recv_into(buffer, 4096)
        if read == 0:
            raise SystemExit(f"cut off in the head: {got}")
        got += buffer[:read]
    text, rest = bytes(got).split(b"\r\n\r\n", 1)
    if not text.startswith((b"HTTP/1.1 200", b"HTTP/1.1 206")):
        raise SystemExit(text.decode())
    lines = dict(line.lower().split(b": ", 1) for line in text.split(b"\r\n")[1:])
    return int(lines[b"content-length"]), len(rest)


def discard(server):
    buffer = memoryview(bytearray(4 << 20))
    with server.connect() as sock:
        sock.sendall(server.request())
        length, got = head(sock, buffer)
        while got < length:
            read = sock.recv_into(buffer, len(buffer), socket.MSG_TRUNC)
            if read == 0:
                raise SystemExit("cut off in the body")
            got += read
    return length


def curl(server):
    shown = subprocess.run(
        ["curl", "-sS", "--fail", "-o", "/dev/null", "-w", "%{size_download}", server.full_url], check=True, capture_output=True, text=True
    )
    return int(shown.stdout)


def ranges(server, count, size, length):
    dice, buffer = random.Random(7), memoryview(bytearray(1 << 20))
    with server.connect() as sock:
        for _ in range(count):
            start = dice.randrange(length - size)
            sock.sendall(server.request(f"range: bytes={start}-{start + size - 1}\r\n"))
            wanted, got = head(sock, buffer)
            while got < wanted:
                read = sock.recv_into(buffer, len(buffer))
                if read == 0:
                    raise SystemExit("cut off in a range")
                got += read
    return count


def at_once(fetch, server, clients):
    lengths = []
    threads = [threading.Thread(target=lambda: lengths.append(fetch(server))) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(lengths) != clients:
        raise SystemExit("a download failed")
    return sum(lengths)


def compare(name, servers, rounds, run, units=("MB/s", 1e6, "CPU s/GB", 1e9)):
    """Runs `run` on each of the servers in turns, and shows their medians. The first one is compared with the others."""
    found = {server.name: [] for server in servers}
    for server in servers:
        run(server)
    for _ in range(rounds):
        for server in servers:
            cpu, begun = server.cpu_s(), time.perf_counter()
            count = run(server)
            wall = time.perf_counter() - begun
            found[server.name].append((count / wall, (server.cpu_s() - cpu) / count))
    (speed_unit, speed_scale, cost_unit, cost_scale), shown, ratios = units, [], []
    for server in servers:
        speeds, costs = zip(*found[server.name])
        speed, cost = statistics.median(speeds) / speed_scale, statistics.mean(costs) * cost_scale
        shown.append(f"{server.name} {speed:7.0f} {speed_unit} {cost:6.2f} {cost_unit}")
    for other in servers[1:]:
        pairs = zip(found[servers[0].name], found[other.name])
        ratios.append(f"{statistics.median(ours / theirs for (ours, _), (theirs, _) in pairs):.2f}")
    print(f"{name:<34} {'  '.join(shown)}   ratios {' '.join(ratios)}", flush=True)


def hurry(servers, policy, priority):
    """Schedules this process and the servers, with what they start, before (or again as) all others of the machine."""
    for pid in [os.getpid(), *(pid for server in servers for pid in server.pids())]:
        for thread in os.listdir(f"/proc/{pid}/task"):
            try:
                os.sched_setscheduler(int(thread), policy, os.sched_param(priority))
            except ProcessLookupError:
                pass  # It ended meanwhile.


def compare_all(options, name, servers, length):
    """What is asked of a file of each format."""
    if options.realtime:
        hurry(servers, os.SCHED_FIFO, 10)
    for clients in (1, 4):
        compare(f"{name}, curl, {clients} at once", servers, options.rounds, lambda server: at_once(curl, server, clients))
        times = IN_A_ROW if clients == 1 else 1
        title = f"{name}, discarding, {clients} at once"
        compare(title, servers, options.rounds, lambda server: sum(at_once(discard, server, clients) for _ in range(times)))
    for size in RANGES:
        units = ("/s", 1, "CPU us each", 1e6)
        title = f"{name}, {options.ranges} ranges of {size >> 10} KiB"
        # With `tcp_nopush` nginx waits for 40 ms in each range of 64 KiB, for the acknowledgment that loopback delays.
        compare(title, servers[:2], options.rounds, lambda server: ranges(server, options.ranges, size, length), units)
    if options.realtime:
        hurry(servers, os.SCHED_OTHER, 0)


def start_mediahooks(options, directory):
    http_port, rtmp_port = free_port(), free_port()
    environment = {**os.environ, "MEDIAHOOKS_API_SECRET": SECRET, "MEDIAHOOKS_LOG": "warn"}
    command = [options.binary, "serve", "--data", f"{directory}/data", "--http", f"127.0.0.1:{http_port}", "--rtmp", f"127.0.0.1:{rtmp_port}"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    wait_for(http_port, "/readyz")
    return process, http_port, rtmp_port


def call(port, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    payload = None if body is None else json.dumps(body)
    connection.request(method, path, payload, {"authorization": f"Bearer {SECRET}", "content-type": "application/json"})
    reply = json.loads(connection.getresponse().read())
    if reply["status"] != "success":
        raise SystemExit(f"{method} {path}: {reply}")
    return reply["data"]


H264 = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac"]
VP9 = ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-row-mt", "1", "-pix_fmt", "yuv420p", "-c:a", "libopus"]


def record(options, directory, ports, ffmpeg, stream, codecs):
    """Publishes a broadcast of some megabytes as fast as it is taken, and returns its recording."""
    http_port, rtmp_port = ports
    token = call(http_port, "POST", "/api/publish_token", {"label": stream, "streams": [{"streamName": stream}], "record": True, "clip": True})["token"]
    piece, seconds = f"{directory}/{stream}.flv", 20
    encode = [ffmpeg, "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=30,noise=alls=60:allf=t", "-f", "lavfi", "-i", "sine=r=48000"]
    encode += ["-t", str(seconds), *codecs, "-g", "60", "-b:v", f"{options.mbits}M"]
    encode += ["-maxrate", f"{options.mbits}M", "-bufsize", f"{options.mbits}M", "-y", piece]
    subprocess.run(encode, check=True, stdin=subprocess.DEVNULL)
    loops = max(0, options.megabytes * 1_000_000 // os.path.getsize(piece) - 1)
    url = f"rtmp://127.0.0.1:{rtmp_port}/v2/pub/{stream}?token={token}"
    publish = [ffmpeg, "-v", "error", "-stream_loop", str(loops), "-i", piece, "-c", "copy", "-f", "flv", url]
    subprocess.run(publish, check=True, stdin=subprocess.DEVNULL)
    return complete(http_port, lambda asset: asset["type"] == "recording" and asset["feed"]["streamName"] == stream)


def complete(http_port, is_it):
    """The newest asset of which `is_it` holds, once it is complete."""
    for _ in range(600):
        found = [asset for asset in call(http_port, "GET", "/api/v3/media/assets") if is_it(asset)]
        if found and found[0]["status"] == "complete":
            return call(http_port, "GET", f"/api/v3/media/assets/{found[0]['id']}")
        time.sleep(0.1)
    raise SystemExit("an asset does not complete")


def start_nginx(directory, nopush):
    port, own = free_port(), f"{directory}/nginx-{nopush}"
    os.makedirs(own)
    pathlib.Path(f"{own}/nginx.conf").write_text(NGINX.format(nopush=nopush, directory=own, port=port, files=f"{directory}/files"))
    process = subprocess.Popen(["nginx", "-p", own, "-c", f"{own}/nginx.conf", "-e", f"{own}/error.log"])
    wait_for(port)
    return Server("nginx" if nopush == "off" else "nginx(nopush)", process, f"http://127.0.0.1:{port}/")


def export(http_port, asset):
    path = f"/api/v3/media/assets/{asset['id']}/export"
    while True:
        export = call(http_port, "POST", path)
        if export["status"] == "complete":
            return export


def compare_export(options, http_port, asset, file, length):
    """Both read from the page cache and end with a sync, in turns."""
    copy, speeds = f"{file}.copy", {"export": [], "cp + fsync": []}
    for _ in range(options.rounds):
        begun = time.perf_counter()
        exported = export(http_port, asset)
        speeds["export"].append(length / (time.perf_counter() - begun) / 1e6)
        if digest(exported["path"]) != digest(file):
            raise SystemExit("the export differs from the download")
        os.remove(exported["path"])
        begun = time.perf_counter()
        subprocess.run(["cp", file, copy], check=True)
        with open(copy, "rb") as written:
            os.fsync(written.fileno())
        speeds["cp + fsync"].append(length / (time.perf_counter() - begun) / 1e6)
        os.remove(copy)
    shown = "  ".join(f"{name} {statistics.median(found):.0f} MB/s" for name, found in speeds.items())
    ratio = statistics.median(speeds["export"]) / statistics.median(speeds["cp + fsync"])
    print(f"{'export, copied by ' + exported['copiedBy']:<34} {shown}   ratio {ratio:.2f}", flush=True)


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--megabytes", type=int, default=1000)
    options.add_argument("--mbits", type=int, default=8)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--ranges", type=int, default=10_000)
    options.add_argument("--no-export", action="store_true")
    options.add_argument("--binary", default=ROOT / "target/release/mediahooks")
    options.add_argument("--ffmpeg9", default=os.environ.get("MEDIAHOOKS_FFMPEG9"), help="an FFmpeg that sends VP9 over RTMP; without it no WebM")
    options.add_argument("--realtime", action="store_true", help="schedule servers and clients before all else (root): for a machine that is busy")
    options.add_argument("--directory", help="where the media lies; a temporary directory")
    options = options.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        os.chmod(directory, 0o755)
        os.makedirs(f"{directory}/files")
        process, *ports = start_mediahooks(options, directory)
        peers = []
        try:
            peers = [start_nginx(directory, "off"), start_nginx(directory, "on")]
            for name, asset in assets(options, directory, ports):
                ours = Server("mediahooks", process, asset["download"]["downloadUrl"])
                file = f"{directory}/files/{name}"
                subprocess.run(["curl", "-sS", "--fail", "-o", file, ours.full_url], check=True)
                length = os.path.getsize(file)
                print(f"{name}: {length / 1e6:.0f} MB, {asset['metadata']['durationMs'] / 1000:.0f} s, sha256 {digest(file)[:16]}", flush=True)
                servers = [ours, *(Server(peer.name, peer.process, peer.full_url + name) for peer in peers)]
                compare_all(options, name, servers, length)
                if name == "mp4" and not options.no_export:
                    compare_export(options, ports[0], asset, file, length)
        finally:
            for server in peers:
                server.stop()
            process.terminate()
            process.wait()


def assets(options, directory, ports):
    """A file of each format."""
    recording = record(options, directory, ports, "ffmpeg", "plain", H264)
    yield "mp4", recording
    ends = {key: recording["metadata"][key] for key in ("startTime", "stopTime")}
    call(ports[0], "POST", "/api/v3/media/assets", {"streamName": "plain", "targetFormat": "fmp4", **ends})
    yield "fmp4", complete(ports[0], lambda asset: asset["type"] == "clip")
    if options.ffmpeg9:
        yield "webm", record(options, directory, ports, options.ffmpeg9, "webm", VP9)


if __name__ == "__main__":
    main()
