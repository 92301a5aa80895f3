// The real n8n against `proxmox-mcp serve --http`: its MCP Client node, and its AI Agent with the MCP
// Client Tool over a model that is scripted here. Headless, in a folder of its own.
//
// Usage: run.mjs FOLDER URL TOKEN
// FOLDER has n8n installed; URL is the server's endpoint; TOKEN a bearer token for it. Prints each
// step, and at the end how many of each feature's passed; ends with 1 if one is not as it should be.

import { spawnSync, spawn } from 'node:child_process';
import { createServer } from 'node:http';
import { createServer as createListener } from 'node:net';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const [folder, url, token] = process.argv.slice(2);
const home = join(folder, 'home');
const script = join(folder, 'node_modules/n8n/bin/n8n');
// What passed and how much there was, by feature.
const tally = {};

function check(feature, what, ok, seen) {
  console.log(`  ${ok ? 'ok ' : 'NOT'} ${what}${ok || seen === undefined ? '' : `: ${JSON.stringify(seen).slice(0, 2000)}`}`);
  tally[feature] ??= [0, 0];
  tally[feature][0] += ok ? 1 : 0;
  tally[feature][1] += 1;
}

// A port that was free a moment ago.
function freePort() {
  return new Promise((resolve, reject) => {
    const listener = createListener();
    listener.on('error', reject);
    listener.listen(0, '127.0.0.1', () => {
      const { port } = listener.address();
      listener.close(() => resolve(String(port)));
    });
  });
}

const environment = {
  ...process.env,
  N8N_USER_FOLDER: home,
  N8N_LISTEN_ADDRESS: '127.0.0.1',
  N8N_PORT: await freePort(),
  N8N_RUNNERS_BROKER_PORT: await freePort(),
  N8N_DIAGNOSTICS_ENABLED: 'false',
  N8N_VERSION_NOTIFICATIONS_ENABLED: 'false',
  N8N_TEMPLATES_ENABLED: 'false',
  N8N_PERSONALIZATION_ENABLED: 'false',
  N8N_ENCRYPTION_KEY: 'only-for-this-test',
  N8N_SECURE_COOKIE: 'false',
  DB_TYPE: 'sqlite',
};

function n8n(...args) {
  const done = spawnSync(process.execPath, [script, ...args], {
    env: environment,
    encoding: 'utf8',
    maxBuffer: 64 << 20,
    timeout: 180_000,
  });
  if (done.status !== 0) {
    throw new Error(`n8n ${args.join(' ')}: ${done.status} ${(done.stderr || done.stdout).slice(-2000)}`);
  }
  return done.stdout;
}

// The model lives in this process, so n8n must not block it while it runs.
function n8nBeside(...args) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [script, ...args], { env: environment });
    let out = '';
    let err = '';
    child.stdout.on('data', (part) => (out += part));
    child.stderr.on('data', (part) => (err += part));
    child.on('close', (code) => (code === 0 ? resolve(out) : reject(new Error(`n8n ${args.join(' ')}: ${code} ${(err || out).slice(-2000)}`))));
  });
}

// Log lines may stand before the JSON.
function json(text) {
  const from = text.slice(text.indexOf('\n{') + 1 || text.indexOf('{'));
  try {
    return JSON.parse(from);
  } catch {
    return JSON.parse(from.slice(0, from.lastIndexOf('\n}') + 2));
  }
}

// A chat model that asks for one tool, and then says what it was told.
const seen = { tools: [], rounds: 0, told: '' };
const model = createServer((request, response) => {
  let body = '';
  request.on('data', (part) => (body += part));
  request.on('end', () => {
    response.setHeader('content-type', 'application/json');
    if (!request.url.endsWith('/chat/completions')) {
      response.end(JSON.stringify({ object: 'list', data: [{ id: 'scripted', object: 'model' }] }));
      return;
    }
    const asked = JSON.parse(body);
    seen.rounds += 1;
    seen.tools = (asked.tools ?? []).map((tool) => tool.function.name);
    const answer = asked.messages.findLast((message) => message.role === 'tool');
    const overview = seen.tools.find((name) => name.endsWith('fleet_overview'));
    let message;
    if (answer) {
      seen.told = typeof answer.content === 'string' ? answer.content : JSON.stringify(answer.content);
      message = { role: 'assistant', content: `The estate: ${seen.told.slice(0, 200)}` };
    } else {
      const call = { id: 'call_1', type: 'function', function: { name: overview ?? 'none', arguments: '{}' } };
      message = { role: 'assistant', content: null, tool_calls: [call] };
    }
    const choice = { index: 0, message, finish_reason: answer ? 'stop' : 'tool_calls' };
    const whole = {
      id: 'chat_1', object: 'chat.completion', created: 1, model: 'scripted', choices: [choice],
      usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
    };
    if (!asked.stream) {
      response.end(JSON.stringify(whole));
      return;
    }
    response.setHeader('content-type', 'text/event-stream');
    const calls = message.tool_calls?.map((call, index) => ({ index, ...call }));
    const delta = { role: 'assistant', content: message.content ?? '', ...(calls ? { tool_calls: calls } : {}) };
    const chunk = { ...whole, object: 'chat.completion.chunk', choices: [{ index: 0, delta, finish_reason: null }] };
    const last = { ...chunk, choices: [{ index: 0, delta: {}, finish_reason: choice.finish_reason }] };
    response.end(`data: ${JSON.stringify(chunk)}\n\ndata: ${JSON.stringify(last)}\n\ndata: [DONE]\n\n`);
  });
});
await new Promise((ready) => model.listen(0, '127.0.0.1', ready));
const modelUrl = `http://127.0.0.1:${model.address().port}/v1`;

const trigger = { id: 'start', name: 'Start', type: 'n8n-nodes-base.manualTrigger', typeVersion: 1, position: [0, 0], parameters: {} };
const bearer = { httpBearerAuth: { id: 'bearer0000000001', name: 'bearer' } };
const stranger = { httpBearerAuth: { id: 'bearer0000000002', name: 'stranger' } };
const client = (name, tool, given, at) => ({
  id: name, name, type: '@n8n/n8n-nodes-langchain.mcpClient', typeVersion: 1.1, position: [at, 0],
  credentials: bearer,
  parameters: {
    endpointUrl: url, authentication: 'bearerAuth', tool: { __rl: true, mode: 'id', value: tool },
    inputMode: 'json', jsonInput: JSON.stringify(given), options: {},
  },
});
const follows = (name) => ({ main: [[{ node: name, type: 'main', index: 0 }]] });
const agentOf = (id, version) => ({
    id, name: `agent ${version}`, active: false, settings: {},
    nodes: [
      trigger,
      {
        id: 'agent', name: 'Agent', type: '@n8n/n8n-nodes-langchain.agent', typeVersion: version, position: [200, 0],
        parameters: { promptType: 'define', text: 'How is the estate?', options: {} },
      },
      {
        id: 'model', name: 'Model', type: '@n8n/n8n-nodes-langchain.lmChatOpenAi', typeVersion: 1.3, position: [200, 200],
        credentials: { openAiApi: { id: 'openai0000000001', name: 'model' } },
        parameters: { model: { __rl: true, mode: 'id', value: 'scripted' }, responsesApiEnabled: false, options: { baseURL: modelUrl } },
      },
      {
        id: 'tools', name: 'px', type: '@n8n/n8n-nodes-langchain.mcpClientTool', typeVersion: 1.4, position: [400, 200],
        credentials: bearer,
        parameters: { endpointUrl: url, serverTransport: 'httpStreamable', authentication: 'bearerAuth', include: 'all', options: {} },
      },
    ],
    connections: {
      Start: follows('Agent'),
      Model: { ai_languageModel: [[{ node: 'Agent', type: 'ai_languageModel', index: 0 }]] },
      px: { ai_tool: [[{ node: 'Agent', type: 'ai_tool', index: 0 }]] },
    },
});
const workflows = {
  client: {
    id: 'mcpclient0000001', name: 'client', active: false, settings: {},
    nodes: [
      trigger,
      client('Overview', 'fleet_overview', {}, 200),
      client('Guests', 'guests_list', { status: 'running', limit: 5 }, 400),
      { ...client('Wrong', 'guest_power', { guest: '104', action: 'stop' }, 600), onError: 'continueRegularOutput' },
    ],
    connections: { Start: follows('Overview'), Overview: follows('Guests'), Guests: follows('Wrong') },
  },
  stranger: {
    id: 'mcpclient0000002', name: 'stranger', active: false, settings: {},
    nodes: [trigger, { ...client('Stranger', 'fleet_overview', {}, 200), credentials: stranger }],
    connections: { Start: follows('Stranger') },
  },
  agent: agentOf('mcpagent00000001', 2.2),
  newest: agentOf('mcpagent00000002', 3.1),
};
const credentials = [
  { id: 'bearer0000000001', name: 'bearer', type: 'httpBearerAuth', data: { token, allowedHttpRequestDomains: 'all' } },
  { id: 'bearer0000000002', name: 'stranger', type: 'httpBearerAuth', data: { token: `${token.slice(0, -4)}0000`, allowedHttpRequestDomains: 'all' } },
  { id: 'openai0000000001', name: 'model', type: 'openAiApi', data: { apiKey: 'none', url: modelUrl, header: false, allowedHttpRequestDomains: 'all' } },
];

try {
  rmSync(home, { recursive: true, force: true });
  mkdirSync(home, { recursive: true });
  console.log(`n8n ${n8n('--version').trim().split('\n').at(-1)}`);
  n8n('list:workflow');
  writeFileSync(join(home, 'credentials.json'), JSON.stringify(credentials));
  n8n('import:credentials', `--input=${join(home, 'credentials.json')}`);
  for (const [name, workflow] of Object.entries(workflows)) {
    writeFileSync(join(home, `${name}.json`), JSON.stringify(workflow));
    n8n('import:workflow', `--input=${join(home, `${name}.json`)}`);
  }

  const run = json(n8n('execute', '--id=mcpclient0000001', '--rawOutput'));
  const first = (name) => run.data.resultData.runData[name]?.[0]?.data?.main?.[0]?.[0]?.json;
  check('structured', 'MCP Client: the overview comes as an object', first('Overview')?.structuredContent?.guests?.running > 40, first('Overview'));
  const rows = first('Guests')?.structuredContent?.guests?.rows;
  check('call', 'MCP Client: arguments reach the tool', rows?.length === 5, first('Guests'));
  const wrong = JSON.stringify(run.data.resultData.runData.Wrong?.[0] ?? {});
  check('call', 'MCP Client: an ambiguous guest is an error with its choices', wrong.includes('edge/104'), wrong);

  const refused = await n8nBeside('execute', '--id=mcpclient0000002').catch((error) => error.message);
  check('call', 'MCP Client: a wrong token is refused', refused.includes('Authentication failed') && !refused.includes('nodes online'), refused);

  const agent = json(await n8nBeside('execute', '--id=mcpagent00000001', '--rawOutput'));
  const output = agent.data.resultData.runData.Agent?.[0]?.data?.main?.[0]?.[0]?.json?.output;
  check('list', 'AI Agent: the tools reach the model, none with a name that was cut', seen.tools.length >= 17 && seen.tools.includes('px_fleet_overview'), seen.tools);
  check('call', 'AI Agent: the model hears what the tool answered', seen.told.includes('guests'), seen.told);
  check('call', 'AI Agent: and answers with it', output?.includes('guests'), output ?? agent.data.resultData.error);

  // Its newest agent runs tools through the workflow engine. Started from the command line it hands the
  // model an empty observation, whatever the tool's node got; so what the node got is held here.
  const newest = json(await n8nBeside('execute', '--id=mcpagent00000002', '--rawOutput'));
  const node = newest.data.resultData.runData.px?.[0]?.data?.ai_tool?.[0]?.[0]?.json;
  check('structured', 'AI Agent 3.1: the tool node gets text and object', node?.response?.[0]?.text?.includes('guests') && node?.structuredContent?.guests?.running > 40, node);
} catch (error) {
  check('call', String(error.message ?? error), false);
}
model.close();
const failed = Object.values(tally).reduce((sum, [passed, total]) => sum + total - passed, 0);
console.log(`n8n: ${failed === 0 ? 'all as it should be' : `${failed} steps are wrong`}`);
console.log(`FEATURES ${JSON.stringify(tally)}`);
process.exit(failed === 0 ? 0 : 1);
