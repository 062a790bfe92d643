#!/usr/bin/env python3
"""docs/openapi.yaml against docs/HTTP.md, proto/ and itself: every call in both, every reference and message there.

usage: openapi_check.py TREE      exit status 77: python3-yaml is not installed
"""
import re
import sys

try:
    import yaml
except ImportError:
    print("skipped: no python3-yaml")
    sys.exit(77)

tree = sys.argv[1]
with open(f"{tree}/docs/openapi.yaml", encoding="utf-8") as file:
    api = yaml.safe_load(file)
with open(f"{tree}/docs/HTTP.md", encoding="utf-8") as file:
    text = file.read().replace("\\|", "|")
messages = set()
for name in ("api", "tx", "seal", "block"):
    with open(f"{tree}/proto/nacre/{name}.proto", encoding="utf-8") as file:
        messages |= set(re.findall(r"^message (\w+)", file.read(), re.MULTILINE))

failures = []


def plain(path):
    """A path without its query, and with every variable part alike."""
    return re.sub(r"\{[^}]*\}", "{}", path.split("?")[0])


written = {(m, plain(p)) for line in text.splitlines() if line.startswith("| `")
           for m, p in re.findall(r"`(GET|POST) ([^`]+)`", line.split(" | ")[0])}
for line in text.splitlines():  # "`GET /v1/accounts/{id}`, `/v1/workers/{id}`": the method stands once
    if line.startswith("| `"):
        first = re.match(r"\| `(GET|POST)", line)
        written |= {(first.group(1), plain(p)) for p in re.findall(r"`(/[^`]+)`", line.split(" | ")[0])}
specified = {(method.upper(), plain(path)) for path, item in api["paths"].items() for method in item}
failures += [f"{m} {p} is in docs/HTTP.md only" for m, p in sorted(written - specified)]
failures += [f"{m} {p} is in docs/openapi.yaml only" for m, p in sorted(specified - written)]


def walk(node, where):
    if isinstance(node, dict):
        reference = node.get("$ref")
        if isinstance(reference, str):
            target = api
            for part in reference.removeprefix("#/").split("/"):
                target = target.get(part) if isinstance(target, dict) else None
            if target is None:
                failures.append(f"{where}: {reference} leads nowhere")
        message = node.get("x-message")
        if message is not None and message not in messages:
            failures.append(f"{where}: no message {message} in proto/")
        for key, value in node.items():
            walk(value, f"{where}/{key}")
    elif isinstance(node, list):
        for i, value in enumerate(node):
            walk(value, f"{where}/{i}")


walk(api, "")
for path, item in api["paths"].items():
    for method, call in item.items():
        names = {p.get("name") or p["$ref"].rsplit("/", 1)[1] for p in call.get("parameters", [])}
        for variable in re.findall(r"\{(\w+)\}", path):
            if variable not in names:
                failures.append(f"{method} {path}: {variable} is not described")
        if "200" not in call["responses"] or not call.get("tags") or not call.get("summary"):
            failures.append(f"{method} {path}: tags, summary or the good answer are missing")

for failure in failures:
    print(failure, file=sys.stderr)
print(f"{len(specified)} calls, {len(failures)} failures")
sys.exit(1 if failures or not specified else 0)
