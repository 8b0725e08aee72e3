//! Stores at real servers: `patrold store test` sees what its definition claims, and what it leaves is asked of the server
//! itself. Nothing else of a target is touched, and a wrong place is never written.

use std::fs;
use std::process::Command;

use reqwest::Method;
use serde_json::{Value, json};

use crate::facts::Facts;
use crate::wire::Wire;

/// An inventory with one account of a store.
struct Site(tempfile::TempDir);

impl Site {
    fn new(store: &str, url: &str, credential: &str, account: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("patrold-store-").tempdir().unwrap();
        let root = directory.path().display();
        fs::write(directory.path().join("credential"), credential).unwrap();
        let inventory = format!(
            "[daemon]\nstate-dir = \"{root}/state\"\ncontrol = \"{root}/control.sock\"\n\
             [account.store]\nstore = \"{store}\"\nurl = \"{url}\"\n{}\n",
            account.replace("DIRECTORY", &root.to_string())
        );
        fs::write(directory.path().join("patrold.toml"), inventory).unwrap();
        Self(directory)
    }

    /// What `patrold store test` says.
    fn test(&self, store: &str, params: &[&str]) -> Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_patrold"));
        command.arg("--config").arg(self.0.path().join("patrold.toml"));
        command.args(["store", "test", store, "--account", "store", "--json"]);
        for param in params {
            command.args(["--param", param]);
        }
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&said).unwrap_or_else(|_| panic!("{output:?}"))
    }

    #[track_caller]
    fn holds(&self, store: &str, params: &[&str]) {
        let report = self.test(store, params);
        assert_eq!(report["held"], true, "{report:#}");
    }

    #[track_caller]
    fn fails(&self, store: &str, params: &[&str], words: &str) {
        let report = self.test(store, params);
        assert_eq!(report["held"], false, "{report:#}");
        assert!(report.to_string().contains(words), "{report:#}");
    }
}

const FILE: &str = "credential = { file = \"DIRECTORY/credential\" }";

#[tokio::test]
async fn the_key_value_engines_of_openbao() {
    let Some(facts) = Facts::of("openbao") else { return };
    let (wire, url, root) = (Wire::new(), facts.url(), [("X-Vault-Token", facts.get("root"))]);
    let ask = async |method: Method, path: &str, body: Value| {
        wire.send_json(method, &format!("{url}/v1/{path}"), &root, &body).await
    };
    // Others run against this server as well.
    let mount = format!("kv{}", std::process::id());
    ask(Method::POST, &format!("sys/mounts/{mount}"), json!({ "type": "kv", "options": { "version": "1" } })).await;
    let rights = |path: &str| format!("path \"{path}\" {{ capabilities = [\"create\", \"read\", \"update\"] }}\n");
    let policy = rights("secret/data/patrold-test/*") + &rights(&format!("{mount}/*"));
    ask(Method::PUT, "sys/policies/acl/store-writer", json!({ "policy": policy })).await;
    let token =
        ask(Method::POST, "auth/token/create", json!({ "policies": ["store-writer"], "ttl": "1h" })).await.good();
    let credential = token["auth"]["client_token"].as_str().unwrap();

    let second = Site::new("vault-kv2", url, credential, FILE);
    let other = json!({ "data": { "other": "kept", "number": 7 } });
    ask(Method::POST, "secret/data/patrold-test/shared", other).await.good();
    second.holds("vault-kv2", &["path=patrold-test/shared"]);
    second.holds("vault-kv2", &["path=patrold-test/new"]);
    let read = ask(Method::GET, "secret/data/patrold-test/shared", Value::Null).await.good();
    let data = &read["data"]["data"];
    assert_eq!((&data["other"], &data["number"]), (&json!("kept"), &json!(7)), "{read}");
    assert!(data["token"].as_str().unwrap().starts_with("patrold-test-"), "{read}");
    // One write of the test's, two of patrold's: what was there was not written again.
    assert_eq!(read["data"]["metadata"]["version"], 3, "{read}");
    // A deleted document has a version, and a compare-and-set with 0 would be refused for ever.
    wire.send(Method::DELETE, &format!("{url}/v1/secret/data/patrold-test/shared"), &root).await;
    second.holds("vault-kv2", &["path=patrold-test/shared"]);
    second.fails("vault-kv2", &["path=patrold-test/x", "mount=nowhere"], "");
    // The other version of the engine answers writes with success, in the wrong place.
    second.fails("vault-kv2", &["path=app", &format!("mount={mount}")], "store is not where the inventory says");
    let listed = wire.send(Method::GET, &format!("{url}/v1/{mount}/data?list=true"), &root).await;
    assert_eq!(listed.status, 404, "nothing was written there: {listed:?}");

    let first = Site::new("vault-kv1", url, credential, FILE);
    ask(Method::POST, &format!("{mount}/app"), json!({ "other": "kept" })).await;
    first.holds("vault-kv1", &["path=app", &format!("mount={mount}")]);
    let read = ask(Method::GET, &format!("{mount}/app"), Value::Null).await.good();
    assert_eq!(read["data"]["other"], "kept", "{read}");
    first.fails("vault-kv1", &["path=patrold-test/shared", "mount=secret"], "store is not where the inventory says");
}

#[tokio::test]
async fn keys_of_etcd() {
    let Some(facts) = Facts::of("etcd") else { return };
    let site = Site::new("etcd", facts.url(), "", "");
    site.holds("etcd", &["key=/patrold-test/token"]);
    site.holds("etcd", &["key=/patrold-test/token"]);
    let wire = Wire::new();
    // "/patrold-test/token", and a value that is nobody's.
    let key = "L3BhdHJvbGQtdGVzdC90b2tlbg==";
    let put = json!({ "key": key, "value": "c29tZWJvZHkncw==" });
    wire.send_json(Method::POST, &format!("{}/v3/kv/put", facts.url()), &[], &put).await.good();
    site.fails("etcd", &["key=/patrold-test/token"], "no test value");
    let range = format!("{}/v3/kv/range", facts.url());
    let read = wire.send_json(Method::POST, &range, &[], &json!({ "key": key })).await.good();
    assert_eq!(read["kvs"][0]["value"], "c29tZWJvZHkncw==", "it stays: {read}");
}

#[tokio::test]
async fn secrets_and_parameters_of_moto() {
    let Some(facts) = Facts::of("moto") else { return };
    let account = format!(
        "credential = {{ username = \"{}\", password = {{ file = \"DIRECTORY/credential\" }} }}\n\
         params = {{ region = \"us-east-1\" }}",
        facts.get("key-id")
    );
    let manager = Site::new("aws-secrets-manager", facts.url(), facts.get("credential"), &account);
    manager.holds("aws-secrets-manager", &["secret=patrold-test/whole"]);
    manager.holds("aws-secrets-manager", &["secret=patrold-test/table", "key=one"]);
    manager.holds("aws-secrets-manager", &["secret=patrold-test/table", "key=two"]);
    manager.holds("aws-secrets-manager", &["secret=patrold-test/table", "key=one"]);
    let ssm = Site::new("aws-ssm", facts.url(), facts.get("credential"), &account);
    ssm.holds("aws-ssm", &["name=/patrold-test/token"]);
    ssm.holds("aws-ssm", &["name=/patrold-test/token"]);
    // The signature counts.
    let wrong = Site::new("aws-ssm", facts.url(), "not-the-key", &account);
    wrong.fails("aws-ssm", &["name=/patrold-test/token"], "");
}
