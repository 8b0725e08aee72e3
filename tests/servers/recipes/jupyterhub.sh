# JupyterHub with a user `alice` and a service that may manage her tokens. Nobody starts notebooks, so nothing stands
# before the hub and nothing below it.

install() {
  python_packages jupyterhub==6.1.1
}

start() {
  cat >config.py <<'CONFIG'
import os
from jupyterhub.proxy import Proxy


class NoProxy(Proxy):
    should_start = False

    async def add_route(self, routespec, target, data):
        pass

    async def delete_route(self, routespec):
        pass

    async def get_all_routes(self):
        return {}


c.JupyterHub.proxy_class = NoProxy
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.hub_bind_url = os.environ["url"]
c.JupyterHub.db_url = "sqlite:///hub.sqlite"
c.JupyterHub.services = [{"name": "patrold", "api_token": os.environ["secret"]}]
c.JupyterHub.load_roles = [
    {"name": "minter", "scopes": ["admin:users", "tokens"], "services": ["patrold"]},
]
CONFIG
  exec "$cache/bin/jupyterhub" -f config.py
}

ready() {
  ask "$url/hub/api/" >/dev/null
  ask --header "Authorization: token $secret" --request POST "$url/hub/api/users/alice" >/dev/null
  printf '{"url": "%s", "credential": "%s"}\n' "$url" "$secret"
}
