#!/usr/bin/env python3
"""Tells whether openapi/openapi.json still serves the clients of a base, an earlier version of it.

Clients are programs that were written for the base, and those that were generated from it, which have names
from it: of operations, tags, parameters, properties and schemas.

The one idea: **every value of one schema must be a value of another.** What a client sends by the base must be
taken now, and what is answered now must be what the base describes. So each rule of a schema is written once, for a
`small` and a `big` one, and the two change places between requests and answers. A difference that no rule here
understands counts as breaking: the check may be too strict, and then the changelog says why that is all right.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = "openapi/openapi.json"
CHANGELOG = "CHANGELOG.md"

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
# They come only to a client that asked for them, by a condition or a range.
ASKED_FOR = ("206", "304")

# What is said of a thing, and binds nobody.
NOTES = {"title", "summary", "description", "example", "examples", "deprecated", "externalDocs", "links", "$comment"}
TYPES = ("null", "boolean", "number", "string", "array", "object")
LOWER = {"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"}
UPPER = {"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"}
# The keywords that mean something for values of one type alone.
KEYWORDS = {
    "number": {"format", "multipleOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
    "string": {"format", "pattern", "minLength", "maxLength"},
    "array": {"items", "uniqueItems", "minItems", "maxItems"},
    "object": {"properties", "required", "additionalProperties", "minProperties", "maxProperties"},
}
KEYWORDS["integer"] = KEYWORDS["number"]
OF_ONE_TYPE = set.union(*KEYWORDS.values())
# What a rule below looks at; everything else must stay as it is.
JUDGED = OF_ONE_TYPE | {"type", "enum", "default", "readOnly"}

REFUSED = "what clients send today may be refused"
UNREADABLE = "clients may meet what they cannot read"
RENAMED = "generated clients lose the name"


def breaking_changes(old, new):
    """The changes that break clients of `old`: what each is, and the operations that it breaks."""
    breaks = {}
    operations, comparison = dict(each_operation(new)), Comparison(old, new)
    for key, (name, old_operation) in each_operation(old):
        if key not in operations:
            found = [f"the operation is gone; {REFUSED}"]
        else:
            found = comparison.operation(old_operation, operations[key][1])
        for text in found:
            breaks.setdefault(text, []).append(name)
    return breaks


def each_operation(document):
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                # The name of a path's parameter is not in the URL; it is compared with the parameters.
                key = method, re.sub(r"\{[^}]*\}", "{}", path)
                shared = {name: item[name] for name in ("parameters", "servers") if name in item}
                operation = {**shared, **item[method]}
                operation["parameters"] = shared.get("parameters", []) + item[method].get("parameters", [])
                operation.setdefault("security", document.get("security", []))
                operation.setdefault("servers", document.get("servers", []))
                yield key, (f"{method.upper()} {path}", operation)


class Comparison:
    """Of the operations, one after another. Each method returns what breaks: where, what, and why that matters."""

    def __init__(self, old, new):
        self.old, self.new = old, new
        self.gone = components(old, "schemas").keys() - components(new, "schemas").keys()
        # The pairs that were met in this operation, so that a schema may have itself within; and those of the
        # operations in which nothing breaks, so that nothing does in them, either.
        self.seen, self.sound = set(), set()

    def operation(self, old, new):
        self.seen = set(self.sound)
        found = self.everything(old, new)
        if not found:
            self.sound = self.seen
        return found

    def met(self, old, new, sent):
        """Whether the two were compared already. Without a reference they have no name, and each place is told."""
        pair = sent, json.dumps(old), json.dumps(new)
        before = pair in (self.seen if "$ref" in old or "$ref" in new else self.sound)
        self.seen.add(pair)
        return before

    def everything(self, old, new):
        found = []
        if old.get("operationId") != new.get("operationId"):
            found.append(f"`operationId` {was(old, new, 'operationId')}; {RENAMED}")
        # Generators put an operation where its tags say; one more at the end moves nothing.
        tags, new_tags = old.get("tags", []), new.get("tags", [])
        if new_tags[: len(tags)] != tags:
            found.append(f"`tags` {was(old, new, 'tags')}; {RENAMED}")
        servers, new_servers = ([server["url"] for server in one["servers"]] for one in (old, new))
        found += [f"the server {url} is gone; {REFUSED}" for url in servers if url not in new_servers]
        for name in sorted(self.gone and self.gone & schema_names(self.old, old)):
            found.append(f"the schema `{name}` is gone; {RENAMED}")
        found += self.access(old, new)
        found += self.parameters(old["parameters"], new["parameters"])
        found += self.body(old.get("requestBody"), new.get("requestBody"))
        found += self.answers(old["responses"], new["responses"])
        judged = {"operationId", "tags", "servers", "security", "parameters", "requestBody", "responses"}
        return unique(found + unjudged("the operation", old, new, judged))

    def access(self, old, new):
        found = []
        for way in old["security"] or [{}]:
            # A way in still works where one of today's asks for nothing more.
            if not any(asks_no_more(other, way) for other in new["security"] or [{}]):
                found.append(f"security: {' and '.join(way) or 'nobody in particular'} is let in no longer; {REFUSED}")
            for name in way:
                then, now = (components(one, "securitySchemes").get(name, {}) for one in (self.old, self.new))
                found += unjudged(f"security scheme `{name}`", then, now, {"bearerFormat"})
        # Each role may do what those before it may.
        roles = components(self.new, "schemas").get("Role", {}).get("enum", [])

        def rank(operation):
            role = operation.get("x-required-role")
            return roles.index(role) if role in roles else -1

        if rank(new) > rank(old):
            found.append(f"the role {was(old, new, 'x-required-role')}; {REFUSED}")
        return found

    def parameters(self, old, new):
        found = []
        old, new = named_parameters(self.old, old), named_parameters(self.new, new)
        for name, (place, parameter) in new.items():
            if name not in old and parameter.get("required"):
                found.append(f"{place}: is new and required; {REFUSED}")
        for name, (place, then) in old.items():
            if name not in new:
                found.append(f"{place}: is gone; {REFUSED}")
                continue
            now = new[name][1]
            if now.get("required") and not then.get("required"):
                found.append(f"{place}: is now required; {REFUSED}")
            found += self.schema(then.get("schema", {}), now.get("schema", {}), place, True)
            found += unjudged(place, then, now, {"name", "in", "required", "schema"})
        return found

    def body(self, old, new):
        old, new = old and resolve(self.old, old), new and resolve(self.new, new)
        if new and new.get("required") and not (old and old.get("required")):
            return [f"request: a body is now required; {REFUSED}"]
        if old and not new:
            return [f"request: takes no body any longer; {REFUSED}"]
        return self.content(old, new, "request", True) if old else []

    def answers(self, old, new):
        found = []
        for status in new:
            # Of an error a client knows the status alone, and must expect any.
            if status not in old and status[0] in "123" and status not in ASKED_FOR:
                found.append(f"answer {status}: is new; {UNREADABLE}")
        for status, answer in old.items():
            place = f"answer {status}"
            if status not in new:
                if status[0] in "123":
                    found.append(f"{place}: is gone; clients wait for it in vain")
                continue
            if self.met(answer, new[status], False):
                continue
            then, now = resolve(self.old, answer), resolve(self.new, new[status])
            found += self.content(then, now, place, False)
            headers = {name.lower(): header for name, header in now.get("headers", {}).items()}
            for name, header in then.get("headers", {}).items():
                here, header = f"{place}, header `{name}`", resolve(self.old, header)
                other = resolve(self.new, headers.get(name.lower(), {}))
                if not other:
                    found.append(f"{here}: is gone; clients wait for it in vain")
                    continue
                if header.get("required") and not other.get("required"):
                    found.append(f"{here}: may now be missing; {UNREADABLE}")
                found += self.schema(header.get("schema", {}), other.get("schema", {}), here, False)
                found += unjudged(here, header, other, {"required", "schema"})
        return found

    def content(self, old, new, place, sent):
        found = []
        for media_type, then in old.get("content", {}).items():
            now = new.get("content", {}).get(media_type)
            if now is None:
                found.append(f"{place}: {media_type} is gone; {REFUSED if sent else UNREADABLE}")
                continue
            here = f"{place}, {media_type}"
            found += self.schema(then.get("schema", {}), now.get("schema", {}), here, sent)
            found += unjudged(here, then, now, {"schema"})
        return found

    def schema(self, old, new, place, sent):
        """`sent` by clients: then each old value must be a new one; otherwise the other way round."""
        old, new = as_object(old), as_object(new)
        if self.met(old, new, sent):
            return []
        if "$ref" in old and "$ref" in new:
            # The place begins anew at a schema with a name, which people find at once.
            named = f"`{old['$ref'].rpartition('/')[2]}` in {'requests' if sent else 'answers'}"
            found = self.schema(resolve(self.old, old), resolve(self.new, new), named, sent)
            old, new = ({key: value for key, value in one.items() if key != "$ref"} for one in (old, new))
            return found + self.schema(old, new, place, sent)

        found, missing = [], []
        old, new = variants(self.old, old), variants(self.new, new)
        for small in old if sent else new:
            candidates = [big for big in (new if sent else old) if fits(small["type"], big["type"])]
            if not candidates:
                missing.append(small["type"])
                continue
            # Each is tried on its own; with more than one, what the nearest lacks is told.
            seen, tries = self.seen, []
            for big in candidates:
                self.seen = set(seen)
                tries.append((self.variant(small, big, place, sent), self.seen))
            nearest, self.seen = min(tries, key=lambda one: len(one[0]))
            found += nearest
        if missing:
            found.insert(0, says(place, sent, "no longer takes", "may now be", ", ".join(unique(missing))))
        return unique(found)

    def variant(self, small, big, place, sent):
        """Both have one type, and neither has `$ref`, `allOf`, `oneOf` or `anyOf`."""
        old, new = (small, big) if sent else (big, small)
        why = REFUSED if sent else UNREADABLE
        found = []

        if "enum" in big:
            values = [json.dumps(value) for value in small.get("enum", [])]
            more = [value for value in values if value not in map(json.dumps, big["enum"])]
            if "enum" not in small:
                more = ["any other value"]
            if more:
                found.append(says(place, sent, "no longer takes", "may now be", ", ".join(more)))

        changed = []
        for key in sorted(LOWER & big.keys()):
            none = -float("inf") if "inimum" in key else 0
            if small.get(key, none) < big[key]:
                changed.append(key)
        for key in sorted(UPPER & big.keys()):
            if small.get(key, float("inf")) > big[key]:
                changed.append(key)
        if "pattern" in big and not pattern_within(small.get("pattern"), big["pattern"]):
            changed.append("pattern")
        for key in ("multipleOf", "uniqueItems"):
            if big.get(key) and small.get(key) != big[key]:
                changed.append(key)
        # Generators make a type of it, so either way is a change.
        if small.get("format") != big.get("format"):
            changed.append("format")
        found += [f"{place}: `{key}` {was(old, new, key)}; {why}" for key in changed]

        if sent and "default" in old and ("default" not in new or old["default"] != new["default"]):
            found.append(f"{place}: `default` {was(old, new, 'default')}; who leaves it out gets something else")
        if sent and new.get("readOnly") and not old.get("readOnly"):
            found.append(f"{place}: is now read-only; {why}")

        if "items" in big:
            found += self.schema(old.get("items", {}), new.get("items", {}), f"{place}[]", sent)
        if big["type"] == "object":
            found += self.properties(small, big, place, sent)
        return found + unjudged(place, old, new, JUDGED)

    def properties(self, small, big, place, sent):
        found = []
        old, new = (small, big) if sent else (big, small)
        then, now = old.get("properties", {}), new.get("properties", {})
        for name in then:
            if name not in now:
                found.append(says(place, sent, "no longer takes", "no longer has", f"`{name}`"))
            else:
                found += self.schema(then[name], now[name], f"{place}, `{name}`", sent)
        for name in sorted(set(big.get("required", [])) - set(small.get("required", []))):
            if sent or name in now or name not in then:
                found.append(says(f"{place}, `{name}`", sent, "is now required", "may now be missing"))

        # A new property is additive, unless the base said that there would be no other, or of which kind.
        others, more = old.get("additionalProperties", True), new.get("additionalProperties", True)
        for name in now:
            if not sent and name not in then and others is False:
                found.append(f"{place}, `{name}`: is new, and there was to be no other; {UNREADABLE}")
            elif not sent and name not in then and others is not True:
                found += self.schema(others, now[name], f"{place}, `{name}`", sent)
        wide, narrow = (others, more) if sent else (more, others)
        if narrow is False and wide is not False:
            found.append(says(place, sent, "no longer takes", "may now have", "properties of any other name"))
        elif narrow is not True and wide is not False:
            found += self.schema(others, more, f"{place}, any other property", sent)
        return found


def fits(kind, other):
    return kind == other or (kind, other) == ("integer", "number")


def variants(document, schema):
    """The schema as alternatives, each of one type, so that it does not matter how a document says "or null".

    `oneOf` is read as `anyOf`: that no value fits two alternatives is left to the document.
    """
    flat = flatten(document, schema)
    for key in ("oneOf", "anyOf"):
        if key in flat:
            rest = {name: value for name, value in flat.items() if name != key}
            return [one for member in flat[key] for one in variants(document, {"allOf": [rest, member]})]
    alternatives = []
    types = flat.get("type", list(TYPES))
    for kind in [types] if isinstance(types, str) else types:
        other = OF_ONE_TYPE - KEYWORDS.get(kind, set())
        one = {key: value for key, value in flat.items() if key not in other} | {"type": kind}
        if "enum" in one:
            one["enum"] = [value for value in one["enum"] if is_of(kind, value)]
        if one.get("enum") != []:
            alternatives.append(one)
    return alternatives


def flatten(document, schema):
    """The schema without `$ref`, `allOf`, `const` and notes, at its top."""
    schema = as_object(schema)
    flat = {}
    own = {key: value for key, value in schema.items()
           if key not in NOTES and key not in ("$ref", "allOf", "const") and not key.startswith("x-")}
    if "const" in schema:
        own["enum"] = [schema["const"]]
    parts = [own] + [flatten(document, part) for part in schema.get("allOf", [])]
    if "$ref" in schema:
        parts.append(flatten(document, resolve(document, schema)))
    for part in parts:
        for key, value in part.items():
            if key not in flat or flat[key] == value:
                flat[key] = value
            elif key == "properties":
                both = {name: {"allOf": [flat[key][name], value[name]]} for name in flat[key].keys() & value.keys()}
                flat[key] = {**flat[key], **value, **both}
            elif key == "required":
                flat[key] = unique(flat[key] + value)
            elif key == "type":
                mine, yours = ([one] if isinstance(one, str) else one for one in (flat[key], value))
                flat[key] = [one for one in unique(mine + yours)
                             if any(fits(one, other) for other in mine) and any(fits(one, other) for other in yours)]
            elif key == "enum":
                flat[key] = [one for one in flat[key] if one in value]
            elif key in LOWER | UPPER:
                flat[key] = (max if key in LOWER else min)(flat[key], value)
            elif key in ("items", "additionalProperties"):
                flat[key] = False if False in (flat[key], value) else {"allOf": [flat[key], value]}
            elif key == "readOnly":
                flat[key] = True
            else:
                # No rule knows this name, so that it must stay as it is.
                flat[f"allOf, {key}"] = flat.get(f"allOf, {key}", []) + [value]
    return flat


def as_object(schema):
    """`true` and `false` are schemas, too: of every value, and of none."""
    return {True: {}, False: {"enum": []}}[schema] if isinstance(schema, bool) else schema


def is_of(kind, value):
    kinds = {"null": type(None), "boolean": bool, "string": str, "array": list, "object": dict}
    return isinstance(value, kinds.get(kind, (int, float))) and (kind == "boolean" or not isinstance(value, bool))


def pattern_within(small, big):
    """Whether all that `small` matches `big` does, as far as one can see without a theory: they are the same, or the
    same but for the words in brackets, as in `^(id|title)(,(id|title))*$`, of which `big` has all."""
    words = []

    def skeleton(pattern):
        words.append([])
        return re.sub(r"\((\w+(?:\|\w+)*)\)", lambda group: words[-1].append(set(group[1].split("|"))) or "()", pattern)

    if small is None or "(?" in small or "(?" in big:
        return small == big
    return skeleton(small) == skeleton(big) and all(mine <= yours for mine, yours in zip(*words, strict=True))


def asks_no_more(way, than):
    return all(name in than and set(scopes) <= set(than[name]) for name, scopes in way.items())


def named_parameters(document, parameters):
    named = {}
    for parameter in parameters:
        parameter = resolve(document, parameter)
        kind, name = parameter["in"], parameter["name"]
        # The names of headers have no case.
        named[kind, name.lower() if kind == "header" else name] = f"{kind} parameter `{name}`", parameter
    return named


def schema_names(document, node):
    """The schemas that a part of the document speaks of, by name."""
    names, waiting, visited = set(), [node], set()
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, dict):
            waiting += node.values()
            reference = node.get("$ref")
            if isinstance(reference, str) and reference not in visited:
                visited.add(reference)
                waiting.append(resolve(document, node))
                if reference.startswith("#/components/schemas/"):
                    names.add(reference.rpartition("/")[2])
    return names


def components(document, kind):
    return document.get("components", {}).get(kind, {})


def resolve(document, node):
    """What a reference leads to. A schema's may say more beside it, which is compared on its own."""
    if "$ref" not in node:
        return node
    place = document
    for step in node["$ref"].removeprefix("#/").split("/"):
        place = place[step.replace("~1", "/").replace("~0", "~")]
    return place


def unjudged(place, old, new, judged):
    keys = sorted(key for key in (old.keys() | new.keys()) - judged - NOTES if not key.startswith("x-"))
    return [f"{place}: `{key}` {was(old, new, key)}; this check cannot tell whether that is additive"
            for key in keys if old.get(key) != new.get(key)]


def says(place, sent, request, answer, what=""):
    return f"{place}: {request if sent else answer}{what and ' '}{what}; {REFUSED if sent else UNREADABLE}"


def was(old, new, key):
    then, now = (json.dumps(one[key], ensure_ascii=False) if key in one else "not there" for one in (old, new))
    return f"was {then} and is {now}"


def unique(values):
    return list(dict.fromkeys(values))


def announced(changelog, base_changelog):
    """The operations that the changelog says to break since the base: under `### Breaking`, in all the sections above
    the base's newest release. That is `## Unreleased`, and in the commit of a release the section that was it."""
    releases = set(re.findall(r"^## .*", base_changelog, re.M)) - {"## Unreleased"}
    named = set()
    section = heading = None
    for line in changelog.splitlines():
        if line.startswith("## "):
            section, heading = line, None
            if section in releases:
                break
        elif line.startswith("### "):
            heading = line
        elif section and heading == "### Breaking":
            named |= {f"{method} {path}" for method, path in re.findall(r"`([A-Z]+) (/[^`?\s]*)[^`]*`", line)}
    return named


def git(*arguments, root=ROOT, required=False):
    # In a container the clone is often somebody else's, of whom git would be afraid.
    command = ["git", "-C", str(root), "-c", "safe.directory=*", *arguments]
    run = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    if run.returncode and required:
        sys.exit(run.stderr.strip())
    return None if run.returncode else run.stdout.strip()


def default_base(root=ROOT):
    """The newest release that this commit comes after; before the first, the commit that brought this check."""
    shallow = git("rev-parse", "--is-shallow-repository", root=root, required=True) == "true"
    release = git("describe", "--tags", "--abbrev=0", "--match", "v[0-9]*", root=root)
    if release:
        return release
    if shallow:
        sys.exit("this clone is shallow and has no release; `git fetch --unshallow --tags` brings the rest")
    commit = git("log", "--diff-filter=A", "--format=%H", "-1", "--", "openapi/compatibility.py", root=root)
    if not commit:
        sys.exit("git knows no release, and no commit that has this check: name a base, a revision or a file")
    return commit


def main():
    parser = argparse.ArgumentParser(description="Tells whether a change of the document breaks clients.")
    parser.add_argument("base", nargs="?", help="a git revision or a file; by default the newest release")
    base = parser.parse_args().base or default_base()

    changelog = (ROOT / CHANGELOG).read_text(encoding="utf-8")
    if Path(base).is_file():
        # A file has no history: then `## Unreleased` alone counts.
        document, base_changelog = Path(base).read_text(encoding="utf-8"), changelog
    else:
        document, base_changelog = git("show", f"{base}:{DOCUMENT}"), git("show", f"{base}:{CHANGELOG}") or ""
        if document is None:
            sys.exit(f"{base} is no file, and git has no {DOCUMENT} of it; `git fetch --unshallow --tags` gets what "
                     "a shallow clone lacks")

    breaks = breaking_changes(json.loads(document), json.loads((ROOT / DOCUMENT).read_text(encoding="utf-8")))
    if not breaks:
        print(f"{DOCUMENT}: additive since {base}")
        return 0
    for text, operations in breaks.items():
        print(f"{text}\n    breaks {', '.join(f'`{name}`' for name in operations)}")
    silent = {name for operations in breaks.values() for name in operations} - announced(changelog, base_changelog)
    if silent:
        names = ", ".join(f"`{name}`" for name in sorted(silent))
        print(f"{DOCUMENT}: breaks clients since {base}. Make it additive, or say so in {CHANGELOG} under "
              f"`## Unreleased`, `### Breaking`, where these are not named: {names}")
        return 1
    print(f"{DOCUMENT}: breaks clients since {base}, as {CHANGELOG} says")
    return 0


if __name__ == "__main__":
    sys.exit(main())
