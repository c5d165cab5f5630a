"""Holds each expression of the alerts and of the dashboard to a running Prometheus: see `check`.

    python3 expressions.py PROMETHEUS METRICS...

METRICS are files with what the service's /metrics said.
"""

import json
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
# What is of no use to look at.
NOT_ON_THE_DASHBOARD = {"process_virtual_memory_max_bytes"}
# Names of series begin so, and nothing else in an expression does.
SELECTOR = re.compile(r"\b(?:(?:posts|process)_\w+|up\b)(?:\{[^}]*\})?")
GROUPING = re.compile(r"\b(?:by|on|without|group_left)\s*\(([^)]*)\)")
VARIABLES = {"$job": "posts", "$instance": ".*", "$__rate_interval": "10s"}


def ask(prometheus, path, **parameters):
    """An answer of Prometheus' API; what it says is wrong, where it refuses."""
    url = f"{prometheus}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"], None
    except urllib.error.HTTPError as error:
        return None, json.load(error)["error"]


def wrong_with(prometheus, expression, texts):
    """What is wrong with an expression, or with the texts that name its labels."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    _, error = ask(prometheus, "query", query=expression)
    if error:
        yield error
        return
    selectors = SELECTOR.findall(expression)
    if not selectors:
        yield "it asks for no metric"
    labels = {"le"}
    for selector in selectors:
        series, _ = ask(prometheus, "series", **{"match[]": selector})
        if not series:
            yield f"nothing matches {selector}"
        labels.update(*series)
    named = {label.strip() for group in GROUPING.findall(expression) for label in group.split(",")}
    for text in texts:
        named.update(re.findall(r"\$labels\.(\w+)", text) or re.findall(r"\{\{\s*(\w+)\s*\}\}", text))
    for label in sorted(named - labels - {""}):
        yield f"no series has the label {label}"


def alerts(prometheus):
    """Name, expression and texts of each alert, as Prometheus has read them."""
    for group in ask(prometheus, "rules")[0]["groups"]:
        for rule in group["rules"]:
            yield rule["name"], rule["query"], list(rule["annotations"].values())


def panels(dashboard):
    """Title, expression and texts of each query of the dashboard."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"], [target["legendFormat"]]
    for annotation in dashboard["annotations"]["list"]:
        yield annotation["name"], annotation["expr"], [annotation["textFormat"]]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            selector, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"]).groups()
            yield variable["name"], selector, [f"{{{{{label}}}}}"]


def main():
    prometheus, metrics = sys.argv[1], "".join(Path(name).read_text(encoding="utf-8") for name in sys.argv[2:])
    dashboard = json.loads((HERE / "dashboard.json").read_text(encoding="utf-8"))
    rules, queries = list(alerts(prometheus)), list(panels(dashboard))
    wrong = []
    for place, expressions in (("alert", rules), ("dashboard", queries)):
        for name, expression, texts in expressions:
            wrong += (f"{place}, {name}: {what}" for what in wrong_with(prometheus, expression, texts))

    families = dict(re.findall(r"^# TYPE (\w+) (\w+)$", metrics, re.MULTILINE))
    shown = {re.sub(r"_(bucket|sum|count)$", "", re.split(r"\{", selector)[0]) for _, expression, _ in queries for selector in SELECTOR.findall(expression)}
    wrong += (f"{name} is not on the dashboard" for name in sorted(set(families) - shown - NOT_ON_THE_DASHBOARD))
    wrong += (f"{name} is no metric any more" for name in sorted(NOT_ON_THE_DASHBOARD - set(families)))

    page = (HERE.parent / "docs/operations.md").read_text(encoding="utf-8")
    tests = (HERE / "alerts.test.yml").read_text(encoding="utf-8")
    for name, _, _ in rules:
        if f"`{name}`" not in page:
            wrong.append(f"docs/operations.md does not explain {name}")
        if f'alertname="{name}"' not in tests:
            wrong.append(f"no test has {name} fire")
    wrong += (f"docs/operations.md does not name {name}" for name in sorted(families) if name.startswith("posts_") and f"`{name}`" not in page)

    print(f"alerts: {len(rules)}, queries of the dashboard: {len(queries)}, metrics: {len(families)}, wrong: {len(wrong)}")
    for line in wrong:
        print(f"  {line}", file=sys.stderr)
    sys.exit(1 if wrong or not rules or not queries else 0)


if __name__ == "__main__":
    main()
