# aiosmtpd, a mail server in Python: it wants STARTTLS and a login before it takes a message. A second one, on the port after
# it, is encrypted from the first byte.

install() {
  need openssl
  python_packages 'aiosmtpd==1.4.6'
  cp "$recipes/aiosmtpd/serve.py" .
}

start() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=127.0.0.1 \
    -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out certificate.pem
  exec "$cache/bin/python" "$cache/serve.py"
}

ready() {
  [[ -e $work/ready ]] || return
  printf '{"url": "smtp://127.0.0.1:%s", "tls-url": "smtps://127.0.0.1:%s", "credential": "%s", "ca": "%s", "letters": "%s"}\n' \
    "$port" "$(cat "$work/ready")" "$secret" "$work/certificate.pem" "$work/letters"
}
