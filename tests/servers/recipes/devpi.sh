# devpi with its plugin for tokens, and a user `ci`.

install() {
  python_packages devpi-server==6.20.0 devpi-tokens==1.1.0
}

start() {
  "$cache/bin/devpi-init" --serverdir "$work/server" --no-root-pypi --root-passwd "$secret"
  exec "$cache/bin/devpi-server" --serverdir "$work/server" --host 127.0.0.1 --port "$port"
}

# What a session proves itself with, of this user: the password is exchanged for one.
session() {
  local password
  password=$(ask --header 'Content-Type: application/json' "$url/+login" \
    --data '{"user": "'"$1"'", "password": "'"$secret"'"}' | json result password)
  printf '%s:%s' "$1" "$password" | base64 --wrap=0
}

ready() {
  ask "$url/+api" >/dev/null
  ask --header 'Content-Type: application/json' --header "X-Devpi-Auth: $(session root)" \
    --request PUT "$url/ci" --data '{"password": "'"$secret"'"}' >/dev/null
  printf '{"url": "%s", "credential": "%s", "session": "%s"}\n' "$url" "$secret" "$(session ci)"
}
