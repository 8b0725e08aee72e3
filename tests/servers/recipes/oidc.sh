# oidc-provider, a certified OpenID provider, with a client `ci` and a client `web` that has logins to renew.

install() {
  need_node 20
  node_packages 2026-11-21 oidc-provider@9.13.3
  cp "$recipes/oidc/serve.mjs" .
}

start() {
  exec node "$cache/serve.mjs"
}

ready() {
  ask "$url/.well-known/openid-configuration" >/dev/null
  printf '{"url": "%s", "credential": "%s"}\n' "$url" "$secret"
}
