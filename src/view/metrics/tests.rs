//! The list against its documentation, and what a status looks like in numbers.

use std::collections::BTreeSet;

use super::*;

const DOCUMENT: &str = include_str!("../../../docs/metrics.md");

/// `PATROLD_REGENERATE=1 cargo test --lib view::metrics` writes the table of the document anew.
#[test]
fn the_document_has_every_metric() {
    let row = |metric: &&Metric| {
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        format!("| `{}` | {} | {} | {} |\n", metric.name, metric.kind.word(), labels.join(", "), metric.help)
    };
    let rows: String = METRICS.iter().map(row).collect();
    let (before, table) = DOCUMENT.split_once("| --- | --- | --- | --- |\n").expect("the head of the table");
    let end = table.find("\n\n").map_or(table.len(), |at| at + 1);
    if std::env::var_os("PATROLD_REGENERATE").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
        std::fs::write(path, format!("{before}| --- | --- | --- | --- |\n{rows}{}", &table[end..])).unwrap();
    } else {
        assert_eq!(&table[..end], rows, "set PATROLD_REGENERATE=1 if rightly so");
    }
}

#[test]
fn names_follow_the_conventions() {
    let mut names = BTreeSet::new();
    for Metric { name, kind, labels, help } in METRICS {
        assert!(name.starts_with("patrold_") && names.insert(name), "{name}: prefix, and once");
        assert_eq!(
            name.ends_with("_total"),
            *kind == MetricKind::Counter,
            "{name}: counters and nothing else are totals"
        );
        assert!(!help.ends_with('.') && !help.contains(['\\', '\n', '|']), "{name}: {help}");
        assert!(!labels.contains(&"le"), "{name}: histograms have that label anyway");
    }
}

#[test]
fn a_status_becomes_numbers() {
    let status: Status = serde_json::from_str(include_str!("tests/status.json")).unwrap();
    let at = status.at;
    let account: AccountName = "gps".parse().unwrap();
    let steps =
        [((account.clone(), crate::rotation::steps::StepName::Mint, crate::rotation::steps::StepResult::Failed), 3)];
    let measures = Measures {
        heartbeat: at,
        read: at,
        in_force_since: at,
        steps: steps.into(),
        traffic: [(account, Traffic::default())].into(),
        commits: None,
        log_dropped: 4,
        refused: vec![("too-many-connections", 7)],
    };
    let text = render(&status, &measures);
    for line in [
        "patrold_build_info{version=\"0.1.0\"} 1",
        "patrold_scheduler_heartbeat_timestamp_seconds 1773144000",
        "patrold_journal_writable 1",
        "patrold_inventory_reload_successful 0",
        "patrold_tokens{state=\"failing\"} 1",
        "patrold_tokens{state=\"missing\"} 1",
        "patrold_token_info{token=\"gps-ingest\",account=\"gps\",provider=\"pointone\"} 1",
        "patrold_token_state{token=\"gps-ingest\",state=\"failing\"} 1",
        "patrold_token_expiry_timestamp_seconds{token=\"gps-ingest\"} 1773748800",
        "patrold_token_due_timestamp_seconds{token=\"gps-ingest\"} 1773144000.5",
        "patrold_token_last_attempt_timestamp_seconds{token=\"gps-ingest\"} 1773143940",
        "patrold_token_consecutive_failures{token=\"gps-ingest\"} 3",
        "patrold_token_live_generations{token=\"gps-ingest\"} 3",
        "patrold_token_owed{token=\"gps-ingest\",kind=\"hook\"} 1",
        "patrold_steps_total{account=\"gps\",step=\"mint\",result=\"failed\"} 3",
        "patrold_account_state{account=\"gps\",state=\"degraded\"} 1",
        "patrold_account_orphans{account=\"gps\"} 1",
        "patrold_account_quota_remaining{account=\"gps\",source=\"inventory\"} 5",
        "patrold_account_clock_skew_seconds{account=\"gps\"} -12.5",
        "patrold_provider_request_duration_seconds_bucket{account=\"gps\",le=\"+Inf\"} 0",
        "patrold_log_lines_dropped_total 4",
        "patrold_http_refused_total{reason=\"too-many-connections\"} 7",
    ] {
        assert!(text.lines().any(|had| had == line), "{line} is not in\n{text}");
    }
    for never in [
        "patrold_token_state{token=\"gps-ingest\",state=\"fine\"}",
        "patrold_token_owed{token=\"gps-ingest\",kind=\"store\"}",
        "patrold_token_held_back{",
        "patrold_token_expiry_timestamp_seconds{token=\"new\"}",
        "wire-7",
        "070707",
        "id-1",
    ] {
        assert!(!text.contains(never), "{never} is in\n{text}");
    }
    let families: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let listed: Vec<_> = METRICS.iter().map(|metric| format!("{} {}", metric.name, metric.kind.word())).collect();
    assert_eq!(families, listed, "every family once, in the order of the list");
}

#[test]
fn hosts_and_commits_of_a_fleet_become_numbers() {
    let mut status: Status = serde_json::from_str(include_str!("tests/status.json")).unwrap();
    let at = status.at;
    let measures = |commits| Measures {
        heartbeat: at,
        read: at,
        in_force_since: at,
        steps: Steps::new(),
        traffic: BTreeMap::new(),
        commits,
        log_dropped: 0,
        refused: Vec::new(),
    };
    let alone = render(&status, &measures(None));
    assert!(!alone.contains("\npatrold_host_") && !alone.contains("\npatrold_engine_"), "{alone}");
    let host = |name: &str, up: bool, forgotten: bool| {
        serde_json::json!({
            "name": name, "version": up.then_some("1"), "seen": "2026-03-10T11:59:00Z", "forgotten": forgotten,
            "owes": if up { vec![] } else { vec!["gps-ingest"] },
        })
    };
    let fleet = serde_json::json!({
        "name": "prod", "replica": "r1", "lease-left-ms": 9000, "trouble": null, "replicas": [], "engine": null,
        "unowned": [], "elsewhere": [], "leases-lost": 0, "accounts-taken": 0,
        "hosts": [host("web-1", true, false), host("web-2", false, false), host("web-3", false, true)],
    });
    status.fleet = Some(serde_json::from_value(fleet).unwrap());
    let text = render(&status, &measures(Some(Commits::default())));
    for line in [
        "patrold_host_up{host=\"web-1\"} 1",
        "patrold_host_up{host=\"web-2\"} 0",
        "patrold_host_last_seen_timestamp_seconds{host=\"web-2\"} 1773143940",
        "patrold_host_owed_tokens{host=\"web-1\"} 0",
        "patrold_host_owed_tokens{host=\"web-2\"} 1",
        "patrold_engine_commits_total{result=\"fenced\"} 0",
        "patrold_engine_commit_duration_seconds_count 0",
    ] {
        assert!(text.lines().any(|had| had == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("patrold_host_up{host=\"web-3\"}"), "nobody waits for it: {text}");
    assert!(!text.contains("\npatrold_engine_last_commit"), "there was none: {text}");
}
