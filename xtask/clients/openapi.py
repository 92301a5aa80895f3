"""Holds the OpenAPI document of `proxmox-mcp serve --http` against the standard, and answers against it.

Usage: openapi.py URL
URL is the server's endpoint for MCP. Prints each step, and at the end how many of each feature's
passed; ends with 1 if one is not as it should be.
"""

import json
import sys
import urllib.error
import urllib.request

from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

TALLY = {}


def check(feature, what, ok, seen=""):
    print(f"  {'ok ' if ok else 'NOT'} {what}{': ' + str(seen)[:2000] if seen and not ok else ''}")
    passed, total = TALLY.get(feature, (0, 0))
    TALLY[feature] = (passed + bool(ok), total + 1)


def ask(url, arguments=None):
    body = None if arguments is None else json.dumps(arguments).encode()
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def complaints(document, operation, status, body):
    """What is wrong with an answer, by the schema that the document has for its status."""
    said = operation["responses"].get(str(status)) or operation["responses"].get("default")
    if said is None:
        return [f"the document has no answer {status}"]
    while "$ref" in said:
        said = at(document, said["$ref"])
    schema = next(iter(said["content"].values()))["schema"]
    # References lead into the document, so it is what the schema is a part of.
    whole = {**schema, "components": document.get("components", {})}
    return [error.message for error in Draft202012Validator(whole).iter_errors(body)]


def at(document, reference):
    for part in reference.removeprefix("#/").split("/"):
        document = document[part.replace("~1", "/").replace("~0", "~")]
    return document


def main(endpoint):
    base = endpoint.removesuffix("/mcp")
    _, document = ask(f"{base}/api/v1/openapi.json")
    paths = document["paths"]
    print(f"OpenAPI {document['openapi']}, {len(json.dumps(document))} bytes, {len(paths)} paths")
    wrong = [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()]
    check("list", "the document is valid OpenAPI 3.1", not wrong, wrong)
    _, listed = ask(f"{base}/api/v1/tools")
    tools = [tool["name"] for tool in listed["tools"]]
    missing = [name for name in tools if f"/api/v1/tools/{name}" not in paths]
    check("list", f"each of the {len(tools)} tools has its path", len(tools) > 80 and not missing, missing)
    for feature, name, arguments, expected in [
        ("call", "fleet_overview", {}, 200),
        ("structured", "guests_list", {"cluster": "lab", "limit": 3}, 200),
        ("structured", "guest_get", {"guest": "lab/104"}, 200),
        ("structured", "backup_status", {}, 200),
        ("call", "guest_get", {"guest": "lab/9999"}, 404),
        ("call", "guest_get", {"guest": "104"}, 400),
        ("call", "guest_get", {"guest": 5, "no": 1}, 400),
    ]:
        status, body = ask(f"{base}/api/v1/tools/{name}", arguments)
        operation = paths[f"/api/v1/tools/{name}"]["post"]
        wrong = complaints(document, operation, status, body)
        what = f"{name} {json.dumps(arguments)} answers {expected} as the document says"
        check(feature, what, status == expected and not wrong, (status, wrong, body))


main(sys.argv[1])
failed = sum(total - passed for passed, total in TALLY.values())
print("FEATURES", json.dumps(TALLY))
sys.exit(1 if failed else 0)
