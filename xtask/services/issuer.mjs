// A real OAuth issuer for tests: oidc-provider, one instance of it for each tenant.
//
// The address of a tenant, /t/<ALG>/<name>, is its issuer; it comes into being with its first
// request, signs access tokens with ALG, and has keys of its own, so that tests do not disturb each
// other. What a test needs besides what every issuer offers stands under <issuer>/control:
//
//   POST control/rotate            new keys, the old ones gone
//   POST control/rotate?keep=1     new keys to sign with, the old ones still published
//   POST control/ttl?seconds=…     for how long access tokens are good from now on
//   POST control/login?resource=…  somebody logs in: the id token and the access token of that
//   POST /control/stop             ends the process
//
// Usage: node issuer.mjs STATE_FILE, where the address is written once it listens.

import { createHash, generateKeyPairSync, randomBytes } from 'node:crypto';
import { renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const CLIENT = { id: 'tester', secret: 'tester-secret', redirect: 'https://client.example/callback' };
const SCOPES = ['proxmox.read', 'proxmox.operate', 'proxmox.destroy', 'mcp'];
const KINDS = {
  RS256: ['rsa', { modulusLength: 2048 }],
  PS256: ['rsa', { modulusLength: 2048 }],
  ES256: ['ec', { namedCurve: 'P-256' }],
  EdDSA: ['ed25519', {}],
};

const tenants = new Map();
let base;

const random = (bytes = 8) => randomBytes(bytes).toString('hex');

function key(alg) {
  const { privateKey } = generateKeyPairSync(...KINDS[alg]);
  return { ...privateKey.export({ format: 'jwk' }), kid: random(), alg, use: 'sig' };
}

function newKeys(alg) {
  // Id tokens are signed with RS256 whatever access tokens are signed with.
  return alg === 'RS256' ? [key(alg)] : [key(alg), key('RS256')];
}

/// One tenant. What it signs with are the first of its keys that fit.
function tenant(issuer, alg, old = []) {
  const made = { keys: [...newKeys(alg), ...old], ttl: 3600 };
  made.provider = provider(issuer, alg, made);
  return made;
}

function provider(issuer, alg, made) {
  return new Provider(issuer, {
    clients: [{
      client_id: CLIENT.id,
      client_secret: CLIENT.secret,
      grant_types: ['client_credentials', 'authorization_code'],
      response_types: ['code'],
      redirect_uris: [CLIENT.redirect],
    }],
    cookies: { keys: [random()] },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_ctx, resource) => ({
          scope: SCOPES.join(' '),
          audience: resource,
          accessTokenFormat: 'jwt',
          accessTokenTTL: made.ttl,
          jwt: { sign: { alg } },
        }),
        useGrantedResource: () => true,
      },
    },
    jwks: { keys: made.keys },
    scopes: ['openid', ...SCOPES],
    ttl: {
      AccessToken: () => made.ttl,
      ClientCredentials: () => made.ttl,
      IdToken: 3600,
      Interaction: 600,
      Session: 600,
      Grant: 600,
    },
  });
}

/// Walks through login and consent as a browser would.
async function login(issuer, resource) {
  const cookies = new Map();
  async function visit(url, body) {
    const response = await fetch(new URL(url, issuer), {
      method: body ? 'POST' : 'GET',
      body,
      redirect: 'manual',
      headers: { cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; ') },
    });
    for (const cookie of response.headers.getSetCookie()) {
      const [pair] = cookie.split(';');
      const at = pair.indexOf('=');
      cookies.set(pair.slice(0, at), pair.slice(at + 1));
    }
    return response;
  }
  const verifier = random(32);
  const query = new URLSearchParams({
    client_id: CLIENT.id,
    response_type: 'code',
    redirect_uri: CLIENT.redirect,
    scope: 'openid proxmox.read',
    nonce: random(),
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
    resource,
  });
  let response = await visit(`${issuer}/auth?${query}`);
  const prompts = [{ prompt: 'login', login: 'alice', password: 'any' }, { prompt: 'consent' }];
  for (let steps = 0; steps < 12; steps += 1) {
    const to = response.headers.get('location');
    if (!to) throw new Error(`no way on from ${response.url}: ${response.status} ${await response.text()}`);
    if (to.startsWith(CLIENT.redirect)) {
      const code = new URL(to).searchParams.get('code');
      const tokens = await fetch(`${issuer}/token`, {
        method: 'POST',
        headers: { authorization: `Basic ${btoa(`${CLIENT.id}:${CLIENT.secret}`)}` },
        body: new URLSearchParams({
          grant_type: 'authorization_code', code, redirect_uri: CLIENT.redirect, code_verifier: verifier, resource,
        }),
      });
      return tokens.json();
    }
    response = /\/interaction\/[^/]+$/.test(to)
      ? await visit(to, new URLSearchParams(prompts.shift()))
      : await visit(to);
  }
  throw new Error('the login does not end');
}

function answer(response, status, body) {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

const server = createServer(async (request, response) => {
  try {
    const url = new URL(request.url, base);
    if (url.pathname === '/control/stop' && request.method === 'POST') {
      answer(response, 200, {});
      server.close();
      server.closeAllConnections();
      return;
    }
    const [, path, alg] = url.pathname.match(/^(\/t\/([A-Za-z0-9]+)\/[a-z0-9_-]+)(?=\/|$)/) ?? [];
    if (!path || !KINDS[alg]) {
      answer(response, 404, { error: 'no such tenant' });
      return;
    }
    const issuer = base + path;
    const rest = url.pathname.slice(path.length);
    if (!tenants.has(path)) tenants.set(path, tenant(issuer, alg));
    if (rest === '/control/rotate') {
      const old = url.searchParams.has('keep') ? tenants.get(path).keys : [];
      tenants.set(path, tenant(issuer, alg, old));
      answer(response, 200, {});
    } else if (rest === '/control/ttl') {
      tenants.get(path).ttl = Number(url.searchParams.get('seconds'));
      answer(response, 200, {});
    } else if (rest === '/control/login') {
      answer(response, 200, await login(issuer, url.searchParams.get('resource')));
    } else {
      // Mounted below a path, as frameworks do it.
      request.originalUrl = request.url;
      request.url = request.url.slice(path.length) || '/';
      tenants.get(path).provider.callback()(request, response);
    }
  } catch (error) {
    console.error(error);
    if (!response.headersSent) answer(response, 500, { error: String(error) });
  }
});

server.listen(0, '127.0.0.1', () => {
  base = `http://127.0.0.1:${server.address().port}`;
  const file = process.argv[2];
  writeFileSync(`${file}.new`, base);
  renameSync(`${file}.new`, file);
});
