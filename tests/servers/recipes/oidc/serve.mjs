// An authorization server with two clients. `ci` may ask for tokens of its own, introspect them (RFC 7662) and revoke them
// (RFC 7009). `web` renews what somebody got by logging in: refresh tokens work once, and the second use of one ends all
// that came of it. `POST /login?access=SECONDS` is such a login. `/live` tells how many tokens of `ci` there are, how many
// refresh tokens were used, and how many were presented after that.
import { createServer } from "node:http";
import Provider from "oidc-provider";

const { url, port, secret } = process.env;
const stores = new Map();
let reused = 0;

class Adapter {
  constructor(name) {
    this.name = name;
    if (!stores.has(name)) stores.set(name, new Map());
    this.items = stores.get(name);
  }
  async upsert(id, payload) {
    this.items.set(id, payload);
  }
  async find(id) {
    const found = this.items.get(id);
    if (this.name === "RefreshToken" && found?.consumed) reused += 1;
    return found;
  }
  async consume(id) {
    this.items.get(id).consumed = Math.floor(Date.now() / 1000);
  }
  async destroy(id) {
    this.items.delete(id);
  }
  async revokeByGrantId(grant) {
    for (const items of stores.values()) {
      for (const [id, payload] of items) if (payload.grantId === grant) items.delete(id);
    }
  }
}

const provider = new Provider(url, {
  adapter: Adapter,
  clients: [
    { client_id: "ci", client_secret: secret, grant_types: ["client_credentials"], redirect_uris: [], response_types: [] },
    {
      client_id: "web",
      client_secret: secret,
      grant_types: ["authorization_code", "refresh_token"],
      redirect_uris: ["https://web.example.com/callback"],
      response_types: ["code"],
    },
  ],
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    introspection: { enabled: true, allowedPolicy: () => true },
    revocation: { enabled: true, allowedPolicy: () => true },
  },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  rotateRefreshToken: true,
  ttl: { AccessToken: 600, ClientCredentials: 3600, Grant: 3600, IdToken: 600, RefreshToken: 3600 },
});

// What the end of a login by browser leaves behind.
async function login(expiresIn) {
  const accountId = "somebody";
  const client = await provider.Client.find("web");
  const grant = new provider.Grant({ accountId, clientId: client.clientId });
  const scope = "openid offline_access";
  grant.addOIDCScope(scope);
  const grantId = await grant.save();
  const common = { accountId, client, grantId, gty: "authorization_code", scope };
  const access = new provider.AccessToken({ ...common, expiresIn, expiresWithSession: false });
  const refresh = new provider.RefreshToken({ ...common, expiresWithSession: false, rotations: 0 });
  return { access_token: await access.save(), refresh_token: await refresh.save() };
}

function live() {
  const refresh = [...(stores.get("RefreshToken")?.values() ?? [])];
  const used = refresh.filter((payload) => payload.consumed).length;
  return { live: stores.get("ClientCredentials")?.size ?? 0, used, reused };
}

const answer = provider.callback();

createServer(async (request, response) => {
  const asked = new URL(request.url, url);
  const say = (body) => {
    response.setHeader("Content-Type", "application/json");
    response.end(JSON.stringify(body));
  };
  if (asked.pathname === "/live") return say(live());
  if (asked.pathname === "/login") return say(await login(Number(asked.searchParams.get("access"))));
  return answer(request, response);
}).listen(Number(port), "127.0.0.1");
