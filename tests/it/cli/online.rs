//! `patrold check --online` against the loopback provider.

use patrold::demo::{Options, Service};
use serde_json::Value;

use super::golden::expect;
use super::trial::Stage;

/// A definition by which nothing can be asked without minting.
const MINT_ONLY: &str = r#"
[provider]
name       = "mint-only"
title      = "Mints"
checked    = "docs"
docs       = ["https://docs.example.com"]
credential = "Any."
old-token  = "Lives on."

[auth.form.key]
headers = { X-Key = "{{ cred.secret }}" }

[mint]
method = "POST"
url    = "{{ base_url }}/keys"
json   = { label = "{{ want.name }}" }
[mint.capture]
secret = "/key"
"#;

/// A stage with a token at AWX that has a store of each kind, and a commvault account that cannot list.
fn stage() -> Stage {
    let more = r#"
[[token]]
name         = "ci"
account      = "awx"
rotate-every = "30d"
params       = { user_id = 2 }
stores       = [
  { kind = "file", path = "$DIR/ci-token" },
  { kind = "env-file", path = "$DIR/ci.env", key = "CI_TOKEN" },
]

[[token]]
name         = "backup"
account      = "commvault"
rotate-every = "30d"
params       = { user_id = 2 }
"#;
    Stage::with(Options::default(), more)
}

fn result<'j>(json: &'j Value, of: &str, key: &str, name: &str) -> &'j Value {
    let results = json["inventories"][0]["online"][of].as_array().unwrap();
    let named = results.iter().find(|result| result[key].as_str().unwrap().ends_with(name));
    named.unwrap_or_else(|| panic!("no {name} in {json:#}"))
}

#[test]
fn accounts_are_asked_and_stores_tested_and_nothing_changes() {
    let stage = stage();
    let files = || {
        let mut names: Vec<_> =
            std::fs::read_dir(stage.world.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = files();
    expect("check-online", &stage.world, &["check", "--online"], 0);
    assert_eq!(files(), before);
    for service in Service::ALL {
        assert_eq!(stage.minted(service), 0);
    }
    let offline = stage.world.json(&["check", "--json"], 0);
    assert!(offline["inventories"][0].get("online").is_none());
}

#[test]
fn what_does_not_work_is_told_with_its_reason() {
    let stage = stage();
    let inventory = std::fs::read_to_string(stage.world.config()).unwrap();
    let inventory = inventory.replace("/ci-token\"", "/missing/ci-token\"");
    let managed =
        "[account.managed]\nprovider = \"awx\"\nurl = \"http://127.0.0.1:1\"\ncredential = { token = \"ci\" }\n";
    std::fs::write(stage.world.config(), inventory + managed).unwrap();
    std::fs::write(stage.world.path().join("awx"), "not the secret").unwrap();
    std::fs::remove_file(stage.world.path().join("pointone")).unwrap();
    let json = stage.world.json(&["check", "--online", "--json"], 1);
    for (account, reason) in [
        ("awx", "does not accept the credential"),
        ("pointone", "no usable credential"),
        ("managed", "has no secret yet"),
    ] {
        let result = result(&json, "accounts", "account", account);
        assert_eq!(result["works"], "no", "{result}");
        assert!(result["evidence"].as_str().unwrap().contains(reason), "{result}");
    }
    assert_eq!(result(&json, "accounts", "account", "commvault")["works"], "yes");
    let store = result(&json, "stores", "store", "/missing/ci-token");
    assert_eq!(store["works"], "no", "{store}");
    assert_eq!(result(&json, "stores", "store", "#CI_TOKEN")["works"], "yes");
    let text = stage.world.run(&["check", "--online"]);
    assert_eq!(text.status.code(), Some(1));
    assert!(!String::from_utf8_lossy(&text.stdout).contains("not the secret"));
}

#[test]
fn the_request_that_tells_most_is_the_one_that_is_sent() {
    let stage = stage();
    std::fs::create_dir(stage.world.path().join("definitions")).unwrap();
    std::fs::write(stage.world.path().join("definitions/mint-only.toml"), MINT_ONLY).unwrap();
    let inventory = std::fs::read_to_string(stage.world.config()).unwrap();
    // Without what the operator supplies, Commvault lists nothing.
    let operations = inventory.find("[account.commvault.operations.list]").unwrap();
    let end = operations + inventory[operations..].find("[[token]]").unwrap();
    let inventory = [&inventory[..operations], &inventory[end..]].concat();
    let directory = stage.world.path().display().to_string();
    let inventory = inventory.replace("[daemon]\n", &format!("[daemon]\nproviders = \"{directory}/definitions\"\n"));
    let unaskable = "[account.unaskable]\nprovider = \"mint-only\"\nurl = \"http://127.0.0.1:1\"\n\
                     credential = { file = \"$DIR/awx\" }\n";
    std::fs::write(stage.world.config(), inventory + &unaskable.replace("$DIR", &directory)).unwrap();
    let json = stage.world.json(&["check", "--online", "--json"], 0);
    for (account, works, evidence) in [
        ("awx", "yes", "a listing was answered"),
        ("commvault", "yes", "verify accepts the credential"),
        ("unaskable", "unknown", "no request of the definition tells"),
    ] {
        let result = result(&json, "accounts", "account", account);
        assert_eq!(result["works"], works, "{result}");
        assert!(result["evidence"].as_str().unwrap().contains(evidence), "{result}");
    }
    std::fs::write(stage.world.path().join("commvault"), "something else").unwrap();
    let json = stage.world.json(&["check", "--online", "--json"], 0);
    assert_eq!(result(&json, "accounts", "account", "commvault")["works"], "unknown");
}
