# Directus with a PostgreSQL of its own, its administrator, and a role `ci` that may do nothing.

install() {
  need_node 20
  node_packages 2026-11-21 directus@11.3.5
  # Runs scripts of flows, of which there are none, and would have to be compiled.
  echo 'module.exports = {};' >node_modules/isolated-vm/isolated-vm.js
}

start() {
  need_node 20
  start_postgresql directus
  export DB_CLIENT=pg DB_HOST=$work/postgresql DB_PORT=5432 DB_DATABASE=directus DB_USER=directus DB_PASSWORD=none
  export HOST=127.0.0.1 PORT=$port PUBLIC_URL=$url SECRET=$secret KEY=patrold TELEMETRY=false CACHE_ENABLED=false
  export ADMIN_EMAIL=admin@example.com ADMIN_PASSWORD=$secret ADMIN_TOKEN=$secret
  local program=("$cache/node_modules/.bin/directus")
  "${program[@]}" bootstrap
  exec "${program[@]}" start
}

ready() {
  ask "$url/server/ping" >/dev/null
  local as_admin=(--header "Authorization: Bearer $secret" --header 'Content-Type: application/json') role
  role=$(ask "${as_admin[@]}" "$url/roles" --data '{"name": "ci"}' | json data id)
  printf '{"url": "%s", "credential": "%s", "role": "%s"}\n' "$url" "$secret" "$role"
}
