//! What must hold after kills, by the provider's own books: breaches as sentences, none where all is well.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use patrold::clock::Time;
use patrold::demo::{Ledger, LedgerEntry, Service, unaccounted};
use patrold::journal::sqlite::{OpenError, ReadOnly};
use patrold::journal::{Journal, SecretSlot};
use patrold::names::TokenName;
use patrold::rotation::state::{Generation, Orphan};
use patrold::rotation::stored::restore;
use patrold::rotation::{Phase, TokenState};

/// What the journal knows of every token.
pub type States = BTreeMap<TokenName, TokenState>;

/// The states in the journal at `state`; empty where no daemon came so far as to make one.
pub fn states(state: &Path) -> States {
    match ReadOnly::open(state) {
        Ok(journal) => {
            let states = journal.states().unwrap();
            states.into_iter().map(|(name, stored)| (name, restore(&stored).unwrap().state)).collect()
        }
        Err(OpenError::Missing(_)) => States::new(),
        Err(error) => panic!("{error}"),
    }
}

/// Live tokens that no state accounts for.
pub fn orphans(ledger: &Ledger, states: &States, now: Time) -> Vec<String> {
    let markers: HashSet<&str> = states.values().flat_map(TokenState::markers).collect();
    let known = |entry: &LedgerEntry| markers.contains(entry.name.trim());
    let left = unaccounted(ledger, known, now);
    left.iter().map(|entry| format!("nobody knows of {} at {} (id {})", entry.name, entry.service, entry.id)).collect()
}

/// Markers that more than one live token carries: a mint was repeated, and what the journal knows of one of them says
/// nothing of the other.
pub fn twins(ledger: &Ledger, now: Time) -> Vec<String> {
    let mut live: BTreeMap<String, u32> = BTreeMap::new();
    for entry in Service::ALL.into_iter().flat_map(|service| ledger.live_tokens(service, now)) {
        if entry.is_marked() {
            *live.entry(entry.name).or_default() += 1;
        }
    }
    let twins = live.into_iter().filter(|(_, count)| *count > 1);
    twins.map(|(marker, count)| format!("{count} live tokens are called {marker}")).collect()
}

/// The most generations of a token that may live at once: one whose revocation was left for later, one that a renewal of
/// unknown outcome took from its consumers, the mint of unknown outcome that was to replace it, and the one that does.
const MOST_ALIVE: usize = 4;

/// Tokens of the inventory with more live generations than the old one, the new one, and the orphans that its state lists
/// or searches for.
pub fn crowds(ledger: &Ledger, states: &States, now: Time) -> Vec<String> {
    let mut live: BTreeMap<String, usize> = BTreeMap::new();
    for entry in Service::ALL.into_iter().flat_map(|service| ledger.live_tokens(service, now)) {
        // A marker ends in the generation and the rotation.
        if let Some(token) = entry.name.trim().rsplitn(3, '-').nth(2).filter(|_| entry.is_marked()) {
            *live.entry(token.to_owned()).or_default() += 1;
        }
    }
    let listed = |token: &str| {
        let state = states.iter().find(|(name, _)| token.ends_with(&format!("-{name}"))).map(|(_, state)| state);
        state.map_or(0, |state| state.orphans.len() + usize::from(matches!(state.phase, Phase::Searching { .. })))
    };
    let crowds = live.into_iter().filter(|(token, count)| *count > (2 + listed(token)).min(MOST_ALIVE));
    crowds.map(|(token, count)| format!("{count} generations of {token} are alive at once")).collect()
}

/// Current generations whose secret the journal does not hold, or holds in a version that is dead.
pub async fn lost(journal: &impl Journal, states: &States, ledger: &Ledger, now: Time) -> Vec<String> {
    let mut lost = Vec::new();
    for (name, state) in states {
        let Some(Generation { number, revision, .. }) = state.phase.current().map(|current| &current.generation) else {
            lost.push(format!("{name} has no generation"));
            continue;
        };
        let slot = SecretSlot { token: name.clone(), generation: *number, revision: *revision };
        match journal.secret(&slot).await {
            Ok(Some(parts)) if ledger.is_live(parts.token().expose(), now) => {}
            Ok(Some(_)) => lost.push(format!("the journal's secret of {name} is dead")),
            Ok(None) => lost.push(format!("the journal has no secret of {name}")),
            Err(failure) => lost.push(format!("the journal's secret of {name} cannot be opened: {failure}")),
        }
    }
    lost
}

/// Refresh tokens that were presented a second time.
pub fn replays(ledger: &Ledger) -> Vec<String> {
    let of = |service| (service, ledger.counters(service).chains_invalidated);
    let replayed = Service::ALL.map(of).into_iter().filter(|(_, count)| *count > 0);
    replayed.map(|(service, count)| format!("{count} refresh tokens were presented twice at {service}")).collect()
}

/// What a token still has to do before it is at rest.
pub fn owed(state: &TokenState) -> Option<String> {
    let (Phase::Steady { current } | Phase::Active { current, .. }) = &state.phase else {
        return Some(state.phase.name().to_owned());
    };
    let deferred = state.orphans.iter().any(|orphan| matches!(orphan, Orphan::Deferred { .. }));
    let reasons = [
        (current.dead.is_some(), "its current generation is dead"),
        (current.delivery.settled.is_none(), "its delivery is not settled"),
        (current.renewal_spent, "a renewal was in doubt"),
        (current.secret_lost, "its secret is lost"),
        (deferred, "a revocation was deferred"),
    ];
    reasons.into_iter().find_map(|(owed, why)| owed.then(|| why.to_owned()))
}

/// Every text that opens something.
pub fn secrets(ledger: &Ledger) -> Vec<String> {
    let issues = ledger.all().into_iter().flat_map(|entry| entry.issues);
    let parts = issues.flat_map(|issue| [Some(issue.secret), issue.refresh]);
    parts.flatten().map(|secret| secret.expose().to_owned()).collect()
}

/// Whether `text` contains any of `secrets`, all of which are letters and digits.
pub fn leaks(secrets: &[String], text: &[u8]) -> bool {
    let set: HashSet<&[u8]> = secrets.iter().map(String::as_bytes).collect();
    let lengths: HashSet<usize> = set.iter().map(|secret| secret.len()).collect();
    let runs = text.split(|byte| !byte.is_ascii_alphanumeric());
    runs.into_iter().any(|run| lengths.iter().any(|length| run.windows(*length).any(|window| set.contains(window))))
}

/// Every file below `directory`, of whatever kind.
pub fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => found.extend(files(&entry.path())),
            _ => found.push(entry.path()),
        }
    }
    found
}

/// What a daemon that stopped in good order must not leave behind: temporary files and its socket.
pub fn leftovers(directory: &Path) -> Vec<String> {
    let left = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(".patrold-") || name.starts_with("control.sock")
    };
    files(directory).into_iter().filter(left).map(|path| format!("{} was left behind", path.display())).collect()
}

/// Those of `files` that hold a secret in clear.
pub fn exposed(secrets: &[String], files: &[PathBuf]) -> Vec<String> {
    // The write-ahead log goes with the last one who closes the database.
    let read = |path: &PathBuf| match fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        read => read.unwrap(),
    };
    let holds = |path: &&PathBuf| leaks(secrets, &read(path));
    files.iter().filter(holds).map(|path| format!("{} holds a secret in clear", path.display())).collect()
}

mod tests {
    use patrold::clock::{Clock as _, Span, SystemClock};
    use patrold::demo::{Loopback, Options};
    use patrold::journal::memory::MemoryJournal;
    use patrold::names::{GenerationNo, InstanceId, Marker, RotationId};

    use super::*;

    #[tokio::test]
    async fn the_judge_of_kills_finds_each_breach() {
        let loopback = Loopback::start(SystemClock, Options::default()).await.unwrap();
        let now = SystemClock.now();
        assert!(orphans(loopback.ledger(), &States::new(), now).is_empty());
        let (name, number): (TokenName, _) = ("gps".parse().unwrap(), GenerationNo(1));
        let marker = Marker::new(InstanceId::new([1; 4]), &name, number, RotationId::new([2; 6]));
        let secret = loopback.issue(Service::Awx, marker.as_str(), Span::days(1));
        let now = SystemClock.now();
        assert_eq!(orphans(loopback.ledger(), &States::new(), now).len(), 1, "a live token that nobody knows of");
        let orphan = Orphan::Unrevocable { number, marker: Some(marker), id: None, until: None };
        let state = TokenState { orphans: vec![orphan], ..TokenState::default() };
        let states = States::from([(name, state.clone())]);
        assert!(orphans(loopback.ledger(), &states, now).is_empty(), "one that the journal knows of");
        assert_eq!(owed(&state).as_deref(), Some("vacant"));

        assert_eq!(
            lost(&MemoryJournal::new(), &states, loopback.ledger(), now).await,
            ["gps has no generation"],
            "a token whose secret nobody has"
        );
        assert!(twins(loopback.ledger(), now).is_empty());
        for (live, listed, expected) in
            [(2, &States::new(), 0), (3, &States::new(), 1), (3, &states, 0), (4, &states, 1)]
        {
            let next =
                Marker::new(InstanceId::new([1; 4]), &"gps".parse().unwrap(), number, RotationId::new([live; 6]));
            while crowd(&loopback) < live {
                loopback.issue(Service::Awx, next.as_str(), Span::days(1));
            }
            let crowds = crowds(loopback.ledger(), listed, SystemClock.now());
            assert_eq!(crowds.len(), expected, "{live} live generations, {} of them listed", listed.len());
        }

        assert_eq!(twins(loopback.ledger(), SystemClock.now()).len(), 1, "two tokens with the same marker");

        let secrets = secrets(loopback.ledger());
        let secret = secret.token().expose();
        for (sentence, text, found) in [
            ("alone", secret.to_owned(), true),
            ("between marks", format!("token={secret}\n"), true),
            ("inside of other letters", format!("xx{secret}yy"), true),
            ("a half of it", secret[..20].to_owned(), false),
            ("nothing", String::new(), false),
        ] {
            assert_eq!(leaks(&secrets, text.as_bytes()), found, "{sentence}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".patrold-abcdef.tmp");
        fs::write(&path, secret).unwrap();
        assert_eq!(leftovers(folder.path()).len(), 1);
        assert_eq!(exposed(&secrets, &files(folder.path())).len(), 1);
        fs::write(&path, "sealed").unwrap();
        assert!(exposed(&secrets, &files(folder.path())).is_empty());
    }

    /// How many live tokens carry a marker.
    fn crowd(loopback: &Loopback) -> u8 {
        let live = loopback.ledger().live_tokens(Service::Awx, SystemClock.now());
        u8::try_from(live.iter().filter(|entry| entry.is_marked()).count()).unwrap()
    }

    #[tokio::test]
    async fn a_refresh_token_that_is_presented_twice_is_noticed() {
        let loopback = Loopback::start(SystemClock, Options::default()).await.unwrap();
        let pair = loopback.issue(Service::Commvault, "x", Span::days(1));
        let body = serde_json::json!({
            "accessToken": pair.token().expose(), "refreshToken": pair.part("refresh_token").unwrap().expose(),
        });
        let url = format!("{}/V4/AccessToken/Renew", loopback.url(Service::Commvault));
        for (times, expected) in [(1, 0), (2, 1)] {
            post(&url, &body).await;
            assert_eq!(replays(loopback.ledger()).len(), expected, "presented {times} times");
        }
    }

    async fn post(url: &str, body: &serde_json::Value) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let url: url::Url = url.parse().unwrap();
        let address = format!("127.0.0.1:{}", url.port().unwrap());
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let body = body.to_string();
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            url.path(),
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
    }
}
