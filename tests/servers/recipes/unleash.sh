# Unleash with a PostgreSQL of its own.

install() {
  need_node 20
  node_packages 2026-11-21 unleash-server@7.5.1
}

# The directory of the newest PostgreSQL that Debian installed.
postgresql() {
  local directory
  directory=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort --version-sort | tail -n 1)
  [[ -x $directory/postgres ]] || cannot "PostgreSQL is not installed"
  echo "$directory"
}

# PostgreSQL refuses to run as root.
as_postgres() {
  if [[ $(id -u) -eq 0 ]]; then
    setpriv --reuid=postgres --regid=postgres --clear-groups -- "$@"
  else
    "$@"
  fi
}

start() {
  need_node 20
  local bin data=$work/postgresql
  bin=$(postgresql)
  mkdir "$data"
  chmod 711 "$work"
  [[ $(id -u) -ne 0 ]] || chown postgres "$data"
  cd "$data"
  as_postgres "$bin/initdb" --pgdata="$data/data" --username=unleash --auth=trust --no-sync --no-instructions
  # A socket in the file system, no port.
  as_postgres "$bin/postgres" -D "$data/data" -c listen_addresses= -c unix_socket_directories="$data" -c fsync=off &
  until "$bin/pg_isready" --quiet --host="$data"; do
    sleep 0.1
  done
  "$bin/createdb" --host="$data" --username=unleash unleash
  cd "$work"
  export DATABASE_URL="postgres://unleash@/unleash?host=$data"
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
