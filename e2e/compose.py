"""What e2e/compose needs beyond shell commands. Only Python's standard library.

load     creates jobs through the API while things break, and waits until each of them has ended
one      creates one job and waits until it has ended
cancel   cancels running jobs
nats     shows what a NATS user may not do
"""

import argparse
import http.client
import json
import random
import socket
import sys
import threading
import time
import urllib.parse
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

ENDED = {"finished", "failed", "cancelled"}


class Api:
    """Asks again until there is an answer of the expected kind, as a client of a system that is being broken has to."""

    def __init__(self, base_url, deadline):
        self.host = urllib.parse.urlsplit(base_url).netloc
        self.deadline = deadline
        self.repeated = Counter()
        self._lock = threading.Lock()

    def ask(self, method, path, expected, body=None):
        headers = {"Idempotency-Key": str(uuid.uuid4())} if method == "POST" else {}
        if body is not None:
            body = json.dumps(body)
            headers["Content-Type"] = "application/json"
        while True:
            try:
                connection = http.client.HTTPConnection(self.host, timeout=15)
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                text = answer.read()
                connection.close()
                if answer.status in expected:
                    return json.loads(text)
                what = str(answer.status)
                if answer.status < 500 and answer.status != 429:
                    raise SystemExit(f"{method} {path}: {answer.status} {text.decode(errors='replace')}")
            except (OSError, http.client.HTTPException) as error:
                what = type(error).__name__
            with self._lock:
                self.repeated[what] += 1
            if time.monotonic() > self.deadline:
                raise SystemExit(f"{method} {path}: still {what} when time was up")
            time.sleep(0.2)


def new_job(index, longest):
    """Every fourth does nothing, the others sleep from one second."""
    if index % 4 == 0:
        return {"kind": "noop"}
    return {"kind": "sleep", "payload": {"min_s": 1, "max_s": longest}}


def load(args):
    api = Api(args.url, time.monotonic() + args.patience)
    started = time.monotonic()
    created, under_way = [], threading.Event()
    lock = threading.Lock()

    def create(index):
        # Spread out, so that what breaks does so between creates too.
        time.sleep(max(0.0, started + args.spread * index / args.count - time.monotonic()))
        job = api.ask("POST", "/v1/jobs", (200, 201), new_job(index, args.longest))
        with lock:
            created.append(job["id"])
            if len(created) * 2 >= args.count and not under_way.is_set():
                under_way.set()
                print("under way", flush=True)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(create, range(args.count)))
    half = time.monotonic()

    def end_of(job_id):
        while True:
            job = api.ask("GET", f"/v1/jobs/{job_id}?wait_s=5", (200,))
            if job["status"] in ENDED:
                return job
            if time.monotonic() > api.deadline:
                return job

    with ThreadPoolExecutor(16) as pool:
        jobs = list(pool.map(end_of, created))
    took = time.monotonic() - started
    states = Counter(job["status"] for job in jobs)
    again = sum(job["attempt"] > 1 for job in jobs)
    print(
        f"{len(created)} created, {', '.join(f'{n} {status}' for status, n in sorted(states.items()))}; "
        f"{again} in a later attempt than the first; requests repeated: {dict(api.repeated) or 'none'}; "
        f"all created after {half - started:.1f} s, all ended after {took:.1f} s",
        flush=True,
    )
    for job in [job for job in jobs if job["status"] != "finished"][:5]:
        print(json.dumps(job), flush=True)
    sys.exit(0 if len(set(created)) == args.count == states["finished"] else 1)


def one(args):
    api = Api(args.url, time.monotonic() + args.patience)
    job = api.ask("POST", "/v1/jobs", (200, 201), json.loads(args.job))
    while job["status"] not in ENDED and time.monotonic() < api.deadline:
        job = api.ask("GET", f"/v1/jobs/{job['id']}?wait_s=5", (200,))
    print(f"{job['status']} in attempt {job['attempt']}", flush=True)
    sys.exit(job["status"] != "finished")


def cancel(args):
    """A handler is stopped wherever it runs, long before its next renewal."""
    api = Api(args.url, time.monotonic() + args.patience)
    long = {"kind": "sleep", "payload": {"min_s": 60, "max_s": 60}, "timeout_s": 90}
    jobs = [api.ask("POST", "/v1/jobs", (200, 201), long) for _ in range(args.count)]
    for job in jobs:
        while api.ask("GET", f"/v1/jobs/{job['id']}", (200,))["status"] != "running":
            assert time.monotonic() < api.deadline, f"{job['id']} does not start"
            time.sleep(0.1)
    asked = time.monotonic()
    for job in jobs:
        api.ask("POST", f"/v1/jobs/{job['id']}/cancel", (200, 202))
    ended = [api.ask("GET", f"/v1/jobs/{job['id']}?wait_s=20", (200,)) for job in jobs]
    took = time.monotonic() - asked
    assert all((job["status"], job.get("reason")) == ("cancelled", "requested") for job in ended), ended
    assert took < 8, f"they ended after {took:.1f} s only"
    print(f"{len(jobs)} running jobs on {len({job['worker'] for job in ended})} workers cancelled within {took:.1f} s")


class NatsUser:
    """As much of the NATS protocol as is needed to be refused."""

    def __init__(self, address, user, password):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), 5)
        self.lines = self.socket.makefile("r")
        self.lines.readline()
        options = {"verbose": False, "pedantic": False, "user": user, "pass": password}
        self.refused = self.try_to(f"CONNECT {json.dumps(options)}")

    def try_to(self, line):
        """What the server has against it; empty if nothing."""
        self.socket.sendall(f"{line}\r\nPING\r\n".encode())
        errors = ""
        for answer in iter(self.lines.readline, ""):
            if answer.startswith("-ERR"):
                errors += answer.strip()
            if answer.startswith("PONG") or "Authorization Violation" in answer:
                break
        return errors


OF_OTHERS = {
    "api-service": [
        "job:started.x", "job:finished.x", "job:stop", "$JS.ACK.JOBS.workers-x-normal.1.1.1.1.1",
        "$JS.API.CONSUMER.MSG.NEXT.JOBS.workers-x-normal", "$JS.API.STREAM.DELETE.JOBS",
        "$JS.API.STREAM.PURGE.JOBS", "x",
    ],
    "job-service": [
        "job:created.x.normal", "job:cancel.x", "job:changed", "$JS.ACK.JOB_EVENTS.api-service.1.1.1.1.1",
        "$JS.API.CONSUMER.MSG.NEXT.JOB_EVENTS.api-service", "$JS.API.STREAM.PURGE.JOB_EVENTS", "x",
    ],
}


def nats(args):
    refused = NatsUser(args.address, args.user, "wrong").refused
    assert "Authorization Violation" in refused, f"a wrong password: {refused!r}"
    user = NatsUser(args.address, args.user, args.password)
    refused = user.refused + user.try_to(f"SUB _INBOX_{args.service}.x 1")
    assert not refused, f"with the right password, for its own inbox: {refused}"
    subjects = OF_OTHERS[args.service]
    for subject in subjects:
        refused = user.try_to(f"PUB {subject} 0\r\n")
        assert "Permissions Violation for Publish" in refused, f"may publish {subject}: {refused!r}"
    patterns = [">", "job:created.>", "job:finished.*", "_INBOX.>", "$JS.>"]
    for number, pattern in enumerate(patterns, 2):
        refused = user.try_to(f"SUB {pattern} {number}")
        assert "Permissions Violation for Subscription" in refused, f"may read {pattern}: {refused!r}"
    print(f"{args.service}: not let in with a wrong password; refused to publish {' '.join(subjects)}"
          f" and to read {' '.join(patterns)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("load")
    command.set_defaults(run=load)
    command.add_argument("url")
    command.add_argument("--count", type=int, default=200)
    command.add_argument("--longest", type=float, default=3, help="seconds that a job may sleep")
    command.add_argument("--spread", type=float, default=4, help="seconds over which they are created")
    command.add_argument("--patience", type=float, default=180, help="seconds after which it is a failure")
    command = commands.add_parser("one")
    command.set_defaults(run=one)
    command.add_argument("url")
    command.add_argument("job")
    command.add_argument("--patience", type=float, default=120)
    command = commands.add_parser("cancel")
    command.set_defaults(run=cancel)
    command.add_argument("url")
    command.add_argument("--count", type=int, default=12)
    command.add_argument("--patience", type=float, default=60)
    command = commands.add_parser("nats")
    command.set_defaults(run=nats)
    for name in ["address", "service", "user", "password"]:
        command.add_argument(name)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
