"""Signs in, creates, lists, reads, changes and deletes posts, by a client that is generated from the service's OpenAPI
document. By hand:

    python3 -m venv .venv && .venv/bin/pip install -r requirements.txt
    .venv/bin/openapi-python-client generate --path ../../openapi/openapi.json --config generator.yml \\
        --meta none --output-path posts_client --overwrite
    .venv/bin/mypy
    POSTS_URL=http://127.0.0.1:8080 POSTS_EMAIL=ada@example.org POSTS_PASSWORD='…' .venv/bin/python main.py

The account is an author's. What it creates are drafts, which it deletes in the end.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar
from uuid import uuid4

from posts_client import AuthenticatedClient, Client
from posts_client.api.auth import login, logout
from posts_client.api.posts import create_post, delete_post, get_post, list_posts, update_post
from posts_client.models import Login, NewPost, Post, PostItem, PostMergePatch, PostPage, Problem, RefreshToken, Tokens
from posts_client.types import UNSET, Response, Unset

Content = TypeVar("Content")
Parsed = TypeVar("Parsed")


@contextmanager
def step(name: str) -> Iterator[Callable[[str], None]]:
    """Says what came of a step, or that the program failed there, and why."""
    try:
        yield lambda outcome: print(f"{name}: {outcome}")
    except Exception as error:
        sys.exit(f'failed at "{name}": {error!r}')


class Unexpected(Exception):
    """What came is not what the step is for."""

    @classmethod
    def answer(cls, answer: Response[Parsed]) -> "Unexpected":
        problem = answer.parsed
        what = f" {problem.type_}: {problem.detail}" if isinstance(problem, Problem) else ""
        return cls(f"got {answer.status_code.value}{what}")


def content(kind: type[Content], answer: Response[Parsed]) -> Content:
    """The content of an answer, where anything else would be a surprise."""
    if isinstance(answer.parsed, kind):
        return answer.parsed
    raise Unexpected.answer(answer)


def problem(type_: str, answer: Response[Parsed]) -> Problem:
    """The problem that is expected, by its type."""
    found = content(Problem, answer)
    if found.type_ != type_:
        raise Unexpected.answer(answer)
    return found


def no_content(answer: Response[Parsed]) -> None:
    if answer.status_code != 204:
        raise Unexpected.answer(answer)


def pages(client: AuthenticatedClient, author: str) -> Iterator[list[PostItem]]:
    """The pages of a list, to the last one."""
    cursor: str | Unset = UNSET
    while True:
        answer = list_posts.sync_detailed(
            client=client, author=author, sort="id", limit=2, fields="title", cursor=cursor
        )
        page = content(PostPage, answer)
        yield page.items
        if page.next_cursor is None:
            return
        cursor = page.next_cursor


def main() -> None:
    with step("settings"):
        url, email, password = (os.environ[f"POSTS_{name}"] for name in ("URL", "EMAIL", "PASSWORD"))

    with step("sign in") as say:
        nobody = Client(base_url=url)
        answer = login.sync_detailed(client=nobody, body=Login(email, password))
        tokens = content(Tokens, answer)
        client = AuthenticatedClient(base_url=url, token=tokens.access_token)  # in memory, and nowhere else
        say(f"for {tokens.expires_in} seconds")

    with step("create") as say:
        author = f"Example {uuid4()}"  # a byline of this run's own, to list by
        tags: dict[int, str] = {}  # of each post, as it was created
        for title in ("One", "Two", "Three", "Four", "Five"):
            key = str(uuid4())  # one for what is meant, however often it is sent
            draft = NewPost(title, author=author, published=False)
            first = create_post.sync_detailed(client=client, body=draft, idempotency_key=key)
            # As if the first answer had been lost.
            again = create_post.sync_detailed(client=client, body=draft, idempotency_key=key)
            post = content(Post, first)
            if content(Post, again) != post:
                raise Unexpected("one key created two posts")
            tags[post.id] = first.headers["ETag"]
        say(f"{len(tags)} posts, each sent twice")

    with step("list") as say:
        listed = list(pages(client, author))
        seen = [item.id for items in listed for item in items]
        if seen != list(tags):
            raise Unexpected(f"got the posts {seen}")
        say(f"each of them once, on {len(listed)} pages")

    with step("read") as say:
        read = get_post.sync_detailed(seen[0], client=client)
        item, tag = content(PostItem, read), read.headers["ETag"]
        say(f"post {item.id} is at {tag}")

    with step("change") as say:
        # None sets a field back to its default; what is left out stays as it is.
        patch = PostMergePatch(title="One, mended", content=None)
        changed = update_post.sync_detailed(item.id, client=client, body=patch, if_match=tag)
        post = content(Post, changed)
        if post.title != "One, mended":
            raise Unexpected(f"got the title {post.title}")
        tags[post.id] = changed.headers["ETag"]
        say(f"version {post.version}, of {post.updated_on}")

    with step("change what has changed") as say:
        patch = PostMergePatch(title="One, mine")
        stale = update_post.sync_detailed(post.id, client=client, body=patch, if_match=tag)
        say(problem("/problems/precondition-failed", stale).detail)

    with step("send an invalid title") as say:
        invalid = create_post.sync_detailed(client=client, body=NewPost(" ", author=author))
        found = problem("/problems/validation-failed", invalid)
        faults = [(fault.pointer, fault.code) for fault in found.errors or []]
        if faults != [("/title", "blank")]:
            raise Unexpected(f"got the faults {faults}")
        say(str(faults))

    with step("delete") as say:
        for id_, tag in tags.items():
            no_content(delete_post.sync_detailed(id_, client=client, if_match=tag))
        say(f"{len(tags)} posts")

    with step("sign out") as say:
        no_content(logout.sync_detailed(client=client, body=RefreshToken(tokens.refresh_token)))
        say("done")


if __name__ == "__main__":
    main()
