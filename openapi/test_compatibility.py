"""What openapi/compatibility.py finds, shown by changes of the real document: each is made, and undone, since what
breaks clients one way is often additive the other."""

import json
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
from compatibility import CHANGELOG, DOCUMENT, ROOT, announced, breaking_changes, each_operation, pattern_within

REAL = json.loads((ROOT / DOCUMENT).read_text(encoding="utf-8"))
EVERY = [name for _, (name, _) in each_operation(REAL)]


# Where things are in the document.


def schema(document, name):
    return document["components"]["schemas"][name]


def field(document, name, of):
    return schema(document, of)["properties"][name]


def operation(document, name):
    method, path = name.split()
    return document["paths"][path][method.lower()]


def parameter(document, name, of="GET /posts"):
    return next(one for one in operation(document, of)["parameters"] if one["name"] == name)


def answer(document, status="200", of="GET /posts"):
    return operation(document, of)["responses"][status]


def body(document, of="POST /posts"):
    return operation(document, of)["requestBody"]


def rename(table, old, new):
    table[new] = table.pop(old)


def rename_schema(document, old, new):
    text = json.dumps(document).replace(f'"#/components/schemas/{old}"', f'"#/components/schemas/{new}"')
    document.update(json.loads(text))
    rename(document["components"]["schemas"], old, new)


def set_type(document, name, of, *types):
    field(document, name, of)["type"] = list(types)


def alternatives(document, name, of, *schemas):
    """In place of the field's schema."""
    schema(document, of)["properties"][name] = {"oneOf": list(schemas)}


def add_replies(document):
    """Posts within posts."""
    replies = {"type": "array", "items": {"$ref": "#/components/schemas/Post"}}
    schema(document, "Post")["properties"]["replies"] = replies
    schema(document, "Post")["required"].append("replies")


STRING, NULL, NUMBER = {"type": "string"}, {"type": "null"}, {"type": "integer"}
ROLE, HEALTH = {"$ref": "#/components/schemas/Role"}, {"$ref": "#/components/schemas/Health"}
POST = ["POST /posts"]
LIST = ["GET /posts"]
# Where the post in the answers is read.
READERS = ["POST /posts", "PUT /posts/{id}", "PATCH /posts/{id}", "…"]
ADDITIVE = None

# The change; the operations that it breaks, "…" for others; what is said of it, and what when it is undone. `d` is
# the document.
CHANGES = [
    # Operations
    ("an operation goes", lambda d: d["paths"]["/posts/{id}"].pop("delete"),
     ["DELETE /posts/{id}"], "the operation is gone", ADDITIVE),
    ("a path goes", lambda d: d["paths"].pop("/users"), ["GET /users", "POST /users"], "is gone", ADDITIVE),
    ("a path's address changes", lambda d: rename(d["paths"], "/metrics", "/statistics"),
     ["…"], "is gone", "is gone"),
    ("a path's parameter gets another name", lambda d: (
        rename(d["paths"], "/api-keys/{id}", "/api-keys/{key}"),
        parameter(d, "id", "DELETE /api-keys/{key}").update(name="key")),
     ["…"], "path parameter `id`: is gone", "path parameter `key`: is gone"),
    ("an operation gets another operationId", lambda d: operation(d, *LIST).update(operationId="allPosts"),
     LIST, '"listPosts" and is "allPosts"', '"allPosts" and is "listPosts"'),
    ("an operation gets another tag", lambda d: operation(d, *LIST).update(tags=["articles"]),
     LIST, "`tags`", "`tags`"),
    ("an operation gets one more tag", lambda d: operation(d, *LIST)["tags"].append("more"), LIST, ADDITIVE, "`tags`"),
    ("an operation gets callbacks", lambda d: operation(d, *LIST).update(callbacks={"x": {}}),
     LIST, "cannot tell", "cannot tell"),
    ("texts, examples and links change", lambda d: (
        operation(d, *LIST).update(description="x", summary="x", deprecated=True),
        schema(d, "Post").update(description="x", example=1, title="x"),
        answer(d, "201", *POST).update(description="x", links={"read": {"operationId": "getPost"}}),
        parameter(d, "limit").update(description="x", example=1)),
     [], ADDITIVE, ADDITIVE),
    ("the address of the service changes", lambda d: d.update(servers=[{"url": "/v2"}]),
     EVERY, "the server / is gone", "the server /v2 is gone"),

    # Who may call
    ("who is nobody in particular may not call", lambda d: operation(d, *LIST).update(security=[{"bearer": []}]),
     LIST, "security: nobody in particular", ADDITIVE),
    ("tokens are no way in", lambda d: operation(d, *LIST).update(security=[{}]), LIST, ADDITIVE, ADDITIVE),
    ("a scope is needed", lambda d: operation(d, *POST).update(security=[{"bearer": ["write"]}]),
     POST, "security: bearer is let in no longer", ADDITIVE),
    ("a way in is another", lambda d: d["components"]["securitySchemes"]["bearer"].update(scheme="basic"),
     [*POST, "GET /users", "…"], "security scheme `bearer`: `scheme`", "security scheme `bearer`: `scheme`"),
    ("more of a role is needed", lambda d: operation(d, *POST).update({"x-required-role": "editor"}),
     POST, 'the role was "author" and is "editor"', ADDITIVE),

    # Parameters
    ("a parameter goes", lambda d: operation(d, *LIST)["parameters"].remove(parameter(d, "q")),
     LIST, "query parameter `q`: is gone", ADDITIVE),
    ("a parameter gets another name", lambda d: parameter(d, "q").update(name="search"),
     LIST, "query parameter `q`: is gone", "query parameter `search`: is gone"),
    ("a header is spelled otherwise", lambda d: parameter(d, "Prefer").update(name="prefer"), LIST, ADDITIVE, ADDITIVE),
    ("a parameter moves", lambda d: parameter(d, "q").update({"in": "header"}), LIST, "`q`: is gone", "`q`: is gone"),
    ("a parameter becomes required", lambda d: parameter(d, "q").update(required=True),
     LIST, "query parameter `q`: is now required", ADDITIVE),
    ("a required parameter is new", lambda d: operation(d, *LIST)["parameters"].append(
        {"name": "x", "in": "query", "required": True, "schema": STRING}),
     LIST, "`x`: is new and required", "`x`: is gone"),
    ("an optional parameter is new", lambda d: operation(d, *LIST)["parameters"].append(
        {"name": "x", "in": "query", "schema": STRING}),
     LIST, ADDITIVE, "query parameter `x`: is gone"),
    ("a path's own parameter becomes required", lambda d: d["paths"]["/posts"].update(
        parameters=[{"name": "X-Tenant", "in": "header", "required": True, "schema": STRING}]),
     [*LIST, *POST], "header parameter `X-Tenant`: is new and required", "is gone"),
    ("a parameter's maximum is less", lambda d: parameter(d, "limit")["schema"].update(maximum=50),
     LIST, "query parameter `limit`: `maximum` was 100 and is 50", ADDITIVE),
    ("a parameter loses a value", lambda d: parameter(d, "sort")["schema"]["enum"].remove("-title"),
     LIST, 'query parameter `sort`: no longer takes "-title"', ADDITIVE),
    ("a parameter's pattern knows one more word", lambda d: parameter(d, "fields")["schema"].update(
        pattern=parameter(d, "fields")["schema"]["pattern"].replace("|highlights", "|highlights|language")),
     LIST, ADDITIVE, "query parameter `fields`: `pattern`"),
    ("a parameter has another default", lambda d: parameter(d, "limit")["schema"].update(default=50),
     LIST, "`default` was 20 and is 50", "`default` was 50 and is 20"),
    ("a parameter is written otherwise", lambda d: parameter(d, "sort").update(explode=False),
     LIST, "cannot tell", "cannot tell"),

    # What clients send
    ("a body becomes required", lambda d: operation(d, "DELETE /posts/{id}").update(
        requestBody={"required": True, "content": {}}),
     ["DELETE /posts/{id}"], "a body is now required", "takes no body any longer"),
    ("a body becomes optional", lambda d: body(d).update(required=False), POST, ADDITIVE, "a body is now required"),
    ("a media type is taken no longer", lambda d: body(d, "PATCH /posts/{id}")["content"].pop("application/json"),
     ["PATCH /posts/{id}"], "request: application/json is gone", ADDITIVE),
    ("a field becomes required", lambda d: schema(d, "NewPost")["required"].append("author"),
     POST, "`NewPost` in requests, `author`: is now required", ADDITIVE),
    ("a field is taken no longer", lambda d: schema(d, "NewPost")["properties"].pop("published"),
     POST, "`NewPost` in requests: no longer takes `published`", ADDITIVE),
    ("an optional field is new", lambda d: schema(d, "NewPost")["properties"].update(language=STRING),
     POST, ADDITIVE, "no longer takes `language`"),
    ("a required field is new", lambda d: (schema(d, "NewPost")["properties"].update(language=STRING),
                                           schema(d, "NewPost")["required"].append("language")),
     POST, "`language`: is now required", "no longer takes `language`"),
    ("a body is no longer closed", lambda d: schema(d, "NewPost").pop("additionalProperties"),
     POST, ADDITIVE, "no longer takes properties of any other name"),
    ("a length is less", lambda d: field(d, "title", "NewPost").update(maxLength=100),
     POST, "`title`: `maxLength` was 255 and is 100", ADDITIVE),
    ("a length has a minimum", lambda d: field(d, "content", "NewPost").update(minLength=1),
     POST, "`content`: `minLength` was not there and is 1", ADDITIVE),
    ("a minimum is more", lambda d: field(d, "id", "PostReplacement").update(minimum=2),
     ["PUT /posts/{id}"], "`id`: `minimum` was 1 and is 2", ADDITIVE),
    ("a pattern changes", lambda d: field(d, "author", "NewPost").update(pattern="^a+$"),
     POST, "`author`: `pattern`", "`author`: `pattern`"),
    ("a pattern goes", lambda d: field(d, "author", "NewPost").pop("pattern"), POST, ADDITIVE, "`author`: `pattern`"),
    ("a format changes", lambda d: field(d, "expires_on", "NewApiKey").update(format="date"),
     ["POST /api-keys"], "`expires_on`: `format`", "`expires_on`: `format`"),
    ("null is taken no longer", lambda d: set_type(d, "author", "NewPost", "string"),
     POST, "`author`: no longer takes null", ADDITIVE),
    ("a type is another", lambda d: set_type(d, "published", "NewPost", "string"),
     POST, "`published`: no longer takes boolean", "`published`: no longer takes string"),
    ("a whole number may have a fraction", lambda d: set_type(d, "id", "PostReplacement", "number"),
     ["PUT /posts/{id}"], ADDITIVE, "`id`: no longer takes number"),
    ("any value becomes a string",
     lambda d: schema(d, "JsonPatch")["items"]["oneOf"][0]["properties"].update(value=STRING),
     ["PATCH /posts/{id}", "PATCH /users/{id}"],
     "`JsonPatch` in requests[], `value`: no longer takes null, boolean, number, array, object", ADDITIVE),
    ("an array has a maximum", lambda d: schema(d, "JsonPatch").update(maxItems=50),
     ["PATCH /posts/{id}", "PATCH /users/{id}"], "`maxItems`", ADDITIVE),
    ("an array may not have the same twice", lambda d: schema(d, "JsonPatch").update(uniqueItems=True),
     ["PATCH /posts/{id}", "PATCH /users/{id}"], "`uniqueItems`", ADDITIVE),
    ("a number must be one of a row", lambda d: parameter(d, "limit")["schema"].update(multipleOf=5),
     LIST, "`limit`: `multipleOf`", ADDITIVE),
    ("an array's items are less",
     lambda d: schema(d, "JsonPatch")["items"]["oneOf"][0]["properties"]["op"]["enum"].pop(),
     ["PATCH /posts/{id}", "PATCH /users/{id}"], '`op`: no longer takes "test"', ADDITIVE),
    ("a field becomes read-only", lambda d: field(d, "published", "NewPost").update(readOnly=True),
     POST, "`published`: is now read-only", ADDITIVE),
    ("a field becomes read-only, beside a reference", lambda d: field(d, "role", "NewUser").update(readOnly=True),
     ["POST /users"], "`role`: is now read-only", ADDITIVE),
    ("a field has another default", lambda d: field(d, "published", "NewPost").update(default=False),
     POST, "`default` was true and is false", "`default` was false and is true"),
    ("a schema says what no rule knows", lambda d: schema(d, "NewPost").update(dependentRequired={"title": ["author"]}),
     POST, "`dependentRequired`", "`dependentRequired`"),
    ("a field is never taken", lambda d: schema(d, "NewPost")["properties"].update(author=False),
     POST, "`author`: no longer takes string, null", ADDITIVE),

    # What clients get
    ("a success goes", lambda d: operation(d, *LIST)["responses"].pop("200"),
     LIST, "answer 200: is gone", "answer 200: is new"),
    ("a success is another", lambda d: rename(operation(d, *POST)["responses"], "201", "200"),
     POST, "answer 200: is new", "answer 201: is new"),
    ("an error is new, or goes", lambda d: answer(d, "401") and operation(d, *LIST)["responses"].update(
        {"429": {"$ref": "#/components/responses/TooManyRequests"}}),
     LIST, ADDITIVE, ADDITIVE),
    ("an answer to a condition is new", lambda d: operation(d, "GET /auth/me")["responses"].update(
        {"304": {"description": "What you have is current."}}),
     ["GET /auth/me"], ADDITIVE, "answer 304: is gone"),
    ("a media type is answered no longer", lambda d: rename(answer(d)["content"], "application/json", "text/csv"),
     LIST, "answer 200: application/json is gone", "text/csv is gone"),
    ("a media type can be asked for", lambda d: answer(d)["content"].update({"text/csv": {}}),
     LIST, ADDITIVE, "answer 200: text/csv is gone"),
    ("a shared answer loses its body", lambda d: d["components"]["responses"]["PostState"].pop("content"),
     ["PUT /posts/{id}", "PATCH /posts/{id}"], "answer 200: application/json is gone", ADDITIVE),
    ("errors lose their media type", lambda d: d["components"]["responses"]["NotFound"].pop("content"),
     ["GET /users/{id}", "GET /posts/{id}", "…"], "answer 404: application/problem+json is gone", ADDITIVE),
    ("a header goes", lambda d: answer(d)["headers"].pop("Link"), LIST, "answer 200, header `Link`: is gone", ADDITIVE),
    ("a header is spelled otherwise", lambda d: rename(answer(d)["headers"], "ETag", "etag"), LIST, ADDITIVE, ADDITIVE),
    ("a header may be missing", lambda d: answer(d)["headers"]["ETag"].update(required=False),
     LIST, "header `ETag`: may now be missing", ADDITIVE),
    ("a header is of another type", lambda d: answer(d)["headers"]["ETag"].update(schema=NUMBER),
     LIST, "header `ETag`: may now be integer", "header `ETag`: may now be string"),
    ("a shared answer's header goes", lambda d: d["components"]["responses"]["PostState"]["headers"].pop("ETag"),
     ["PUT /posts/{id}", "PATCH /posts/{id}"], "header `ETag`: is gone", ADDITIVE),
    ("an answer loses a field", lambda d: (schema(d, "User")["properties"].pop("disabled"),
                                           schema(d, "User")["required"].remove("disabled")),
     ["GET /users", "POST /users", "GET /users/{id}", "…"], "`User` in answers: no longer has `disabled`", ADDITIVE),
    ("an answer by allOf loses a field", lambda d: schema(d, "ApiKey")["properties"].pop("prefix"),
     ["GET /api-keys", "POST /api-keys"], "in answers: no longer has `prefix`", ADDITIVE),
    ("a field may be missing", lambda d: schema(d, "Post")["required"].remove("title"),
     READERS, "`Post` in answers, `title`: may now be missing", ADDITIVE),
    ("a field may be null", lambda d: set_type(d, "title", "Post", "string", "null"),
     READERS, "`title`: may now be null", ADDITIVE),
    ("a field is null or what it was", lambda d: alternatives(d, "role", "User", NULL, ROLE),
     ["GET /users", "…"], "`User` in answers, `role`: may now be null", ADDITIVE),
    ("null is said otherwise", lambda d: alternatives(d, "next_cursor", "PostPage", NULL, STRING),
     LIST, ADDITIVE, ADDITIVE),
    ("one alternative is new", lambda d: alternatives(d, "next_cursor", "PostPage", NULL, STRING, NUMBER),
     LIST, "`next_cursor`: may now be integer", ADDITIVE),
    ("a whole number may have a fraction, in answers", lambda d: set_type(d, "id", "PostItem", "number"),
     [*LIST, "…"], "`id`: may now be number", ADDITIVE),
    ("a length is more, in answers", lambda d: field(d, "title", "Post").update(maxLength=300),
     READERS, "`title`: `maxLength` was 255 and is 300", ADDITIVE),
    ("a number may be less, in answers", lambda d: field(d, "version", "Post").update(minimum=0),
     READERS, "`version`: `minimum` was 1 and is 0", ADDITIVE),
    ("a format changes, in answers", lambda d: field(d, "created_on", "Post").update(format="date"),
     READERS, "`created_on`: `format`", "`created_on`: `format`"),
    ("a pattern goes, in answers", lambda d: field(d, "status", "Health").pop("pattern"),
     ["GET /health/live", "GET /health/ready"], "`status`: `pattern`", ADDITIVE),
    ("a field is new, in answers", lambda d: (schema(d, "Post")["properties"].update(language=STRING),
                                              schema(d, "Post")["required"].append("language")),
     READERS, ADDITIVE, "no longer has `language`"),
    ("answers are closed", lambda d: schema(d, "Me").update(additionalProperties=False),
     ["GET /auth/me"], ADDITIVE, "may now have properties of any other name"),
    ("an error's field changes", lambda d: set_type(d, "code", "Fault", "integer"),
     ["GET /posts", "POST /users", "…"], "`Fault` in answers, `code`: may now be integer", "may now be string"),
    ("a default changes, in answers", lambda d: field(d, "published", "Post").update(default=True),
     READERS, ADDITIVE, ADDITIVE),

    # What requests and answers share
    ("an enum has one more value", lambda d: schema(d, "Role")["enum"].append("owner"),
     ["POST /users", "…"], '`Role` in answers: may now be "owner"', '`Role` in requests: no longer takes "owner"'),
    ("an enum has one value less", lambda d: schema(d, "Role")["enum"].remove("reader"),
     ["POST /users", "POST /api-keys", "…"], '`Role` in requests: no longer takes "reader"', 'may now be "reader"'),
    ("an enum becomes any string", lambda d: schema(d, "Role").pop("enum"),
     ["POST /users", "…"], "`Role` in answers: may now be any other value", "no longer takes any other value"),
    ("a schema gets another name", lambda d: rename_schema(d, "PostItem", "ListedPost"),
     [*LIST, "…"], "the schema `PostItem` is gone", "the schema `ListedPost` is gone"),
    ("a schema is written out where it is used", lambda d: schema(d, "User")["properties"].update(
        role={key: schema(d, "Role")[key] for key in ("type", "enum")}),
     [], ADDITIVE, ADDITIVE),
]

# The same, where the base has to be made first: the change, how to make the base, and so on.
CHANGES_OF = [
    ("schemas with themselves within", add_replies, lambda d: set_type(d, "title", "Post", "string", "null"),
     READERS, "`title`: may now be null", ADDITIVE),
    ("schemas with themselves within, and no change", add_replies, lambda d: None, [], ADDITIVE, ADDITIVE),
    ("an alternative changes within",
     lambda d: alternatives(d, "highlights", "PostItem", {"type": "object", "properties": {"a": STRING}},
                            {"type": "object", "properties": {"b": STRING}, "required": ["b"]}),
     lambda d: field(d, "highlights", "PostItem")["oneOf"].reverse(), [], ADDITIVE, ADDITIVE),
    ("what each alternative speaks of changes",
     lambda d: alternatives(d, "highlights", "PostItem", {"type": "object", "properties": {"a": HEALTH, "b": STRING}},
                            {"type": "object", "properties": {"a": HEALTH}}),
     lambda d: set_type(d, "status", "Health", "string", "null"),
     [*LIST, "…"], "`Health` in answers, `status`: may now be null", ADDITIVE),
    ("an alternative goes", lambda d: alternatives(d, "author", "NewPost", STRING, NUMBER, NULL),
     lambda d: field(d, "author", "NewPost")["oneOf"].pop(1), POST, "`author`: no longer takes integer", ADDITIVE),
    ("a word becomes one of some", lambda d: field(d, "token_type", "Tokens").update(const="Bearer"),
     lambda d: (field(d, "token_type", "Tokens").pop("const"),
                field(d, "token_type", "Tokens").update(enum=["Bearer", "DPoP"])),
     ["POST /auth/login", "…"], '`token_type`: may now be "DPoP"', ADDITIVE),
    ("what other properties may be, in requests",
     lambda d: schema(d, "NewPost").update(additionalProperties={"type": ["string", "null"]}),
     lambda d: schema(d, "NewPost").update(additionalProperties=STRING),
     POST, "`NewPost` in requests, any other property: no longer takes null", ADDITIVE),
    ("a schema is what all its parts say",
     lambda d: alternatives(d, "total", "PostPage", {"allOf": [{"type": "number", "minimum": 0}, {"type": "integer"}]}),
     lambda d: field(d, "total", "PostPage")["oneOf"][0]["allOf"].pop(), LIST, "`total`: may now be number", ADDITIVE),
    ("a shared parameter changes",
     lambda d: (d["components"].update(parameters={"Limit": parameter(d, "limit")}),
                operation(d, "GET /users")["parameters"].__setitem__(0, {"$ref": "#/components/parameters/Limit"})),
     lambda d: d["components"]["parameters"]["Limit"].update(required=True),
     ["GET /users"], "query parameter `limit`: is now required", ADDITIVE),
]


def changed(document, change):
    document = json.loads(json.dumps(document))
    change(document)
    return document


class Changes(unittest.TestCase):
    def test_each_change_is_judged_both_ways(self):
        cases = [(name, REAL, *rest) for name, *rest in CHANGES]
        cases += [(name, changed(REAL, make), *rest) for name, make, *rest in CHANGES_OF]
        for name, base, change, operations, there, back in cases:
            new = changed(base, change)
            with self.subTest(name):
                self.judge(base, new, operations, there)
            with self.subTest(f"{name}, undone"):
                self.judge(new, base, operations, back)

    def judge(self, old, new, operations, expected):
        breaks = breaking_changes(old, new)
        if expected is ADDITIVE:
            self.assertEqual(breaks, {})
            return
        said = {name for text, names in breaks.items() if expected in text for name in names}
        others = said if "…" in operations else set()
        self.assertTrue(said, f"{expected!r} is not in {breaks}")
        self.assertEqual(said, {*operations, *others} - {"…"}, breaks)

    def test_a_pattern_is_wider_when_it_has_more_words_at_the_same_places(self):
        for small, big, within in [
            ("^(a|b)(,(a|b))*$", "^(a|b|c)(,(a|b|c))*$", True),
            ("^(a|b)(,(a|b))*$", "^(a|b|c)(,(a|c))*$", False),
            ("^(a|b)$", "^(a|b)+$", False),
            ("^(?!(a|b)$)", "^(?!(a|b|c)$)", False),
            (None, "^a$", False),
        ]:
            with self.subTest(small=small, big=big):
                self.assertEqual(pattern_within(small, big), within)


class Announcements(unittest.TestCase):
    def test_what_the_changelog_announces(self):
        changelog = ("# Changelog\n\n## Unreleased\n\n### Added\n\n- `GET /added`\n\n### Breaking\n\n"
                     "- `GET /posts?q=…` and `PUT /posts/{id}` do.\n\n## 1.1.0\n\n### Breaking\n\n- `POST /users`\n\n"
                     "## 1.0.0\n\n### Breaking\n\n- `GET /old`\n")
        # Between a release's commit and its tag the section has its name already.
        self.assertEqual(announced(changelog, "## Unreleased\n\n## 1.0.0\n"),
                         {"GET /posts", "PUT /posts/{id}", "POST /users"})
        self.assertEqual(announced(changelog, changelog), {"GET /posts", "PUT /posts/{id}"})
        self.assertEqual(announced("# Changelog\n\n## Unreleased\n\n### Added\n\n- `GET /posts`\n", ""), set())


class Runs(unittest.TestCase):
    """The script in a repository of its own."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name) / "origin"
        (self.root / "openapi").mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main", ".")
        self.write(REAL)
        (self.root / CHANGELOG).write_text("# Changelog\n\n## Unreleased\n")
        self.git("add", ".")
        self.commit("before the check")

    def git(self, *arguments):
        names = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *names, *arguments], cwd=self.root, check=True, capture_output=True)

    def commit(self, message):
        self.git("add", ".")
        self.git("commit", "--quiet", "-m", message)

    def add_check(self):
        shutil.copy(Path(__file__).with_name("compatibility.py"), self.root / "openapi")
        self.commit("the check")

    def write(self, document):
        (self.root / DOCUMENT).write_text(json.dumps(document))

    def check(self, *arguments, root=None):
        script = (root or self.root) / "openapi/compatibility.py"
        run = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True)
        return run.returncode, run.stdout + run.stderr

    def test_a_break_is_refused_until_it_is_announced_and_again_after_the_release(self):
        self.add_check()
        status, said = self.check()
        self.assertEqual(status, 0, said)
        self.assertIn("additive since", said)

        broken = changed(REAL, lambda d: operation(d, *LIST)["parameters"].pop(0))
        self.write(broken)
        status, said = self.check()
        self.assertEqual(status, 1, said)
        self.assertIn("query parameter `limit`: is gone", said)
        self.assertIn("not named: `GET /posts`", said)

        (self.root / CHANGELOG).write_text("# Changelog\n\n## Unreleased\n\n### Breaking\n\n- `GET /posts` has all.\n")
        status, said = self.check()
        self.assertEqual(status, 0, said)
        self.assertIn("as CHANGELOG.md says", said)

        (self.root / CHANGELOG).write_text(
            "# Changelog\n\n## Unreleased\n\n## 1.0.0\n\n### Breaking\n\n- `GET /posts` has all.\n")
        self.commit("1.0.0")
        self.assertEqual(self.check()[0], 0, "between the release's commit and its tag")
        self.git("tag", "v1.0.0")
        status, said = self.check()
        self.assertEqual((status, said.strip()), (0, f"{DOCUMENT}: additive since v1.0.0"))

        self.write(changed(broken, lambda d: operation(d, *LIST)["parameters"].pop(0)))
        status, said = self.check()
        self.assertEqual(status, 1, "what the release announced does not count for the next")

    def test_the_base_may_be_named(self):
        self.add_check()
        self.write(changed(REAL, lambda d: d["paths"].pop("/posts")))
        self.commit("a break")
        self.assertEqual(self.check()[0], 1)
        self.assertEqual(self.check("HEAD")[0], 0)
        self.assertEqual(self.check("HEAD~1")[0], 1)
        self.assertEqual(self.check(str(ROOT / DOCUMENT))[0], 1)
        status, said = self.check("v0.0.0")
        self.assertEqual(status, 1)
        self.assertIn("v0.0.0 is no file, and git has no openapi/openapi.json of it", said)

    def test_a_shallow_clone_says_what_it_lacks(self):
        self.add_check()
        self.write(changed(REAL, lambda d: d["paths"].pop("/posts")))
        self.commit("a break")
        clone = self.root.with_name("clone")
        self.git("clone", "--quiet", "--depth", "1", f"file://{self.root}", str(clone))
        status, said = self.check(root=clone)
        self.assertEqual(status, 1)
        self.assertIn("git fetch --unshallow --tags", said)


if __name__ == "__main__":
    unittest.main()
