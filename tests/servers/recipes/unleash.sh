# Unleash with a PostgreSQL of its own.

install() {
  need_node 20
  node_packages 2026-11-21 unleash-server@7.5.1
}

start() {
  need_node 20
  start_postgresql unleash
  export DATABASE_URL="postgres://unleash@/unleash?host=$work/postgresql"
  export DATABASE_SSL=false HTTP_HOST=127.0.0.1 HTTP_PORT=$port NODE_ENV=production CHECK_VERSION=false SEND_TELEMETRY=false
  export UNLEASH_DEFAULT_ADMIN_USERNAME=admin UNLEASH_DEFAULT_ADMIN_PASSWORD=$secret
  exec node "$cache/node_modules/unleash-server/dist/server.js"
}

ready() {
  ask "$url/health" >/dev/null
  ask --cookie-jar cookies --header 'Content-Type: application/json' "$url/auth/simple/login" \
    --data '{"username": "admin", "password": "'"$secret"'"}' >/dev/null
  local credential
  credential=$(ask --cookie cookies --header 'Content-Type: application/json' "$url/api/admin/user/tokens" \
    --data '{"description": "patrold", "expiresAt": "2099-01-01T00:00:00.000Z"}' | json secret)
  printf '{"url": "%s", "credential": "%s"}\n' "$url" "$credential"
}
