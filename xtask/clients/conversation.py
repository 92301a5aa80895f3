"""A conversation of the official Python client with `proxmox-mcp serve`, told and checked.

Usage: conversation.py MODE LEVERS GOOD BAD COUNT URL
       conversation.py MODE LEVERS GOOD BAD COUNT COMMAND [ARG...]
MODE is auto, legacy or 2026-07-28; LEVERS is the address of the simulator's levers, or `-` for an
estate that is not ours, which leaves out what only the demo has. GOOD is a stopped guest that
starts, BAD one that cannot, COUNT how many guests there are. Prints each step, and at the end how
many of each feature's passed; ends with 1 if one is not as it should be.
"""

import json
import sys
import urllib.request

import anyio
import mcp.types as types
from mcp import Client, StdioServerParameters

# What passed and how much there was, by feature.
TALLY = {}


def check(feature, what, ok, seen=""):
    print(f"  {'ok ' if ok else 'NOT'} {what}{': ' + str(seen) if seen and not ok else ''}")
    passed, total = TALLY.get(feature, (0, 0))
    TALLY[feature] = (passed + bool(ok), total + 1)


def failed():
    return sum(total - passed for passed, total in TALLY.values())


def pull(levers, **lever):
    request = urllib.request.Request(
        f"http://{levers}/levers", json.dumps(lever).encode(), {"content-type": "application/json"}
    )
    return json.load(urllib.request.urlopen(request, timeout=5)).get("result")


def polls(levers):
    """How often the server has asked Proxmox how the shutdown is getting on."""
    heads = pull(levers, lever="heads")
    return sum("qmshutdown" in head and "/status" in head for head in heads)


def cancelled_calls(url):
    """How many calls the server counts as cancelled; over HTTP it says so."""
    text = urllib.request.urlopen(url.replace("/mcp", "/metrics"), timeout=5).read().decode()
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if 'outcome="cancelled"' in line]
    return sum(float(value) for name, value in lines if 'tool="guest_power"' in name)


def text(result):
    return "\n".join(part.text for part in result.content if part.type == "text")


async def call(client, name, progress=None, **arguments):
    result = await client.call_tool(name, arguments, progress_callback=progress)
    error = bool(result.is_error)
    print(f"> {name} {json.dumps(arguments)}{'   [isError]' if error else ''}")
    for line in text(result).splitlines():
        print(f"    {line}")
    return result, error


# A stopped guest of the demo that nobody misses, and one that does not hear when it is asked to stop.
SPARE = "lab/125"
DEAF = "lab/107"
WATCHED = "proxmox://nodes"
ASKED = []
DECISION = ["decline"]
UPDATES = []


async def elicit(_context, params):
    """The person at the client: does what the test has decided."""
    ASKED.append(params.message)
    accepts = DECISION[0] == "accept"
    return types.ElicitResult(action=DECISION[0], content={"approve": True} if accepts else None)


async def hear(message):
    """What the server tells by itself, in the older revisions."""
    notification = getattr(message, "root", message)
    if isinstance(notification, types.ResourceUpdatedNotification):
        UPDATES.append(str(notification.params.uri))


async def consent(client, modern):
    DECISION[0] = "decline"
    result, error = await call(client, "guest_delete", guest=SPARE, safety="none")
    check("ask", "a deletion asks a person, who sees what goes", ASKED and "125" in ASKED[-1], ASKED)
    check("ask", "who refuses, and nothing is done", error and "refused" in text(result), text(result))
    DECISION[0] = "accept"
    result, error = await call(client, "guest_delete", guest=SPARE, safety="none")
    check("ask", "who agrees, and it is deleted", not error, text(result))
    result, error = await call(client, "guest_get", guest=SPARE)
    check("ask", "and is gone", error, text(result))


async def cancel(client, levers, url):
    pull(levers, lever="keep_heads")
    before = cancelled_calls(url) if url else 0
    scope = anyio.CancelScope()

    async def shut_down():
        with scope:
            await call(client, "guest_power", guest=DEAF, action="shutdown", timeout_s=40)

    async with anyio.create_task_group() as group:
        group.start_soon(shut_down)
        with anyio.move_on_after(20):
            while polls(levers) < 2:
                await anyio.sleep(0.1)
        check("cancel", "the server has begun, and follows the task", polls(levers) >= 2)
        began = anyio.current_time()
        scope.cancel()
    took = anyio.current_time() - began
    check("cancel", "the client is free at once", scope.cancelled_caught and took < 2, took)
    # What was on its way when the server heard of it may still arrive.
    await anyio.sleep(2)
    settled = polls(levers)
    await anyio.sleep(4)
    later = polls(levers)
    check("cancel", "the server follows what it began to its end, for the audit log", later >= settled > 0, (settled, later))
    if url:
        counted = cancelled_calls(url) - before
        check("cancel", "and counts one cancelled call", counted == 1, counted)
    result, error = await call(client, "nodes_list")
    check("cancel", "the next call is answered", not error, text(result))


async def subscribe(client, levers, modern):
    # The pauses: the first reading is what later ones are held against.
    async def one_update():
        if modern:
            async with client.listen(resource_subscriptions=[WATCHED]) as events:
                await anyio.sleep(2)
                pull(levers, lever="node_offline", target="lab", node="birch", on=True)
                async for event in events:
                    return str(event)
        await client.subscribe_resource(WATCHED)
        await anyio.sleep(2)
        pull(levers, lever="node_offline", target="lab", node="birch", on=True)
        while not UPDATES:
            await anyio.sleep(0.1)
        await client.unsubscribe_resource(WATCHED)
        return UPDATES[0]

    heard = None
    with anyio.move_on_after(40):
        heard = await one_update()
    check("subscribe", "a watched resource tells that it has changed", heard and WATCHED in heard, heard)
    pull(levers, lever="node_offline", target="lab", node="birch", on=False)


async def main(mode, levers, good, bad, count, command, *args):
    demo = levers != "-"
    over_http = command.startswith("http")
    server = command if over_http else StdioServerParameters(command=command, args=list(args))
    async with Client(
        server, mode=mode, elicitation_callback=elicit, message_handler=hear
    ) as client:
        modern = client.protocol_version >= "2026"
        print(f"protocol {client.protocol_version} over {'http' if over_http else 'stdio'}")
        tools = (await client.list_tools()).tools
        print(f"tools: {', '.join(tool.name for tool in tools)}")
        check("list", "every tool has title, schemas and all four hints", all(
            tool.title and tool.input_schema["type"] == "object" and tool.output_schema
            and None not in (
                tool.annotations.read_only_hint, tool.annotations.destructive_hint,
                tool.annotations.idempotent_hint, tool.annotations.open_world_hint,
            )
            for tool in tools
        ))
        result, error = await call(client, "fleet_overview")
        check("call", "the overview answers", not error and "guests" in text(result))
        check("call", "it is within 900 bytes", len(text(result).encode()) <= 900, len(text(result)))
        result, error = await call(client, "guests_list")
        rows = result.structured_content["guests"]["rows"]
        check("structured", "all guests are rows", len(rows) == int(count), len(rows))
        check("call", "they are within 3,500 bytes", len(text(result).encode()) <= 3500, len(text(result)))

        steps = []

        async def progress(done, total, message):
            steps.append((done, total, message))

        result, error = await call(
            client, "guest_power", progress, guest=good, action="start"
        )
        check("call", "a start succeeds", not error and "running" in text(result))
        done = [step[0] for step in steps]
        check("progress", "progress comes, and grows", done and done == sorted(set(done)), steps)
        result, error = await call(client, "guest_power", guest=bad, action="start")
        check("call", "a start that fails is an error with cause and log", error
              and "QEMU exited" in text(result) and "TASK ERROR" in text(result))
        if demo:
            result, error = await call(client, "guest_power", guest="104", action="stop")
            check("call", "an ambiguous id is refused with choices", error and "edge/104" in text(result))
        result, error = await call(client, "guest_power", guest=good, action="explode")
        check("call", "a wrong argument is named", error and "action" in text(result))
        if demo:
            pull(levers, lever="node_offline", target="lab", node="birch", on=True)
            result, error = await call(client, "guests_list", cluster="lab", status="unknown")
            check("call", "a node that is down is unreachable", "unreachable: lab/birch" in text(result))
            pull(levers, lever="node_offline", target="lab", node="birch", on=False)
        resources = (await client.list_resources()).resources
        print("resources:", ", ".join(str(resource.uri) for resource in resources))
        check("list", "resources are listed", WATCHED in [str(it.uri) for it in resources])
        status = await client.read_resource("proxmox://status")
        check("read", "a resource reads", "guests" in status.contents[0].text)
        prompts = (await client.list_prompts()).prompts
        print("prompts:", ", ".join(prompt.name for prompt in prompts))
        check("list", "prompts are listed", "proxmox_health_check" in [it.name for it in prompts])
        prompt = await client.get_prompt("proxmox_health_check", {"cluster": "lab"})
        check("read", "a prompt answers", "lab" in prompt.messages[0].content.text)
        if demo:
            await subscribe(client, levers, modern)
            await consent(client, modern)
            await cancel(client, levers, command if over_http else None)
    print(f"{mode}: {'all as it should be' if not failed() else f'{failed()} steps are wrong'}")


anyio.run(main, *sys.argv[1:])
print("FEATURES", json.dumps(TALLY))
sys.exit(1 if failed() else 0)
