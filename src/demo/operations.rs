//! What an operator supplies with an account where the vendor's documentation leaves an operation out: here in the
//! shape that the loopback provider chose for itself.

use super::Service;

/// The `operations` of an account of `service`, in the vocabulary of provider definitions; `None` where the built-in
/// definition is complete. Commvault's needs the account's parameter `user_id`.
pub fn operations(service: Service) -> Option<&'static str> {
    match service {
        Service::PointOne => Some(POINT_ONE),
        Service::Awx => None,
        Service::Commvault => Some(COMMVAULT),
    }
}

const POINT_ONE: &str = r#"
[revoke]
method      = "POST"
url         = "{{ base_url }}/graphql"
gone-ok     = [200]
gone-expect = [{ at = "/errors/0/extensions/code", equals = "NOT_FOUND" }]
[revoke.graphql]
query     = "mutation Revoke($name: String!) { revokePersonalAccessToken(name: $name) }"
variables = { name = "{{ old.name }}" }
"#;

const COMMVAULT: &str = r#"
[list]
url   = "{{ base_url }}/V4/AccessToken/"
query = { userId = "{{ params.user_id }}" }
items = "/tokens"
[list.item]
id      = "/accessTokenId"
name    = "/tokenName"
expires = { at = "/tokenExpiryTimestamp", format = "epoch" }
created = { at = "/createdTimestamp", format = "epoch" }

[revoke]
method      = "DELETE"
url         = "{{ base_url }}/V4/AccessToken/{{ old.id }}"
gone-ok     = [200]
gone-expect = [{ at = "/errorCode", equals = 1102 }]
"#;
