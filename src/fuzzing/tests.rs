//! The corpus of the fuzz targets, and what becomes of it by chance: the same chance in every run.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::*;

/// Mutated inputs of one kind; fewer where the machine is too busy to try them within [`PATIENCE`].
const MUTATIONS: u64 = 4000;
const PATIENCE: Duration = Duration::from_secs(3);

/// What chance alone would take long to write.
const WORDS: &[&[u8]] = &[
    b"{{ ",
    b" }}",
    b"{{ cred.secret }}",
    b"{{ old.id }}",
    b"{{ params.",
    b" | json",
    b" | raw",
    b" | b64",
    b"\"",
    b"'",
    b"\\",
    b"\n",
    b"\r\n",
    b"\n\n",
    b"[",
    b"]",
    b"{",
    b"}",
    b"=",
    b"#",
    b"..",
    b"/",
    b"%2F",
    b"?",
    b"@",
    b"//evil.example.com/",
    b"https://evil.example.com",
    b"null",
    b"true",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b"9999-12-31T23:59:59Z",
    b"\xff",
    b"\xf0\x9f\x94\x91",
    b"\0",
    b"C7f3aSECRET-credential",
    b"Sb2e1SECRET-subject",
    b"R55d0SECRET-refresh",
];

/// Numbers that look random and are the same in every run (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let limit = u64::try_from(limit.max(1)).unwrap();
        usize::try_from((mixed ^ (mixed >> 31)) % limit).unwrap()
    }

    /// One of `seeds` after one to four accidents.
    fn mutated(&mut self, seeds: &[(String, Vec<u8>)]) -> Vec<u8> {
        let mut input = seeds[self.below(seeds.len())].1.clone();
        for _ in 0..=self.below(4) {
            let at = self.below(input.len() + 1);
            let end = at + self.below((input.len() - at).min(40) + 1);
            match self.below(5) {
                0 => drop(input.splice(at..at, WORDS[self.below(WORDS.len())].iter().copied())),
                1 => drop(input.splice(at..end, WORDS[self.below(WORDS.len())].iter().copied())),
                2 => drop(input.drain(at..end)),
                3 => {
                    let other = &seeds[self.below(seeds.len())].1;
                    let from = self.below(other.len() + 1);
                    let to = from + self.below((other.len() - from).min(80) + 1);
                    input.splice(at..end, other[from..to].iter().copied());
                }
                _ => {
                    if let Some(byte) = input.get_mut(at) {
                        *byte ^= 1 << self.below(8);
                    }
                }
            }
        }
        input
    }
}

fn corpus(target: Target) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus-seed").join(target.name());
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let named = |path: &Path| (path.display().to_string(), std::fs::read(path).unwrap());
    let all: Vec<_> = paths.iter().map(|path| named(path)).collect();
    assert!(all.len() > 3, "{} has no corpus", target.name());
    all
}

fn hold(target: Target) {
    let mut broken = Vec::new();
    let mut check = |what: &str, input: &[u8]| {
        if catch_unwind(AssertUnwindSafe(|| target.check(input))).is_err() {
            broken.push(format!("{what}: {:?}", String::from_utf8_lossy(input)));
        }
    };
    let seeds = corpus(target);
    for (name, input) in &seeds {
        assert!(input.len() <= LONGEST, "{name} is too long to be looked at");
        check(name, input);
    }
    let began = Instant::now();
    for seed in (0..MUTATIONS).take_while(|_| began.elapsed() < PATIENCE) {
        check(&format!("mutation {seed}"), &Dice(seed << 20).mutated(&seeds));
    }
    assert!(broken.is_empty(), "{} does not hold of\n{}", target.name(), broken.join("\n"));
}

#[test]
fn any_definition_is_read_or_refused_in_words() {
    hold(Target::Definition);
}

#[test]
fn any_answer_has_an_outcome_that_shows_no_secret() {
    hold(Target::Answer);
}

#[test]
fn any_value_stays_in_its_place() {
    hold(Target::Render);
}

#[test]
fn any_inventory_is_read_or_refused_in_words() {
    hold(Target::Inventory);
}

#[test]
fn any_env_file_is_edited_or_refused_in_words() {
    hold(Target::EnvFile);
}

#[test]
fn every_target_has_a_program_that_checks_it() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for target in Target::ALL {
        let program = std::fs::read_to_string(fuzz.join(format!("fuzz_targets/{}.rs", target.name()))).unwrap();
        assert!(program.contains(&format!("Target::{target:?}.check(input)")), "{target:?}");
        assert!(manifest.contains(&format!("name = \"{}\"", target.name())), "{target:?}");
    }
}
