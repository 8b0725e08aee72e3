//! What reading an answer takes in memory, measured in a process of its own.

use std::process::Command;

use super::*;
use crate::outcome::Outcome;

/// Set for the process that is measured.
const MEASURED: &str = "PATROLD_TEST_PAGE";

/// A page of seven million bytes that consists of `item`, again and again.
fn page(item: &str) -> Vec<u8> {
    const SIZE: usize = 7_000_000;
    const HEAD: &str = "{\"next\":null,\"items\":[";
    let mut body = String::with_capacity(SIZE + 1000);
    body.push_str(HEAD);
    while body.len() < SIZE {
        body.push_str(if body.len() == HEAD.len() { "" } else { "," });
        body.push_str(item);
    }
    body.push_str("]}");
    body.into_bytes()
}

/// A number of kilobytes of `/proc/self/status`, in bytes.
fn memory(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    1024 * line.trim_matches(|c: char| !c.is_ascii_digit()).parse::<usize>().unwrap()
}

#[test]
fn a_page_costs_at_most_four_times_its_size() {
    if let Ok(item) = std::env::var(MEASURED) {
        let item_keys = "id = \"/id\"\nname = { at = \"/description\", optional = true }";
        let provider = super::pages::listing("style = \"none\"", "", item_keys);
        let body = page(&item);
        let size = body.len();
        let before = memory("VmRSS");
        let response = Response { status: 200, headers: HeaderMap::new(), body: Zeroizing::new(body) };
        let given = Given::new("https://h.example.com/api", json!({}));
        let Outcome::Done(page) = provider.read_page(&given.values(), &response, now()) else {
            panic!("the page is not understood")
        };
        // The page itself is there before.
        let taken = memory("VmHWM") - before + size;
        assert!(!page.entries.is_empty());
        assert!(taken <= 4 * size, "{taken} bytes for a page of {size} with {} entries", page.entries.len());
        return;
    }
    let name = "provider::tests::memory::a_page_costs_at_most_four_times_its_size";
    for item in [
        r#"{"id":1}"#,
        r#"{"id":1,"a":{"b":{"c":{"d":{}}}},"e":[[],[],[],{}]}"#,
        r#"{"id":12345678,"description":"patrold-1a2b3c4d-gps-g3-000000000003","expires":"2031-01-01T00:00:00Z"}"#,
    ] {
        let child = Command::new(std::env::current_exe().unwrap()).args(["--exact", name]).env(MEASURED, item).output();
        let child = child.unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success(), "{item}: {said}");
        assert!(said.contains("1 passed"), "the test has another name: {said}");
    }
}
