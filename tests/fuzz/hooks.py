"""What the fuzzing does besides what Schemathesis does by itself."""

import itertools
import json
import os
import subprocess
import urllib.parse

import schemathesis
from schemathesis.openapi.checks import RejectedPositiveData


def operation_id(case):
    return case.operation.definition.raw["operationId"]


PROGRAM = os.environ["PROGRAM"]
ROLES = {"author": "author", "other": "author", "admin": "admin"}

with open(os.environ["FUZZ_USERS"], encoding="utf-8") as file:
    SIGN_INS = {user["name"]: user["loginEndpointAuth"]["payloadUserPwd"] for user in json.load(file)["auth"]}


def restore(name):
    """Makes a user what it has to be, past the service: gone, disabled, with another password, it is back. Its id."""
    sign_in = SIGN_INS[name]
    commands = [
        ["create", "--role", ROLES[name], "--password-stdin"],
        ["set-role", "--role", ROLES[name]],
        ["enable"],
        ["set-password", "--password-stdin"],
    ]
    for command, *arguments in commands:
        done = subprocess.run(
            [PROGRAM, "user", command, "--email", sign_in["username"], *arguments],
            input=sign_in["password"], capture_output=True, text=True, check=command != "create",
        )
    return int(done.stdout.split()[0])


# Who is fuzzing.
IDS = {restore(name): name for name in ROLES}


@schemathesis.hook
def after_call(context, case, response):
    """Lets the fuzzing do to the users who are fuzzing whatever it finds, and go on all the same."""
    TAGS.update(response.headers.get("etag", []))
    cookies = [line.split(";")[0].partition("=")[2] for line in response.headers.get("set-cookie", [])]
    COOKIES.extend(filter(None, cookies))
    if response.status_code >= 300 or response.request.method != case.operation.method.upper():
        return
    if operation_id(case) in LISTS:
        note_page(case, response)
    elif operation_id(case) == "changePassword":
        restore(case.auth_identity)
    elif operation_id(case) in ("updateUser", "deleteUser"):
        name = IDS.pop(int(case.path_parameters["id"]), None)
        if name is not None:
            IDS[restore(name)] = name


# Where a request that fits the document may be refused all the same: a rule of the service that no schema can say. Each
# with the operations, the status, and the codes: of the problem, or of its faults.
LISTS = ("listPosts", "listUsers")
READS = LISTS + ("getPost", "getUser")
WRITES = ("replacePost", "updatePost", "deletePost", "updateUser", "deleteUser")
PASSWORDS = ("createUser", "updateUser", "changePassword", "setUp")
REFUSALS = [
    # A password must be hard to guess, which is a matter of words and habits, and has at most 1,024 bytes: a schema
    # counts characters.
    (PASSWORDS, 422, {"too_weak", "too_long"}),
    # A key must expire in the future.
    (("createApiKey",), 422, {"out_of_range"}),
    # What the server sets may be sent back as it was read, and not otherwise.
    (("replacePost", "updatePost", "updateUser"), 422, {"read_only"}),
    # A search must have a word to find, and not more than 32; what a word is, a pattern does not know.
    (("listPosts",), 400, {"no_word", "too_many_words"}),
    # A cursor is opaque, and counts for the list that it was made for.
    (LISTS, 400, {"invalid-cursor"}),
    # A well-formed tag is not the current one.
    (READS + WRITES, 412, {"precondition-failed"}),
    # The same key again, with another body.
    (("createPost", "createUser"), 422, {"idempotency-key-reused"}),
]
# A well-formed JSON Patch need not fit what it is applied to, nor what comes of it the rules.
JSON_PATCH_TARGETS = ("updatePost", "updateUser")


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Whether this is a failure: not where the contract asks for what a check takes for one."""
    if not isinstance(failure, RejectedPositiveData):
        return True
    operation = operation_id(case)
    if operation in JSON_PATCH_TARGETS and response.status_code == 422:
        if case.media_type == "application/json-patch+json":
            return False
    problem = response.json()
    code, faults = problem["type"].removeprefix("/problems/"), {fault["code"] for fault in problem.get("errors", [])}
    return not any(
        operation in operations and response.status_code == status and (code in codes or faults and faults <= codes)
        for operations, status, codes in REFUSALS
    )


# Of each cursor that came: what it was asked for with, and counts for.
PAGES = {}
NOT_BOUND = ("cursor", "limit", "fields")


def note_page(case, response):
    cursor = response.json()["next_cursor"]
    if cursor is not None:
        PAGES[operation_id(case), cursor] = {name: value for name, value in case.query.items() if name not in NOT_BOUND}


# What a browser sends by itself: from where a request comes, without which nothing else would be looked at, and most
# often a cookie that came.
BROWSER_DOOR = ("beginSession", "refreshSession", "endSession")
COOKIES = []

# A condition that is made up fails, and would keep all else from being looked at; not one with a tag that came.
CONDITIONS = ("If-Match", "If-None-Match", "If-Unmodified-Since")
TAGS = set()

numbers = itertools.count()


@schemathesis.hook
def before_call(context, case, kwargs):
    number = next(numbers)
    # From another address each time: else the limit on wrong passwords would soon refuse every sign-in.
    case.headers["X-Forwarded-For"] = f"198.18.{number // 250 % 250}.{number % 250 + 1}"
    if operation_id(case) in BROWSER_DOOR:
        address = urllib.parse.urlsplit(case.operation.base_url)
        case.headers["Origin"] = f"{address.scheme}://{address.netloc}"
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    for name in CONDITIONS:
        if number % 8 and name in case.headers and case.headers[name] not in TAGS:
            del case.headers[name]
    if operation_id(case) in ("refreshSession", "endSession") and number % 4 and COOKIES:
        case.cookies["posts_session"] = COOKIES[-1] if number % 8 > 4 else COOKIES[number % len(COOKIES)]
    if operation_id(case) in LISTS:
        # A cursor with the sort and the filters that it belongs to; and where it is made up, most often none: it would
        # keep all else from being looked at.
        page = PAGES.get((operation_id(case), case.query.get("cursor")))
        if page is not None:
            case.query = page | {name: case.query[name] for name in NOT_BOUND if name in case.query}
        elif number % 8:
            case.query.pop("cursor", None)
    elif operation_id(case) == "createUser" and number % 4 and isinstance(case.body, dict):
        # Most often somebody new: what was seen before is taken.
        case.body["email"] = f"{number}@example.org"
