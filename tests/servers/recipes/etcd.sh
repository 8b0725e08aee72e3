# etcd, as Debian has it: its gateway speaks JSON.

install() {
  need etcd
}

start() {
  need etcd
  local peer
  peer=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  exec etcd --data-dir "$work/etcd" --unsafe-no-fsync --listen-client-urls "$url" --advertise-client-urls "$url" \
    --listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
    --initial-cluster "default=http://127.0.0.1:$peer"
}

ready() {
  ask "$url/health" >/dev/null
  printf '{"url": "%s"}\n' "$url"
}
