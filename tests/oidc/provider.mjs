// A real OpenID provider for the tests of robo's login: oidc-provider, with its device flow, on a free port of this
// machine. What a person does in a browser is done by asking /approve and /deny, which are no part of the provider.
// It says where it listens in one line, and ends when its standard input does.

import { createServer } from 'node:http';
import { generateKeyPairSync } from 'node:crypto';
import Provider from 'oidc-provider';

// Its own words are for people.
console.info = console.error;

const people = {
  ann: { email: 'ann@example.org', email_verified: true, groups: ['robots', 'staff'] },
  eve: { email: 'eve@example.org', email_verified: true, groups: ['staff'] },
  mal: { email: 'ann@example.org', email_verified: true, groups: ['robots'] },
};

const key = (alg, type, options) => {
  const { privateKey } = generateKeyPairSync(type, options);
  return { ...privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: `${alg}-1` };
};

const server = createServer((request, response) => handle(request, response));
let handle;
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: 'robo',
      client_secret: 'a:secret/with+odd%characters',
      grant_types: ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'],
      response_types: [],
      redirect_uris: [],
    },
  ],
  jwks: { keys: [key('RS256', 'rsa', { modulusLength: 2048 }), key('ES256', 'ec', { namedCurve: 'P-256' })] },
  cookies: { keys: ['only for tests'] },
  claims: { openid: ['sub'], email: ['email', 'email_verified'], groups: ['groups'] },
  conformIdTokenClaims: false,
  features: { deviceFlow: { enabled: true }, revocation: { enabled: true }, devInteractions: { enabled: false } },
  findAccount: (_, id) => people[id] && { accountId: id, claims: () => ({ sub: id, ...people[id] }) },
});

async function decide(url) {
  const typed = url.searchParams.get('user_code').replace(/[^a-z0-9]/gi, '').toUpperCase();
  const code = await provider.DeviceCode.findByUserCode(typed);
  if (!code) return 404;
  if (url.pathname === '/deny') {
    code.error = 'access_denied';
  } else {
    const accountId = url.searchParams.get('as');
    const grant = new provider.Grant({ accountId, clientId: 'robo' });
    grant.addOIDCScope(code.params.scope);
    const authTime = Math.floor(Date.now() / 1000);
    Object.assign(code, { accountId, authTime, grantId: await grant.save(), scope: code.params.scope });
  }
  await code.save();
  return 204;
}

const answer = provider.callback();
handle = async (request, response) => {
  const url = new URL(request.url, issuer);
  if (url.pathname === '/approve' || url.pathname === '/deny') {
    response.writeHead(await decide(url)).end();
  } else if (url.pathname === '/leave') {
    people[url.searchParams.get('who')].groups = [];
    response.writeHead(204).end();
  } else {
    answer(request, response);
  }
};

process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
console.log(issuer);
