#!/usr/bin/env python3
"""Clients that press on the service while something is done to it, and a look at what must be there afterwards.

    tests/load.py press URL LEDGER [--clients N] [--again]
    tests/load.py verify URL LEDGER [--before SECONDS]

`press` signs in with POSTS_EMAIL and POSTS_PASSWORD, makes an API key, and creates, reads, lists and changes posts until
it gets SIGTERM. Every other client keeps its connection. Each write that was acknowledged is a line in the ledger: when,
and the post as it was answered. A request fails that gets no answer, or one of 500 and more; with --again it is sent once
more, with the same Idempotency-Key or If-Match, until it is answered. At the end there is a line of figures, and the exit
status is 1 where a request failed, but for --again, or an answer was wrong.

`verify` reads all posts. Each that is in the ledger must be there, once, as it was acknowledged last, and be found by the
search. With --before that holds of what was acknowledged before that moment, in seconds since 1970; the posts may have
been changed since.
"""

import argparse
import collections
import http.client
import json
import os
import signal
import sys
import threading
import time
import urllib.parse
import uuid

PATIENCE = 60  # seconds for which a request is sent again


class Failed(Exception):
    """A request got no answer, or one that says that it was not carried out."""


class Connection:
    """Sends requests, each on a connection of its own or all on one."""

    def __init__(self, url, credential=None, kept=True):
        self.host = urllib.parse.urlsplit(url).netloc
        self.credential = credential
        self.kept = kept
        self.connection = None

    def send(self, method, path, body=None, headers=None):
        headers = {"Connection": "keep-alive" if self.kept else "close", **(headers or {})}
        if body is not None:
            kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
            headers["Content-Type"] = kind
            body = json.dumps(body).encode()
        if self.credential:
            headers["Authorization"] = f"Bearer {self.credential}"
        try:
            self.connection = self.connection or http.client.HTTPConnection(self.host, timeout=70)
            self.connection.request(method, path, body, headers)
            answer = self.connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Failed(f"{type(error).__name__}: {error}") from error
        if not self.kept:
            self.close()
        if answer.status >= 500:
            raise Failed(f"{answer.status}: {text[:200]}")
        return answer.status, json.loads(text or "null"), answer.headers

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None


def sign_in(url):
    """An API key, which lasts longer than an access token does."""
    connection = Connection(url, kept=False)
    account = {"email": os.environ["POSTS_EMAIL"], "password": os.environ["POSTS_PASSWORD"]}
    status, session, _ = connection.send("POST", "/auth/login", account)
    assert status == 200, f"nobody could sign in: {session}"
    connection.credential = session["access_token"]
    status, made, _ = connection.send("POST", "/api-keys", {"name": "load", "role": "author"})
    assert status == 201, f"no API key was made: {made}"
    return made["key"]


class Press:
    """What all clients share: what they count, and the ledger."""

    def __init__(self, ledger, again):
        self.lock = threading.Lock()
        self.stop = threading.Event()
        self.ledger = open(ledger, "a", encoding="utf-8")  # noqa: SIM115: for as long as this runs
        self.again = again
        self.requests = self.writes = 0
        self.longest = 0.0
        self.failures = collections.Counter()
        self.wrong = collections.Counter()

    def acknowledge(self, post):
        with self.lock:
            self.writes += 1
            self.ledger.write(json.dumps({"at": time.time(), "post": post}) + "\n")
            self.ledger.flush()

    def figures(self, seconds):
        return (
            f"requests: {self.requests} ({self.requests / seconds:.0f}/s), failed: {self.failures.total()}, "
            f"wrong: {self.wrong.total()}, acknowledged writes: {self.writes}, longest: {self.longest * 1000:.0f} ms"
        )


class Client(threading.Thread):
    def __init__(self, press, url, key, number):
        super().__init__(daemon=True)
        self.press = press
        self.connection = Connection(url, key, kept=number % 2 == 0)
        self.name = f"{uuid.uuid4().hex[:6]}{number}"

    def run(self):
        number = 0
        while not self.press.stop.is_set():
            number += 1
            try:
                self.live_of_a_post(f"w{self.name}n{number}")
            except Failed:
                pass  # It is counted.
            except Exception as error:  # noqa: BLE001: whatever it is, it is no good answer
                with self.press.lock:
                    self.press.wrong[f"{type(error).__name__}: {error}"] += 1

    def live_of_a_post(self, word):
        body = {"title": f"About {word}", "author": "Ada", "content": f"Some words on {word} and more."}
        status, post, _ = self.send("POST", "/posts", body, {"Idempotency-Key": word})
        assert status == 201, f"POST was answered with {status}: {post}"
        self.press.acknowledge(post)
        path = f"/posts/{post['id']}"
        for number in range(3):
            self.look(path, post)
            changed = {"content": f"Some words on {word}, changed {number}."}
            status, answer, _ = self.send("PATCH", path, changed, {"If-Match": self.tag})
            if status == 412 and self.press.again:
                # It was carried out, and the answer got lost.
                status, answer, _ = self.send("GET", path)
            assert status == 200, f"PATCH was answered with {status}: {answer}"
            assert answer["content"] == changed["content"], f"{answer} was not changed"
            assert answer["version"] == post["version"] + 1, f"{answer} does not follow {post}"
            post = answer
            self.press.acknowledge(post)
            status, page, _ = self.send("GET", "/posts?limit=20")
            assert status == 200, f"the list was answered with {status}: {page}"
            assert len(page["items"]) > 0, "the list is empty"
        self.look(path, post)

    def look(self, path, post):
        status, found, headers = self.send("GET", path)
        assert (status, found) == (200, post), f"{found} is not {post}, which was acknowledged"
        self.tag = headers["ETag"]

    def send(self, *request):
        begun = time.monotonic()
        while True:
            sent = time.monotonic()
            try:
                return self.connection.send(*request)
            except Failed as failed:
                with self.press.lock:
                    self.press.failures[f"{request[0]} {str(failed)[:300]}"] += 1
                if not self.press.again or time.monotonic() - begun > PATIENCE:
                    raise
                time.sleep(0.1)
            finally:
                with self.press.lock:
                    self.press.requests += 1
                    self.press.longest = max(self.press.longest, time.monotonic() - sent)


def press(arguments):
    state = Press(arguments.ledger, arguments.again)
    signal.signal(signal.SIGTERM, lambda *_: state.stop.set())
    key = sign_in(arguments.url)
    begun = time.monotonic()
    clients = [Client(state, arguments.url, key, number) for number in range(arguments.clients)]
    for client in clients:
        client.start()
    state.stop.wait()
    for client in clients:
        client.join(PATIENCE + 80)
        if client.is_alive():
            state.wrong["a client never came to an end"] += 1
    print(state.figures(time.monotonic() - begun))
    for counted in (state.wrong, {} if arguments.again else state.failures):
        for what, times in collections.Counter(counted).most_common(10):
            print(f"  {times} times: {what}", file=sys.stderr)
    if not state.writes:
        print("  nothing was written", file=sys.stderr)
    failed = state.failures and not arguments.again
    sys.exit(1 if failed or state.wrong or not state.writes else 0)


def all_posts(connection):
    """Every post that there is, page by page."""
    path = "/posts?sort=id&limit=100"
    while path:
        status, page, _ = connection.send("GET", path)
        assert status == 200, f"{path} was answered with {status}: {page}"
        yield from page["items"]
        cursor = page.get("next_cursor")
        path = cursor and f"/posts?sort=id&limit=100&cursor={urllib.parse.quote(cursor)}"


def verify(arguments):
    acknowledged = {}
    with open(arguments.ledger, encoding="utf-8") as ledger:
        for line in map(json.loads, ledger):
            if arguments.before is None or line["at"] < arguments.before:
                acknowledged[line["post"]["id"]] = line["post"]
    connection = Connection(arguments.url, sign_in(arguments.url))
    found = list(all_posts(connection))
    wrong = []
    for title, times in collections.Counter(post["title"] for post in found).items():
        if times > 1:
            wrong.append(f"{title} is there {times} times")
    by_id = {post["id"]: post for post in found}
    for number, post in acknowledged.items():
        there = by_id.get(number)
        if there is None:
            wrong.append(f"{post} is lost")
        elif there != post and (arguments.before is None or there["version"] <= post["version"]):
            wrong.append(f"{there} is there, and not {post}")
    # Those that were written last are the likeliest to be missing.
    for number, post in list(acknowledged.items())[-300:]:
        word = post["title"].split()[-1]
        _, page, _ = connection.send("GET", f"/posts?q={word}")
        if [item["id"] for item in page["items"]] != [number]:
            wrong.append(f"the search does not find {word}")
    print(f"posts: {len(found)}, acknowledged: {len(acknowledged)}, lost, doubled or changed: {len(wrong)}")
    for line in wrong[:10]:
        print(f"  {line}", file=sys.stderr)
    if not acknowledged:
        print("  there is nothing to look for", file=sys.stderr)
    sys.exit(1 if wrong or not acknowledged else 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for command in (press, verify):
        options = commands.add_parser(command.__name__)
        options.set_defaults(command=command)
        options.add_argument("url")
        options.add_argument("ledger")
        if command is press:
            options.add_argument("--clients", type=int, default=8)
            options.add_argument("--again", action="store_true")
        else:
            options.add_argument("--before", type=float)
    arguments = parser.parse_args()
    arguments.command(arguments)


if __name__ == "__main__":
    main()
