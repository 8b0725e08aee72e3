# OpenStack Keystone with SQLite, its administrator, and a user `ci` with a project.

install() {
  # It reads its own version with pkg_resources.
  python_packages keystone==30.0.0 'setuptools<81'
  # Its tables take longer to make than everything else: they are made once.
  printf '[database]\nconnection = sqlite:///%s\n' "$cache/empty.sqlite" >empty.conf
  "$cache/bin/keystone-manage" --config-file empty.conf db_sync
}

start() {
  cat >keystone.conf <<CONFIG
[database]
connection = sqlite:///$work/keystone.sqlite
[fernet_tokens]
key_repository = $work/fernet
[fernet_receipts]
key_repository = $work/fernet
[credential]
key_repository = $work/credential
[cache]
enabled = false
[identity]
# Hashes as cheap as it allows: nobody attacks this one.
password_hash_rounds = 4
CONFIG
  cp "$cache/empty.sqlite" keystone.sqlite
  mkdir -m 700 fernet credential
  local manage=("$cache/bin/keystone-manage" --config-file keystone.conf)
  local me=(--keystone-user "$(id -un)" --keystone-group "$(id -gn)")
  "${manage[@]}" fernet_setup "${me[@]}"
  "${manage[@]}" credential_setup "${me[@]}"
  "${manage[@]}" bootstrap --bootstrap-password "$secret" --bootstrap-public-url "$url/v3" --bootstrap-region-id here
  exec "$cache/bin/python" "$recipes/keystone/serve.py" "$port" --config-file keystone.conf
}

ready() {
  ask "$url/v3" >/dev/null
  local token project user
  token=$(ask --dump-header - --output /dev/null --header 'Content-Type: application/json' "$url/v3/auth/tokens" --data '{
    "auth": {
      "identity": {"methods": ["password"], "password": {"user": {
        "name": "admin", "domain": {"id": "default"}, "password": "'"$secret"'"}}},
      "scope": {"project": {"name": "admin", "domain": {"id": "default"}}}}}' |
    tr -d '\r' | sed -n 's/^X-Subject-Token: //Ip')
  local as_admin=(--header "X-Auth-Token: $token" --header 'Content-Type: application/json')
  project=$(ask "${as_admin[@]}" "$url/v3/projects?name=admin" | json projects 0 id)
  user=$(ask "${as_admin[@]}" "$url/v3/users" --data '{
    "user": {"name": "ci", "password": "'"$secret"'", "default_project_id": "'"$project"'"}}' | json user id)
  local role
  role=$(ask "${as_admin[@]}" "$url/v3/roles?name=member" | json roles 0 id)
  ask "${as_admin[@]}" --request PUT "$url/v3/projects/$project/users/$user/roles/$role"
  printf '{"url": "%s", "credential": "%s", "user": "%s", "token": "%s"}\n' "$url" "$secret" "$user" "$token"
}
