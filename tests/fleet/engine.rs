//! The engines that this machine has, and what their own tools tell of them.

use std::io::{Write as _, stderr};

use patrold::demo::engine::{EngineOptions, LoopbackEngine, installed};
use patrold::inventory::EngineKind;

/// Whether this machine has an engine of this kind; where it has none, that is said.
pub fn is_there(kind: EngineKind) -> bool {
    let there = installed().contains(&kind);
    if !there {
        let required = std::env::var_os("PATROLD_FLEET_REQUIRED").is_some();
        assert!(!required, "there is no {kind} on this machine: install etcd-server, etcd-client and postgresql");
        // Not by a macro: what those print is swallowed where a test succeeds.
        let _ =
            writeln!(stderr(), "SKIPPED: there is no {kind} on this machine (etcd-server, etcd-client, postgresql)");
    }
    there
}

/// Starts an engine. None where this machine has none of this kind.
pub async fn start(kind: EngineKind, options: EngineOptions) -> Option<LoopbackEngine> {
    if !is_there(kind) {
        return None;
    }
    Some(LoopbackEngine::start(kind, options).await.unwrap())
}

/// What one of its tools prints.
pub async fn tool(engine: &LoopbackEngine, program: &str, arguments: &[&str]) -> String {
    let output = engine.tool(program).args(arguments).output().await.unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// What PostgreSQL answers to a statement.
pub async fn sql(engine: &LoopbackEngine, statement: &str) -> String {
    tool(engine, "psql", &["-d", "patrold", "-Atqc", statement]).await
}

/// What a key of the engine holds.
pub async fn get(engine: &LoopbackEngine, key: &str) -> String {
    match engine.kind() {
        EngineKind::Etcd => tool(engine, "etcdctl", &["get", "--print-value-only", key]).await,
        EngineKind::PostgreSql => {
            sql(engine, &format!("select convert_from(value, 'UTF8') from patrold.keys where key = '{key}'")).await
        }
    }
}

/// Writes a key as somebody else would.
pub async fn put(engine: &LoopbackEngine, key: &str, value: &str) {
    match engine.kind() {
        EngineKind::Etcd => drop(tool(engine, "etcdctl", &["put", key, value]).await),
        EngineKind::PostgreSql => {
            let set =
                format!("value = convert_to($text${value}$text$, 'UTF8'), modified = nextval('patrold.revision')");
            sql(engine, &format!("update patrold.keys set {set} where key = '{key}'")).await;
        }
    }
}
