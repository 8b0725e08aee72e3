//! `docs/providers.md`, the table by which people compare: it is made of what `provider list --json` says.
//! `PATROLD_REGENERATE=1 cargo test --test it providers` writes it anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn listed() -> Vec<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_patrold"))
        .args(["--config", "/nonexistent/patrold.toml", "provider", "list", "--json"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Seconds as people write them.
fn span(value: &Value) -> String {
    let Some(seconds) = value.as_i64() else { return String::new() };
    match seconds {
        days if days % 86_400 == 0 => format!("{} d", days / 86_400),
        hours if hours % 3600 == 0 => format!("{} h", hours / 3600),
        minutes if minutes % 60 == 0 => format!("{} min", minutes / 60),
        seconds => format!("{seconds} s"),
    }
}

fn page(providers: &[Value]) -> String {
    let mut levels: BTreeMap<&str, usize> = BTreeMap::new();
    for provider in providers {
        *levels.entry(provider["checked"].as_str().unwrap()).or_default() += 1;
    }
    let level = |name: &str| levels.get(name).copied().unwrap_or_default();
    let mut out = format!(
        "# Providers\n\n\
         {} definitions come with patrold: {} were run against the service itself (`live`), {} against recorded or imitated \
         answers (`mock`), {} are held against the vendor's own description of the API (`contract`), {} were written from the \
         vendor's documents (`docs`).\n\n\
         - **expiry**: the provider tells when a token ends. **list**: tokens can be listed. **found**: a token whose secret was \
         lost is found again by its name.\n\
         - **proof**: a new token is proven before it is delivered. **overlap**: old and new live side by side. **revoke**: the \
         old token is ended. **used**: the provider tells when a token was last used.\n\
         - **shortest life**: what is shorter is not asked for. **left open**: questions of `patrold provider lint` without an \
         answer; `patrold provider show NAME` says why.\n\n\
         This page is made of the definitions by a test; `patrold provider list` says the same.\n\n\
         | definition | what | checked | expiry | list | found | proof | overlap | revoke | used | shortest life | left open |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
        providers.len(),
        level("live"),
        level("mock"),
        level("contract"),
        level("docs"),
    );
    for provider in providers {
        let text = |key: &str| provider[key].as_str().unwrap_or_default();
        let can = |key: &str| provider["capabilities"][key] == true;
        let mark = |has: bool| if has { "yes" } else { "" };
        let side_by_side = (can("mints") && can("overlap")) || can("renewal-overlaps");
        let open = provider["reasons"].as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(", ");
        let contract = &provider["contract"];
        let server = &provider["server"];
        let checked = match (contract["source"].as_str(), server["name"].as_str()) {
            (_, Some(name)) => format!(
                "{}: {name} {}, {}",
                text("checked"),
                server["version"].as_str().unwrap(),
                server["date"].as_str().unwrap()
            ),
            (Some(source), None) => {
                format!("[{}]({source}) {}", text("checked"), contract["version"].as_str().unwrap())
            }
            (None, None) => text("checked").to_owned(),
        };
        let _ = writeln!(
            out,
            "| [{}](../config/providers/{}.toml) | {} | {checked} | {} | {} | {} | {} | {} | {} | {} | {} | {open} |",
            text("name"),
            text("name"),
            text("title"),
            mark(can("expiry-known")),
            mark(can("lists")),
            mark(can("marks")),
            mark(can("verifies")),
            mark(side_by_side),
            mark(can("revokes")),
            mark(can("last-used")),
            span(&provider["shortest-life"]),
        );
    }
    out
}

#[test]
fn the_page_of_providers_is_what_the_program_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/providers.md");
    let page = page(&listed());
    if std::env::var_os("PATROLD_REGENERATE").is_some() {
        fs::write(&path, &page).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap_or_default(), page, "written anew with PATROLD_REGENERATE=1");
}

/// A recipe that starts another version than the one that a definition names shows another server than the page says.
#[test]
fn what_was_run_against_a_server_says_which() {
    let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/recipes");
    let recipes: Vec<String> = fs::read_dir(recipes)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "sh"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    // Neither starts within minutes: they were run by hand.
    let by_hand = ["awx", "netbox-token"];
    let mut wrong = Vec::new();
    for provider in listed() {
        let (name, server) = (provider["name"].as_str().unwrap(), &provider["server"]);
        let runs = |version: &str| {
            recipes.iter().any(|recipe| {
                recipe.contains(&format!("{version}\n"))
                    || recipe.contains(&format!("{version} "))
                    || recipe.contains(&format!("{version}'"))
            })
        };
        match (provider["checked"].as_str().unwrap(), server["version"].as_str()) {
            ("live" | "mock", Some(version)) if runs(version) || by_hand.contains(&name) => {}
            ("live" | "mock", Some(version)) => wrong.push(format!("{name}: no recipe starts {version}")),
            ("live", None) => wrong.push(format!("{name}: [server] is missing")),
            (_, Some(_)) => wrong.push(format!("{name}: it has [server], and another level")),
            (_, None) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_readme_says_how_many_there_are() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let count = format!("{} definitions", listed().len());
    assert!(readme.contains(&count), "README.md does not say \"{count}\"");
}
