# moto: AWS in one process. It checks signatures once a user has a key; what it holds is not always what AWS would.

install() {
  python_packages 'moto[server,secretsmanager,ssm,iam,sts]==5.2.5'
}

# The first requests need no signature: they make an administrator, and a user without any right.
start() {
  INITIAL_NO_AUTH_ACTION_COUNT=4 exec "$cache/bin/moto_server" -H 127.0.0.1 -p "$port"
}

# A request to IAM; the scope of a signature says which service is meant.
iam() {
  ask "$url/" --header "Authorization: AWS4-HMAC-SHA256 Credential=none/20260101/us-east-1/iam/aws4_request" \
    --data "Version=2010-05-08&$1"
}

ready() {
  ask "$url/moto-api/" >/dev/null
  local policy answer
  policy='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'
  iam "Action=CreateUser&UserName=ci" >/dev/null
  iam "Action=CreateUser&UserName=patrold" >/dev/null
  iam "Action=PutUserPolicy&UserName=patrold&PolicyName=all&PolicyDocument=$(python3 -c 'import sys, urllib.parse
print(urllib.parse.quote(sys.argv[1]))' "$policy")" >/dev/null
  answer=$(iam "Action=CreateAccessKey&UserName=patrold")
  local id key
  id=$(sed -n 's:.*<AccessKeyId>\(.*\)</AccessKeyId>.*:\1:p' <<<"$answer")
  key=$(sed -n 's:.*<SecretAccessKey>\(.*\)</SecretAccessKey>.*:\1:p' <<<"$answer")
  printf '{"url": "%s", "key-id": "%s", "credential": "%s"}\n' "$url" "$id" "$key"
}
