# Verdaccio, a registry of npm packages, with a user `ci` and no other registry behind it.

install() {
  need_node 18
  # The version that it asks for is not published.
  echo '{"private": true, "overrides": {"node-fetch": "2.7.0"}}' >package.json
  node_packages 2026-11-21 verdaccio@6.8.0
}

start() {
  need_node 18
  cat >config.yaml <<'CONFIG'
storage: ./storage
auth:
  htpasswd:
    file: ./htpasswd
uplinks: {}
packages:
  "**":
    access: $authenticated
    publish: $authenticated
security:
  api:
    legacy: false
    jwt:
      sign:
        expiresIn: 2h
log: { type: stdout, format: pretty, level: warn }
CONFIG
  exec "$cache/node_modules/.bin/verdaccio" --config config.yaml --listen "127.0.0.1:$port"
}

ready() {
  ask "$url/-/ping" >/dev/null
  # What `npm login` gets.
  local session
  session=$(ask --header 'Content-Type: application/json' --request PUT "$url/-/user/org.couchdb.user:ci" \
    --data '{"name": "ci", "password": "'"$secret"'"}' | json token)
  printf '{"url": "%s", "credential": "%s", "session": "%s"}\n' "$url" "$secret" "$session"
}
