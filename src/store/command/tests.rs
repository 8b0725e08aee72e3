//! A look-alike of a secret service as a script, with faults.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::inventory::{Existing, OnDrift};
use crate::names::{GenerationNo, RotationId};
use crate::secret::{Fingerprinter, SecretParts};
use crate::store::Known;

/// Reads and writes one slot that holds a value and counts its writes. `fault` says what goes wrong once.
const SERVICE: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 1
if [ "$1" = write ]; then fault=$(cat fault 2>/dev/null); rm -f fault; fi
count=$(cat count 2>/dev/null || echo 0)
write() { cat > value; count=$((count + 1)); echo "$count" > count; echo "receipt: $count"; }
echo "$1 $PATROLD_STORE $PATROLD_DELIVERY $PATROLD_RECEIPT" >> log
case "$1" in
    read)
        [ -e unavailable ] && { echo "503 from the service" >&2; exit 1; }
        [ -e value ] || exit 3
        [ -e hidden ] && { echo "receipt: $count"; exit 4; }
        cat value; echo ;;
    write)
        case "$fault" in
            later) exit 75 ;;
            refused) echo "at most 8 characters, not $(cat)" >&2; exit 6 ;;
            conflict) echo stranger > value; exit 5 ;;
            lost) write > /dev/null; echo "no answer" >&2; exit 1 ;;
            nothing) cat > /dev/null; exit 1 ;;
            slow) sleep 60 ;;
            other) cat > /dev/null; echo something-else > value ;;
            dropped) cat > /dev/null; echo "receipt: $count" ;;
            *) write ;;
        esac ;;
esac
"#;

const NEW: &str = "a-new-secret-of-some-length";

struct Service {
    home: tempfile::TempDir,
    fingerprints: Fingerprinter,
}

impl Service {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let program = home.path().join("service");
        fs::write(&program, SERVICE).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Self { home, fingerprints: Fingerprinter::new(&[7; 32]) }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn has(&self, name: &str, text: &str) {
        fs::write(self.at(name), text).unwrap();
    }

    fn holds(&self) -> String {
        fs::read_to_string(self.at("value")).unwrap_or_default().trim_end().to_owned()
    }

    /// How often it was written.
    fn writes(&self) -> u32 {
        fs::read_to_string(self.at("count")).map_or(0, |count| count.trim().parse().unwrap())
    }

    fn slot(&self, timeout: Duration) -> Slot {
        let argv = |operation: &str| vec![self.at("service").display().to_string(), operation.to_owned()];
        Slot {
            key: "command:db".parse().unwrap(),
            command: CommandPolicy {
                name: "db".to_owned(),
                target: "command:db".parse().unwrap(),
                account: "a".parse().unwrap(),
                write: argv("write"),
                read: Some(argv("read")),
                timeout,
                pass_env: Vec::new(),
            },
        }
    }

    /// Nothing of a stranger's is overwritten: `old` is ours.
    fn judge(&self, new: &str, receipt: Option<Receipt>) -> Judge {
        let print = |text: &str| self.fingerprints.of(&Secret::new(text));
        Judge {
            new: Some(print(new)),
            known: Known { ours: vec![print("old")], receipt, beside: Vec::new(), begun: None },
            existing: Existing::Refuse,
            on_drift: OnDrift::Report,
            fingerprints: self.fingerprints.clone(),
        }
    }

    async fn write(&self, value: &str, receipt: Option<Receipt>) -> Outcome<Receipt> {
        self.write_within(value, receipt, Duration::from_secs(20)).await
    }

    async fn write_within(&self, value: &str, receipt: Option<Receipt>, timeout: Duration) -> Outcome<Receipt> {
        let parts = SecretParts::new(Secret::new(value));
        let token = "gps".parse().unwrap();
        let delivery = Delivery {
            token: &token,
            generation: GenerationNo(3),
            revision: 0,
            rotation: RotationId::new([1, 2, 3, 4, 5, 6]),
            parts: &parts,
            others: &BTreeMap::new(),
        };
        self.slot(timeout).write(&Secret::new(value), &delivery, &self.judge(value, receipt)).await
    }
}

fn receipt(text: &str) -> Receipt {
    Receipt { evidence: Some(text.parse().unwrap()) }
}

/// The outcome in one word, and its failure code.
fn told(outcome: &Outcome<Receipt>) -> (&'static str, Option<FailureCode>) {
    match outcome {
        Outcome::Done(_) => ("done", None),
        Outcome::Later { failure, .. } => ("later", Some(failure.code)),
        Outcome::Refused(failure) => ("refused", Some(failure.code)),
        Outcome::Unknown(failure) => ("unknown", Some(failure.code)),
    }
}

#[tokio::test]
async fn a_value_is_written_once_and_read_back() {
    let service = Service::new();
    service.slot(Duration::from_secs(20)).preflight(Some(&service.judge(NEW, None))).await.unwrap();
    let Outcome::Done(told) = service.write(NEW, None).await else { panic!("not written") };
    assert_eq!((told, service.holds().as_str()), (receipt("1"), NEW));
    assert!(matches!(service.write(NEW, Some(receipt("1"))).await, Outcome::Done(_)));
    assert_eq!(service.writes(), 1, "what is there already is not written again");
    let log = fs::read_to_string(service.at("log")).unwrap();
    let delivery = |line: &&str| line.starts_with("write db ") && line.split(' ').nth(2).unwrap().len() == 32;
    assert!(log.lines().any(|line| delivery(&line)), "{log}");
    assert!(!log.contains(NEW), "the secret is on standard input and nowhere else: {log}");
}

#[tokio::test]
async fn every_fault_leaves_the_value_of_somebody() {
    use FailureCode::{StoreForeign, StoreMismatch, StoreRefused, StoreUnwritable};
    // What it holds, the fault, and what comes of the write.
    for (sentence, there, fault, expected, holds) in [
        ("tried again later", "old", "later", ("later", Some(StoreUnwritable)), "old"),
        ("never takes the value", "old", "refused", ("refused", Some(StoreRefused)), "old"),
        ("somebody else was faster", "old", "conflict", ("later", Some(StoreForeign)), "stranger"),
        ("written, and the answer lost", "old", "lost", ("unknown", Some(StoreUnwritable)), NEW),
        ("not written, and no answer", "old", "nothing", ("unknown", Some(StoreUnwritable)), "old"),
        ("another value is read back", "old", "other", ("unknown", Some(StoreMismatch)), "something-else"),
        ("acknowledged and dropped", "old", "dropped", ("unknown", Some(StoreMismatch)), "old"),
        ("a stranger's value", "stranger", "", ("later", Some(StoreForeign)), "stranger"),
        ("no fault", "old", "", ("done", None), NEW),
    ] {
        let service = Service::new();
        service.has("value", there);
        service.has("fault", fault);
        let outcome = service.write(NEW, Some(receipt("0"))).await;
        assert_eq!(told(&outcome), expected, "{sentence}: {outcome:?}");
        assert_eq!(service.holds(), holds, "{sentence}");
        let failure = outcome.into_result().err().map(|failure| failure.detail).unwrap_or_default();
        assert!(!failure.contains(NEW), "a secret that the program says is struck out: {failure}");
        // The next attempt looks first: nothing is written twice.
        if holds == NEW {
            let before = service.writes();
            assert_eq!(told(&service.write(NEW, Some(receipt("0"))).await).0, "done", "{sentence}");
            assert_eq!(service.writes(), before, "{sentence}");
        }
    }
}

#[tokio::test]
async fn a_service_that_is_down_is_found_out_before_the_mint() {
    let service = Service::new();
    service.has("unavailable", "");
    let failure = service.slot(Duration::from_secs(20)).preflight(None).await.unwrap_err();
    assert_eq!(failure.code, FailureCode::StoreUnwritable);
    assert!(failure.detail.ends_with("ended with exit status 1: 503 from the service"), "{failure}");
    assert_eq!(told(&service.write(NEW, None).await).0, "later");
    let mut missing = service.slot(Duration::from_secs(20));
    missing.command.write = vec!["/missing/service".to_owned()];
    assert!(missing.check_programs().unwrap_err().detail.contains("/missing/service cannot be started"));
}

#[tokio::test]
async fn a_strangers_value_is_found_before_the_mint() {
    let service = Service::new();
    service.has("value", "stranger");
    let preflight = async |receipt| {
        let judge = Judge { new: None, ..service.judge(NEW, receipt) };
        service.slot(Duration::from_secs(20)).preflight(Some(&judge)).await.map_err(|failure| failure.code)
    };
    assert_eq!(preflight(None).await, Err(FailureCode::StoreForeign));
    service.has("value", "old");
    assert_eq!(preflight(None).await, Ok(()));
}

#[tokio::test]
async fn a_write_that_hangs_is_killed_and_of_unknown_outcome() {
    let service = Service::new();
    service.has("fault", "slow");
    let outcome = service.write_within(NEW, None, Duration::from_secs(1)).await;
    let Outcome::Unknown(failure) = outcome else { panic!("{outcome:?}") };
    assert!(failure.detail.ends_with("took longer than 1s and was killed"), "{failure}");
}

#[tokio::test]
async fn of_a_store_that_shows_nothing_the_receipt_counts() {
    let service = Service::new();
    service.has("hidden", "");
    let Outcome::Done(first) = service.write("old", None).await else { panic!("not written") };
    assert_eq!(first, receipt("1"));
    service.has("fault", "dropped");
    let dropped = service.write(NEW, Some(first.clone())).await;
    assert_eq!(told(&dropped), ("unknown", Some(FailureCode::StoreMismatch)), "its state is what it was before");
    let Outcome::Done(second) = service.write(NEW, Some(first.clone())).await else { panic!("not written") };
    assert_eq!((second, service.holds().as_str()), (receipt("2"), NEW));
    service.has("count", "7");
    let stranger = service.write("newer", Some(first)).await;
    assert_eq!(told(&stranger), ("later", Some(FailureCode::StoreForeign)), "somebody else wrote");
    let refused = service.write("newer", None).await;
    assert_eq!(told(&refused), ("later", Some(FailureCode::StoreForeign)), "something was there before");
}

#[tokio::test]
async fn slots_of_one_target_take_turns() {
    let service = Service::new();
    let script = "#!/bin/sh\ncd \"$(dirname \"$0\")\" && mkdir turn && sleep 0.05 && rmdir turn && cat > \"$1\"\n";
    fs::write(service.at("service"), script).unwrap();
    let write = async |name: &str| {
        let mut slot = service.slot(Duration::from_secs(20));
        slot.command.read = None;
        slot.command.write = vec![service.at("service").display().to_string(), name.to_owned()];
        let parts = SecretParts::new(Secret::new(NEW));
        let token = "gps".parse().unwrap();
        let delivery = Delivery {
            token: &token,
            generation: GenerationNo(1),
            revision: 0,
            rotation: RotationId::new([0; 6]),
            parts: &parts,
            others: &BTreeMap::new(),
        };
        slot.write(&Secret::new(NEW), &delivery, &service.judge(NEW, None)).await
    };
    let (a, b, c) = tokio::join!(write("a"), write("b"), write("c"));
    for outcome in [a, b, c] {
        assert_eq!(told(&outcome), ("done", None), "two at once: {outcome:?}");
    }
    assert!(["a", "b", "c"].iter().all(|name| Path::new(&service.at(name)).exists()));
}
