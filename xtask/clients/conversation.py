"""A conversation of the official Python client with `proxmox-mcp serve`, told and checked.

Usage: conversation.py MODE LEVERS GOOD BAD COUNT COMMAND [ARG...]
MODE is auto, legacy or 2026-07-28; LEVERS is the address of the simulator's levers, or `-` for an
estate that is not ours, which leaves out what only the demo has. GOOD is a stopped guest that
starts, BAD one that cannot, COUNT how many guests there are. Prints each step; ends with 1 if one is
not as it should be.
"""

import json
import sys
import urllib.request

import anyio
from mcp import Client, StdioServerParameters

FAILED = []


def check(what, ok, seen=""):
    print(f"  {'ok ' if ok else 'NOT'} {what}{': ' + str(seen) if seen and not ok else ''}")
    if not ok:
        FAILED.append(what)


def pull(levers, **lever):
    request = urllib.request.Request(
        f"http://{levers}/levers", json.dumps(lever).encode(), {"content-type": "application/json"}
    )
    urllib.request.urlopen(request, timeout=5).read()


def text(result):
    return "\n".join(part.text for part in result.content if part.type == "text")


async def call(client, name, progress=None, **arguments):
    result = await client.call_tool(name, arguments, progress_callback=progress)
    error = bool(result.is_error)
    print(f"> {name} {json.dumps(arguments)}{'   [isError]' if error else ''}")
    for line in text(result).splitlines():
        print(f"    {line}")
    return result, error


async def main(mode, levers, good, bad, count, command, *args):
    demo = levers != "-"
    server = StdioServerParameters(command=command, args=list(args))
    async with Client(server, mode=mode) as client:
        print(f"protocol {client.protocol_version}")
        tools = (await client.list_tools()).tools
        print(f"tools: {', '.join(tool.name for tool in tools)}")
        check("every tool has title, schemas and all four hints", all(
            tool.title and tool.input_schema["type"] == "object" and tool.output_schema
            and None not in (
                tool.annotations.read_only_hint, tool.annotations.destructive_hint,
                tool.annotations.idempotent_hint, tool.annotations.open_world_hint,
            )
            for tool in tools
        ))
        result, error = await call(client, "fleet_overview")
        check("the overview answers", not error and "guests" in text(result))
        check("it is within 900 bytes", len(text(result).encode()) <= 900, len(text(result)))
        result, error = await call(client, "guests_list")
        rows = result.structured_content["guests"]["rows"]
        check("all guests are rows", len(rows) == int(count), len(rows))
        check("they are within 3,500 bytes", len(text(result).encode()) <= 3500, len(text(result)))

        steps = []

        async def progress(done, total, message):
            steps.append((done, total, message))

        result, error = await call(
            client, "guest_power", progress, guest=good, action="start"
        )
        check("a start succeeds", not error and "running" in text(result))
        check("progress grows", [s[0] for s in steps] == sorted({s[0] for s in steps}), steps)
        result, error = await call(client, "guest_power", guest=bad, action="start")
        check("a start that fails is an error with cause and log", error
              and "QEMU exited" in text(result) and "TASK ERROR" in text(result))
        if demo:
            result, error = await call(client, "guest_power", guest="104", action="stop")
            check("an ambiguous id is refused with choices", error and "edge/104" in text(result))
        result, error = await call(client, "guest_power", guest=good, action="explode")
        check("a wrong argument is named", error and "action" in text(result))
        if demo:
            pull(levers, lever="node_offline", target="lab", node="birch", on=True)
            result, error = await call(client, "guests_list", cluster="lab", status="unknown")
            check("a node that is down is unreachable", "unreachable: lab/birch" in text(result))
            pull(levers, lever="node_offline", target="lab", node="birch", on=False)
        resources = (await client.list_resources()).resources
        print("resources:", ", ".join(str(resource.uri) for resource in resources))
        status = await client.read_resource("proxmox://status")
        check("a resource reads", "guests" in status.contents[0].text)
        prompts = (await client.list_prompts()).prompts
        print("prompts:", ", ".join(prompt.name for prompt in prompts))
        prompt = await client.get_prompt("proxmox_health_check", {"cluster": "lab"})
        check("a prompt answers", "lab" in prompt.messages[0].content.text)
    print(f"{mode}: {'all as it should be' if not FAILED else f'{len(FAILED)} steps are wrong'}")


anyio.run(main, *sys.argv[1:])
sys.exit(1 if FAILED else 0)
