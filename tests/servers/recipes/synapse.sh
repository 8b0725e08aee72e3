# Synapse, the server of Matrix, with SQLite and a user `ci`, whose sessions have to be refreshed.

install() {
  python_packages matrix-synapse==1.163.0
}

start() {
  "$cache/bin/python" -m synapse.app.homeserver --config-path generated.yaml --generate-config --server-name localhost \
    --report-stats=no
  cat >homeserver.yaml <<CONFIG
server_name: localhost
pid_file: $work/pid
listeners:
  - { port: $port, type: http, bind_addresses: ["127.0.0.1"], resources: [{ names: [client] }] }
database: { name: sqlite3, args: { database: "$work/synapse.sqlite" } }
media_store_path: $work/media
signing_key_path: $work/localhost.signing.key
registration_shared_secret: $secret
report_stats: false
trusted_key_servers: []
refreshable_access_token_lifetime: 10m
refresh_token_lifetime: 1d
bcrypt_rounds: 4
# A test makes more requests than a person.
rc_login:
  address: { per_second: 100, burst_count: 100 }
  account: { per_second: 100, burst_count: 100 }
  failed_attempts: { per_second: 100, burst_count: 100 }
CONFIG
  exec "$cache/bin/python" -m synapse.app.homeserver --config-path homeserver.yaml
}

ready() {
  ask "$url/_matrix/client/versions" >/dev/null
  "$cache/bin/register_new_matrix_user" --config homeserver.yaml --user ci --password "$secret" --no-admin "$url" >&2
  local login session
  login='{"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "ci"}, "password": "'$secret'"}'
  session=$(ask --header 'Content-Type: application/json' "$url/_matrix/client/v3/login" --data "$login" | json access_token)
  printf '{"url": "%s", "credential": "%s", "session": "%s"}\n' "$url" "$secret" "$session"
}
