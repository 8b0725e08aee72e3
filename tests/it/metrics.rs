//! Alert rules and dashboard name metrics that exist, and promtool understands the rules and what the daemon serves.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use patrold::report::status::Status;
use patrold::view::metrics::{METRICS, Measures, MetricKind, render};

fn root(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Everything in `text` that looks like the name of a metric.
fn named(text: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !word(c)).filter(|name| name.starts_with("patrold_"));
    words.map(str::to_owned).collect()
}

#[test]
fn every_metric_that_is_named_exists() {
    let mut known: BTreeSet<String> = METRICS.iter().map(|metric| metric.name.to_owned()).collect();
    for histogram in METRICS.iter().filter(|metric| metric.kind == MetricKind::Histogram) {
        known.extend(["_bucket", "_sum", "_count"].map(|suffix| format!("{}{suffix}", histogram.name)));
    }
    for path in ["packaging/prometheus/alerts.yml", "packaging/grafana/patrold.json", "docs/metrics.md"] {
        let named = named(&fs::read_to_string(root(path)).unwrap());
        assert!(!named.is_empty(), "{path} names none");
        let unknown: Vec<_> = named.difference(&known).collect();
        assert!(unknown.is_empty(), "{path} names what there is not: {unknown:?}");
    }
    let dashboard: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(root("packaging/grafana/patrold.json")).unwrap()).unwrap();
    assert!(dashboard["panels"].as_array().is_some_and(|panels| panels.len() > 10));
}

#[test]
fn the_dashboard_shows_every_metric_of_a_fleet() {
    let shown = named(&fs::read_to_string(root("packaging/grafana/patrold.json")).unwrap());
    let of_fleet =
        |name: &&str| ["patrold_fleet_", "patrold_engine_", "patrold_host_"].iter().any(|it| name.starts_with(it));
    let names: Vec<_> = METRICS.iter().map(|metric| metric.name).filter(of_fleet).collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        // A moment is for alerts and tables.
        let counts = !name.ends_with("_timestamp_seconds");
        assert!(!counts || shown.iter().any(|it| it.starts_with(name)), "no panel shows {name}");
    }
}

#[test]
fn every_alert_leads_to_a_runbook() {
    let rules = fs::read_to_string(root("packaging/prometheus/alerts.yml")).unwrap();
    let page = fs::read_to_string(root("docs/runbooks.md")).unwrap();
    let anchor = |heading: &str| {
        let kept = heading.to_lowercase().replace(' ', "-");
        kept.chars().filter(|c| c.is_alphanumeric() || *c == '-').collect::<String>()
    };
    let anchors: BTreeSet<_> = page.lines().filter_map(|line| line.strip_prefix("## ")).map(anchor).collect();
    let alerts: Vec<_> = rules.split("- alert: ").skip(1).collect();
    assert!(!alerts.is_empty());
    for alert in alerts {
        let name = alert.lines().next().unwrap();
        let runbook = alert.lines().find_map(|line| line.trim().strip_prefix("runbook: docs/runbooks.md#"));
        assert!(runbook.is_some_and(|runbook| anchors.contains(runbook)), "{name} leads to {runbook:?}");
    }
}

/// Runs promtool; None, loudly, where it is not installed.
fn promtool(arguments: &[&str], input: &str) -> Option<String> {
    let child = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        crate::skipped("promtool is not installed; Debian has it in the package prometheus");
        return None;
    };
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "promtool {arguments:?}: {told}");
    Some(told)
}

#[test]
fn promtool_understands_rules_and_metrics() {
    let rules = root("packaging/prometheus/alerts.yml");
    if let Some(told) = promtool(&["check", "rules", rules.to_str().unwrap()], "") {
        assert!(told.contains("23 rules found"), "{told}");
    }
    let status: Status =
        serde_json::from_str(&fs::read_to_string(root("src/view/metrics/tests/status.json")).unwrap()).unwrap();
    let at = status.at;
    let measures = Measures {
        heartbeat: at,
        read: at,
        in_force_since: at,
        steps: std::collections::BTreeMap::new(),
        traffic: [("gps".parse().unwrap(), patrold::endpoint::traffic::Traffic::default())].into(),
        commits: Some(patrold::journal::fleet::tally::Commits::default()),
        log_dropped: 0,
        refused: vec![("method", 1)],
    };
    promtool(&["check", "metrics"], &render(&status, &measures));
}
