//! The map in `src/lib.rs` is true: it names every module, a module uses only those below it, and no two files of it use
//! each other in a circle. What only some files may do, only they do.
//!
//! A module and its own parts are one thing here: a part may use what its parent declares, as Rust means it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::purity::{files, without_tests, without_texts};

/// Files that still use each other in a circle, and why.
const TIED: &[(&str, &str)] = &[];

/// What only some files do: a pattern of code, the files, and why. A new one is a decision: it is reviewed here.
const ONLY: &[(&str, &[&str], &str)] = &[
    (
        ".expose()",
        &[
            "cli/fleet",
            "control/client",
            "daemon/http/access",
            "demo/",
            "endpoint/client",
            "endpoint/dress",
            "journal/fleet/agent",
            "journal/fleet/engine/",
            "exec/child",
            "hook/call",
            "hook/rollout",
            "exec/values",
            "journal/seal",
            "notice/form",
            "notify/send",
            "notify/smtp",
            "provider/answer",
            "provider/jwt",
            "provider/login",
            "provider/putting",
            "provider/request",
            "provider/sigv4",
            "provider/slots",
            "provider/time",
            "provider/values",
            "secret/",
            "store/command",
            "store/directory",
            "store/disk",
            "store/filling",
            "store/remote",
            "store/template",
            "store/trial",
        ],
        "secrets are exposed where requests are built, stores written, secrets sealed, hashed and wiped from texts",
    ),
    ("rename(", &["daemon/control", "durable/"], "only `durable` replaces files; the control socket takes its place"),
    (
        "SystemRandom",
        &["provider/jwt", "secret/random"],
        "random values come from one place, and signatures draw theirs",
    ),
    (
        "reqwest::Client",
        &["endpoint/client", "control/client", "journal/fleet/engine/etcd"],
        "one client for providers, one for the control socket, and one for the engine of a fleet",
    ),
    (
        "spawn_blocking(",
        &[
            "account/pool",
            "daemon",
            "daemon/agent",
            "daemon/agent/obey",
            "daemon/config_watch",
            "daemon/notifier",
            "daemon/rekey",
            "daemon/reload",
            "daemon/serve",
            "daemon/shared",
            "daemon/wakes",
            "files",
            "store",
        ],
        "what blocks is moved off the runtime in few places",
    ),
    (
        "sqlite::",
        &["journal/archive", "journal/sqlite", "journal/sqlite/"],
        "which kinds of journals there are is known in one place",
    ),
    (
        "thread::sleep",
        &["journal/sqlite/lease"],
        "waits belong to the clock; the lock is waited for where blocking is allowed",
    ),
    (
        "tracing::",
        &["cli/run", "control/guard", "daemon/", "daemon", "exec", "exec/", "telemetry/"],
        "what happened is returned, and logged once, in `daemon` and in `exec`",
    ),
];

type Name = Vec<String>;

/// The files below `src/`, without tests, by the path of their module.
struct Sources(BTreeMap<Name, String>);

impl Sources {
    fn read() -> Self {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut modules = BTreeMap::new();
        for file in files(&src).unwrap() {
            let mut name: Name = file
                .strip_prefix(&src)
                .unwrap()
                .with_extension("")
                .iter()
                .map(|part| part.to_str().unwrap().to_owned())
                .collect();
            match name.last().map(String::as_str) {
                Some("mod") => drop(name.pop()),
                Some("lib" | "main") if name.len() == 1 => continue,
                _ => {}
            }
            if name[0] != "fuzzing" {
                modules.insert(name, without_tests(&without_texts(&fs::read_to_string(&file).unwrap())));
            }
        }
        Self(modules)
    }

    /// The file that `path` leads to, following imports that a file passes on.
    fn target(&self, path: &[String], depth: usize) -> Option<Name> {
        let length = (1..=path.len()).rev().find(|length| self.0.contains_key(&path[..*length]))?;
        let (file, rest) = path.split_at(length);
        let passed = rest.first().and_then(|name| {
            let uses = imports(&self.0[file], file, self);
            uses.into_iter().find(|(known, to)| known == name && to.as_slice() != path).map(|(_, to)| to)
        });
        match passed {
            Some(mut to) if depth < 5 => {
                to.extend(rest[1..].iter().cloned());
                self.target(&to, depth + 1).or(Some(file.to_vec()))
            }
            _ => Some(file.to_vec()),
        }
    }

    /// Which files each file uses.
    fn arrows(&self) -> BTreeMap<Name, BTreeSet<Name>> {
        let arrow = |(name, code): (&Name, &String)| {
            let imported = imports(code, name, self).into_iter().map(|(_, path)| path);
            let targets = imported.chain(named(code, name)).filter_map(|path| self.target(&path, 0));
            (name.clone(), targets.filter(|target| target != name).collect())
        };
        self.0.iter().map(arrow).collect()
    }
}

/// What `file` imports: the name that each import has there, and its whole path within the crate.
fn imports(code: &str, file: &[String], sources: &Sources) -> Vec<(String, Name)> {
    let mut found = Vec::new();
    for statement in code.split("use ").skip(1).filter_map(|rest| rest.split(';').next()) {
        for path in spread(statement) {
            let (path, alias) =
                path.split_once(" as ").map_or((path.as_str(), None), |(path, alias)| (path, Some(alias)));
            let first = path.split("::").next().unwrap_or_default().trim();
            let child = [file, &[first.to_owned()]].concat();
            let whole = if sources.0.contains_key(&child) {
                Some([file.to_vec(), parts(path)].concat())
            } else {
                absolute(path, file)
            };
            let Some(mut whole) = whole else { continue };
            if whole.last().is_some_and(|last| last == "self") {
                whole.pop();
            }
            let name = alias.map(str::trim).map(str::to_owned).or_else(|| whole.last().cloned()).unwrap_or_default();
            found.push((name, whole));
        }
    }
    found
}

/// Paths that `file` writes out in its code.
fn named(code: &str, file: &[String]) -> Vec<Name> {
    let mut found = Vec::new();
    for start in ["crate::", "super::"] {
        for (at, _) in code.match_indices(start) {
            let rest = &code[at..];
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
            found.extend(absolute(rest[..end].trim_end_matches(':'), file));
        }
    }
    found
}

/// `a::{b, c::{d, e}}` as `a::b`, `a::c::d`, `a::c::e`.
fn spread(path: &str) -> Vec<String> {
    let Some((head, tail)) = path.split_once('{') else { return vec![path.trim().to_owned()] };
    let inner = tail.trim().strip_suffix('}').unwrap_or(tail);
    let (mut items, mut depth, mut item) = (Vec::new(), 0, String::new());
    for character in inner.chars() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(std::mem::take(&mut item));
                continue;
            }
            _ => {}
        }
        item.push(character);
    }
    items.push(item);
    let items = items.iter().filter(|item| !item.trim().is_empty());
    items.flat_map(|item| spread(item)).map(|item| format!("{}{item}", head.trim())).collect()
}

fn parts(path: &str) -> Name {
    path.split("::").map(|part| part.trim().to_owned()).collect()
}

/// A path that begins with `crate`, `self` or `super`, from the root.
fn absolute(path: &str, file: &[String]) -> Option<Name> {
    let parts = parts(path);
    let mut base = file.to_vec();
    let up = parts.iter().take_while(|part| *part == "super").count();
    match parts.first().map(String::as_str) {
        Some("crate") => Some(parts[1..].to_vec()),
        Some("self") => Some([base, parts[1..].to_vec()].concat()),
        Some("super") => {
            base.truncate(base.len().saturating_sub(up));
            Some([base, parts[up..].to_vec()].concat())
        }
        _ => None,
    }
}

/// The modules in the order of the map, from the top down.
fn map() -> Vec<String> {
    let lib = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let rows = lib.lines().filter_map(|line| line.strip_prefix("//! | [`")?.split('`').next());
    rows.map(str::to_owned).collect()
}

#[test]
fn the_map_names_every_module_and_arrows_run_downwards() {
    let sources = Sources::read();
    let map = map();
    let modules: BTreeSet<_> = sources.0.keys().map(|name| name[0].clone()).collect();
    let missing: Vec<_> = modules.iter().filter(|module| !map.contains(module)).collect();
    let gone: Vec<_> = map.iter().filter(|module| !modules.contains(*module)).collect();
    assert!(missing.is_empty() && gone.is_empty(), "not in the map: {missing:?}; only in the map: {gone:?}");
    let floor = |name: &Name| map.iter().position(|module| *module == name[0]);
    let mut upwards = Vec::new();
    for (from, targets) in sources.arrows() {
        for to in targets.iter().filter(|to| to[0] != from[0] && floor(to) <= floor(&from)) {
            upwards.push(format!("{} uses {}", from.join("::"), to.join("::")));
        }
    }
    assert!(upwards.is_empty(), "modules use others that the map has above them:\n{}", upwards.join("\n"));
}

#[test]
fn no_two_files_use_each_other_in_a_circle() {
    let mut arrows = Sources::read().arrows();
    for (from, targets) in &mut arrows {
        targets.retain(|to| !from.starts_with(to));
    }
    // Whoever uses nothing that is left, or is used by nothing that is left, is in no circle.
    loop {
        let used: BTreeSet<_> = arrows.values().flatten().cloned().collect();
        let before = arrows.len();
        let kept: BTreeSet<_> = arrows.keys().cloned().collect();
        for targets in arrows.values_mut() {
            targets.retain(|to| kept.contains(to));
        }
        arrows.retain(|name, targets| !targets.is_empty() && used.contains(name));
        if arrows.len() == before {
            break;
        }
    }
    let tied = |name: &Name| TIED.iter().any(|(module, _)| *module == name[0]);
    let circles: Vec<_> = arrows.iter().filter(|(name, _)| !tied(name)).collect();
    let told: Vec<_> = circles
        .iter()
        .map(|(name, targets)| {
            format!(
                "{} uses {}",
                name.join("::"),
                targets.iter().map(|to| to.join("::")).collect::<Vec<_>>().join(", ")
            )
        })
        .collect();
    assert!(told.is_empty(), "files are in circles, or between two:\n{}", told.join("\n"));
}

#[test]
fn what_only_some_files_may_do_only_they_do() {
    let mut found = Vec::new();
    for (name, code) in Sources::read().0 {
        let name = name.join("/");
        for (pattern, allowed, why) in ONLY {
            let may = |it: &str| name == it.trim_end_matches('/') || it.ends_with('/') && name.starts_with(it);
            if code.contains(pattern) && !allowed.iter().any(|it| may(it)) {
                found.push(format!("src/{name}: `{pattern}`: {why}"));
            }
        }
        let acts = name == "rotation/run" || name.starts_with("rotation/act");
        let effects = ["mint", "revoke", "renew", "write", "run_hook", "announce", "adopt"];
        if !acts && effects.iter().any(|effect| code.contains(&format!("effects.{effect}("))) {
            found.push(format!("src/{name}: only `rotation` calls effects"));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_checks_can_fail() {
    assert_eq!(spread("a::{b, c::{d, e}}"), ["a::b", "a::c::d", "a::c::e"]);
    let file = ["a".to_owned(), "b".to_owned()];
    assert_eq!(absolute("super::c::D", &file), Some(parts("a::c::D")));
    assert_eq!(named("fn f() { crate::x::g(super::h()) }", &file), [parts("x::g"), parts("a::h")]);
    let sources = Sources(
        [("a", "use crate::b::T;"), ("b", "pub use crate::c::T;"), ("c", "")]
            .map(|(name, code)| (parts(name), code.to_owned()))
            .into(),
    );
    assert_eq!(sources.arrows()[&parts("a")], BTreeSet::from([parts("c")]), "imports that are passed on are followed");
}
