//! Definitions that an operator adds: a file in a directory is all that a new provider needs.

use std::fs;

use patrold::daemon::rotate::Answer;
use patrold::demo::Service;
use patrold::names::GenerationNo;
use patrold::provider::Operation::{List, Mint, Revoke, Verify};

use super::world::World;

/// Everything from nothing, for paths of AWX that the built-in definition does not use.
const FRESH: &str = r#"
[provider]
name = "fresh"

[auth.form.bearer]
headers = { Authorization = "Bearer {{ cred.secret }}" }

[mint]
method = "POST"
url    = "{{ base_url }}/api/v2/tokens/"
json   = { description = "{{ want.name }}", scope = "write" }
settle = "1s"
[mint.capture]
secret  = "/token"
id      = "/id"
expires = { at = "/expires", format = "rfc3339" }

[list]
url   = "{{ base_url }}/api/v2/users/2/personal_tokens/"
items = "/results"
[list.item]
id   = "/id"
name = "/description"
[list.page]
style = "next-url"
next  = "/next"

[verify]
url = "{{ base_url }}/api/v2/me/"

[revoke]
method  = "DELETE"
url     = "{{ base_url }}/api/v2/tokens/{{ old.id }}/"
gone-ok = [404]
"#;

/// One operation in place of that of `awx`, and a parameter that need not be given any more.
const EXTENDED: &str = r#"
[provider]
name    = "extended"
extends = "awx"

[params.user_id]
default = 2

[mint]
method = "POST"
url    = "{{ base_url }}/api/v2/tokens/"
json   = { description = "{{ want.name }}", scope = "{{ params.scope }}" }
[mint.capture]
secret  = "/token"
id      = "/id"
expires = { at = "/expires", format = "rfc3339" }
"#;

#[tokio::test]
async fn a_definition_in_a_directory_is_all_that_a_new_provider_needs() {
    for (name, text, listing) in
        [("fresh", FRESH, "/api/v2/users/2/personal_tokens/"), ("extended", EXTENDED, "/api/v2/tokens/")]
    {
        let world = World::new().await;
        fs::create_dir(world.path("definitions")).unwrap();
        fs::write(world.path(&format!("definitions/{name}.toml")), text).unwrap();
        let url = world.loopback.url(Service::Awx).as_str().trim_end_matches('/').to_owned();
        let account = format!(
            "[account.own]\nprovider = \"{name}\"\nurl = \"{url}\"\ncredential = {{ file = \"$DIR/awx\" }}\nsettle = \"300ms\""
        );
        let token = "[[token]]\nname = \"ci\"\naccount = \"own\"\nrotate-every = \"1h\"\n\
                     stores = [{ kind = \"file\", path = \"$DIR/stores/ci\" }]"
            .to_owned();
        let daemon = world.start_with("providers = \"$DIR/definitions\"", &[account, token]).await;

        daemon.steady("ci", 1).await;
        let first = world.stored("ci");
        assert_eq!(daemon.rotate("ci").await, Answer::Rotated(GenerationNo(2)), "{name}");
        daemon.steady("ci", 2).await;
        assert!(world.is_live(&world.stored("ci")) && !world.is_live(&first), "{name}");
        // Proven once more after the revocation: the old one is dead.
        assert_eq!(world.changes(Service::Awx, 0), [Mint, Verify, Mint, Verify, Revoke, Verify], "{name}");
        let requests = world.requests(Service::Awx, 0);
        let of = |operation| requests.iter().filter(move |request| request.operation == Some(operation));
        assert!(of(Mint).all(|request| request.path == "/api/v2/tokens/"), "{name}: {requests:#?}");
        assert!(of(List).all(|request| request.path == listing), "{name}: {requests:#?}");
        assert!(of(List).count() > 0, "{name}");
        daemon.stop().await;
    }
}
