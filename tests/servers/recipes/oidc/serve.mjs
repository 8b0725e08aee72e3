// An authorization server with one client, which may ask for tokens, introspect them (RFC 7662) and revoke them
// (RFC 7009). `/live` tells how many tokens it holds.
import { createServer } from "node:http";
import Provider from "oidc-provider";

const { url, port, secret } = process.env;
const stores = new Map();

class Adapter {
  constructor(name) {
    if (!stores.has(name)) stores.set(name, new Map());
    this.items = stores.get(name);
  }
  async upsert(id, payload) {
    this.items.set(id, payload);
  }
  async find(id) {
    return this.items.get(id);
  }
  async destroy(id) {
    this.items.delete(id);
  }
}

const provider = new Provider(url, {
  adapter: Adapter,
  clients: [
    { client_id: "ci", client_secret: secret, grant_types: ["client_credentials"], redirect_uris: [], response_types: [] },
  ],
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    introspection: { enabled: true, allowedPolicy: () => true },
    revocation: { enabled: true, allowedPolicy: () => true },
  },
  ttl: { ClientCredentials: 3600 },
});
const answer = provider.callback();

createServer((request, response) => {
  if (request.url !== "/live") return answer(request, response);
  response.setHeader("Content-Type", "application/json");
  response.end(JSON.stringify({ live: stores.get("ClientCredentials")?.size ?? 0 }));
}).listen(Number(port), "127.0.0.1");
