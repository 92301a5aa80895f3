// A conversation of the official JavaScript clients with `proxmox-mcp serve`, told and checked.
//
// Usage: conversation.mjs SDK MODE LEVERS URL
//        conversation.mjs SDK MODE LEVERS COMMAND [ARG...]
// SDK is 1 (`@modelcontextprotocol/sdk`, which speaks the older revisions only) or 2
// (`@modelcontextprotocol/client`); MODE is auto, legacy or a revision; LEVERS is the address of the
// simulator's levers. Prints each step, and at the end how many of each feature's passed; ends with 1 if
// one is not as it should be.

const [sdk, mode, levers, target, ...args] = process.argv.slice(2);
const overHttp = target.startsWith('http');
const WATCHED = 'proxmox://nodes';
const SPARE = 'lab/125';
const DEAF = 'lab/107';

// What passed and how much there was, by feature.
const tally = {};
let decision = 'decline';
const asked = [];
const updates = [];

function check(feature, what, ok, seen) {
  console.log(`  ${ok ? 'ok ' : 'NOT'} ${what}${ok || seen === undefined ? '' : `: ${JSON.stringify(seen)}`}`);
  tally[feature] ??= [0, 0];
  tally[feature][0] += ok ? 1 : 0;
  tally[feature][1] += 1;
}

async function pull(lever) {
  const answer = await fetch(`http://${levers}/levers`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(lever),
  });
  if (!answer.ok) throw new Error(`lever: ${answer.status} ${await answer.text()}`);
  return (await answer.json()).result;
}

// How often the server has asked Proxmox how the shutdown is getting on.
async function polls() {
  const heads = await pull({ lever: 'heads' });
  return heads.filter((head) => head.includes('qmshutdown') && head.includes('/status')).length;
}

// How many calls the server counts as cancelled; over HTTP it says so.
async function cancelledCalls() {
  const lines = (await (await fetch(target.replace('/mcp', '/metrics'))).text()).split('\n');
  const counts = lines.filter((line) => line.includes('outcome="cancelled"') && line.includes('tool="guest_power"'));
  return counts.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}

const text = (result) => result.content.filter((part) => part.type === 'text').map((part) => part.text).join('\n');
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

const onElicit = async (request) => {
  asked.push(request.params.message);
  return decision === 'accept' ? { action: 'accept', content: { approve: true } } : { action: 'decline' };
};
const onUpdate = async (notification) => {
  updates.push(notification.params.uri);
};

async function connect() {
  const about = { name: 'conversation', version: '1.0.0' };
  if (sdk === '1') {
    const { Client } = await import('@modelcontextprotocol/sdk/client/index.js');
    const types = await import('@modelcontextprotocol/sdk/types.js');
    const client = new Client(about, { capabilities: { elicitation: { form: {} } } });
    client.setRequestHandler(types.ElicitRequestSchema, onElicit);
    client.setNotificationHandler(types.ResourceUpdatedNotificationSchema, onUpdate);
    if (overHttp) {
      const { StreamableHTTPClientTransport } = await import('@modelcontextprotocol/sdk/client/streamableHttp.js');
      await client.connect(new StreamableHTTPClientTransport(new URL(target)));
    } else {
      const { StdioClientTransport } = await import('@modelcontextprotocol/sdk/client/stdio.js');
      await client.connect(new StdioClientTransport({ command: target, args }));
    }
    return client;
  }
  const { Client, StreamableHTTPClientTransport } = await import('@modelcontextprotocol/client');
  const wanted = mode === 'auto' || mode === 'legacy' ? mode : { pin: mode };
  const client = new Client(about, {
    capabilities: { elicitation: { form: {} } },
    versionNegotiation: { mode: wanted },
  });
  client.setRequestHandler('elicitation/create', onElicit);
  client.setNotificationHandler('notifications/resources/updated', onUpdate);
  if (overHttp) {
    await client.connect(new StreamableHTTPClientTransport(new URL(target)));
  } else {
    const { StdioClientTransport } = await import('@modelcontextprotocol/client/stdio');
    await client.connect(new StdioClientTransport({ command: target, args }));
  }
  return client;
}

async function call(client, name, given, options) {
  const result =
    sdk === '1'
      ? await client.callTool({ name, arguments: given }, undefined, options)
      : await client.callTool({ name, arguments: given }, options);
  console.log(`> ${name} ${JSON.stringify(given)}${result.isError ? '   [isError]' : ''}`);
  console.log(text(result).split('\n').slice(0, 6).map((line) => `    ${line}`).join('\n'));
  return result;
}

const client = await connect();
const revision = client.getNegotiatedProtocolVersion?.() ?? client.transport?.protocolVersion;
console.log(`sdk ${sdk}, mode ${mode}, revision ${revision ?? 'not told'}, over ${overHttp ? 'http' : 'stdio'}`);

const { tools } = await client.listTools();
check('list', 'every tool has title, schemas and all four hints', tools.every((tool) =>
  tool.title && tool.inputSchema.type === 'object' && tool.outputSchema &&
  ['readOnlyHint', 'destructiveHint', 'idempotentHint', 'openWorldHint'].every((hint) => hint in tool.annotations)));

let result = await call(client, 'guests_list', {});
check('structured', 'structured content comes along', result.structuredContent?.guests?.rows?.length > 50);

const steps = [];
result = await call(client, 'guest_power', { guest: 'lab/123', action: 'start' }, {
  onprogress: (progress) => steps.push(progress.progress),
});
check('call', 'a start succeeds', !result.isError, text(result));
check('progress', 'progress grows', steps.length > 0 && steps.every((step, at) => at === 0 || step > steps[at - 1]), steps);
result = await call(client, 'guest_power', { guest: 'lab/108', action: 'start' });
check('call', 'a start that fails is an error with its cause', result.isError && text(result).includes('QEMU exited'));

const { resources } = await client.listResources();
check('list', 'resources are listed', resources.some((resource) => resource.uri === WATCHED));
const read = await client.readResource({ uri: 'proxmox://status' });
check('read', 'a resource reads', read.contents[0].text.includes('guests'));
const prompt = await client.getPrompt({ name: 'proxmox_health_check', arguments: { cluster: 'lab' } });
check('read', 'a prompt answers', prompt.messages[0].content.text.includes('lab'));

// Version 1 does not tell the revision over every transport, and speaks no modern one.
const isModern = revision !== undefined && revision >= '2026';
let subscription;
if (isModern) {
  subscription = await client.listen({ resourceSubscriptions: [WATCHED] });
} else {
  await client.subscribeResource({ uri: WATCHED });
}
// The first reading is what later ones are held against.
await pause(2000);
await pull({ lever: 'node_offline', target: 'lab', node: 'birch', on: true });
for (let waited = 0; waited < 40 && updates.length === 0; waited += 1) await pause(1000);
check('subscribe', 'a watched resource tells that it has changed', updates.includes(WATCHED), updates);
await pull({ lever: 'node_offline', target: 'lab', node: 'birch', on: false });
if (isModern) await subscription.close();
else await client.unsubscribeResource({ uri: WATCHED });

result = await call(client, 'guest_delete', { guest: SPARE, safety: 'none' });
check('ask', 'a deletion asks a person, who sees what goes', asked.length > 0 && asked.at(-1).includes('125'), asked);
check('ask', 'who refuses, and nothing is done', result.isError && text(result).includes('refused'), text(result));
decision = 'accept';
result = await call(client, 'guest_delete', { guest: SPARE, safety: 'none' });
check('ask', 'who agrees, and it is deleted', !result.isError, text(result));

await pull({ lever: 'keep_heads' });
const before = overHttp ? await cancelledCalls() : 0;
const giveUp = new AbortController();
let ended = 'not yet';
const shuttingDown = call(client, 'guest_power', { guest: DEAF, action: 'shutdown', timeout_s: 40 }, { signal: giveUp.signal })
  .then(() => (ended = 'answered'), () => (ended = 'cancelled'));
for (let waited = 0; waited < 200 && (await polls()) < 2; waited += 1) await pause(100);
check('cancel', 'the server has begun, and follows the task', (await polls()) >= 2);
const began = Date.now();
giveUp.abort('enough');
await shuttingDown;
check('cancel', 'the client is free at once', ended === 'cancelled' && Date.now() - began < 2000, ended);
// What was on its way when the server heard of it may still arrive.
await pause(2000);
const settled = await polls();
await pause(4000);
const later = await polls();
check('cancel', 'the server follows what it began to its end, for the audit log', later >= settled && settled > 0, [settled, later]);
if (overHttp) {
  const counted = (await cancelledCalls()) - before;
  check('cancel', 'and counts one cancelled call', counted === 1, counted);
}
result = await call(client, 'nodes_list', {});
check('cancel', 'the next call is answered', !result.isError);

await client.close();
const failed = Object.values(tally).reduce((sum, [passed, total]) => sum + total - passed, 0);
console.log(`sdk ${sdk}, mode ${mode}: ${failed === 0 ? 'all as it should be' : `${failed} steps are wrong`}`);
console.log(`FEATURES ${JSON.stringify(tally)}`);
process.exit(failed === 0 ? 0 : 1);
