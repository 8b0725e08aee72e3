//! `patrold provider test`: the whole life of two tokens at a live account, to see whether a provider definition tells
//! the truth about it.
//!
//! The requests are those of the daemon: [`Accounts`] sends them. What differs is that nobody needs these tokens, so
//! all that counts is that none of them outlives the test without somebody knowing. A test therefore has a journal of
//! its own ([`notebook`]), in a folder of the state directory: it works beside a running daemon, whose lock it does not
//! need, and a killed one is cleaned up after by the next.
//!
//! ```text
//!  earlier tests' remains ─▶ authenticate ─▶ mint ─▶ find ─▶ verify ─▶ renew ─▶ mint again: do both live?
//!                                                                                  │
//!             whatever is left, however it ended ◀─ is it dead? ◀─ revoke ◀────────┘
//! ```

mod ask;
mod clean;
mod life;
mod look;
pub mod notebook;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;

use self::notebook::{Notebook, Specimen};
use crate::account::member::Member;
use crate::account::pool::Accounts;
use crate::clock::{Clock, Span};
use crate::journal::Journal;
use crate::names::GenerationNo;
use crate::outcome::Failure;
use crate::provider::{Capabilities, Params, Subject};
use crate::report::trial::{Ability, Finding, Left, Report, Seen};
use crate::secret::{Redactor, SecretParts};

/// What is tested, and how.
#[derive(Clone, Debug)]
pub struct Order {
    /// The account's parameters overlaid with those of the command line.
    pub params: Params,
    /// The lifetime to ask for, where the provider lets the caller choose.
    pub lifetime: Span,
    /// How long one question is asked again before its answer is taken as it is: providers propagate late.
    pub patience: Span,
}

/// One test of one account.
pub struct Trial<'a, C, J> {
    accounts: &'a Accounts<C>,
    member: Arc<Member<C>>,
    clock: C,
    notebook: Notebook<J>,
    order: Order,
    /// True once somebody wants it to end.
    stop: watch::Receiver<bool>,
    /// Progress, line by line.
    told: UnboundedSender<String>,
    findings: Vec<Finding>,
    warnings: Vec<String>,
    left: Vec<Left>,
    /// Tokens of earlier tests that were taken back.
    cleaned: Vec<String>,
    /// Tokens that are left as they are after one attempt to take them back.
    given_up: HashSet<GenerationNo>,
    /// Secrets of this test's own tokens: the journal may have failed to keep them.
    held: HashMap<GenerationNo, SecretParts>,
    /// Every secret that the test has seen: no text leaves it with one of them.
    secrets: Redactor,
}

/// Why a test ends early.
#[derive(Debug)]
enum Halt {
    /// Somebody wants it to end.
    Interrupted,
    Failed(Failure),
}

/// A token of this test.
#[derive(Debug)]
struct Live {
    specimen: Specimen,
    secret: SecretParts,
}

impl Live {
    fn subject(&self) -> Subject {
        self.specimen.subject(Some(self.secret.clone()))
    }
}

impl<'a, C: Clock, J: Journal> Trial<'a, C, J> {
    /// A test of `member`, one of `accounts`, that has not begun. It ends early once `stop` holds true.
    pub fn new(
        accounts: &'a Accounts<C>,
        member: Arc<Member<C>>,
        clock: C,
        notebook: Notebook<J>,
        order: Order,
        stop: watch::Receiver<bool>,
        told: UnboundedSender<String>,
    ) -> Self {
        Self {
            accounts,
            member,
            clock,
            notebook,
            order,
            stop,
            told,
            findings: Vec::new(),
            warnings: Vec::new(),
            left: Vec::new(),
            cleaned: Vec::new(),
            given_up: HashSet::new(),
            held: HashMap::new(),
            secrets: Redactor::default(),
        }
    }

    /// Does all of it. However the life of the tokens ends, what is left of them is taken back before this returns.
    pub async fn run(mut self) -> Report {
        self.sweep().await;
        let ended = self.live().await;
        self.take_back_all().await;
        self.report(&ended)
    }

    fn report(self, ended: &Result<(), Halt>) -> Report {
        let clean = |text: &str| self.secrets.clean(text);
        let (interrupted, problem) = match ended {
            Ok(()) => (false, None),
            Err(Halt::Interrupted) => (true, None),
            Err(Halt::Failed(failure)) => (false, Some(clean(&failure.to_string()))),
        };
        let defined = defined(&self.can());
        let findings = defined.into_iter().map(|(ability, claimed)| {
            let found = self.findings.iter().rev().find(|finding| finding.ability == ability);
            match found {
                Some(finding) => Finding { claimed, evidence: clean(&finding.evidence), ..finding.clone() },
                None if claimed => Finding { ability, claimed, seen: Seen::Unknown, evidence: "not tried".to_owned() },
                None => Finding { ability, claimed, seen: Seen::NotDefined, evidence: String::new() },
            }
        });
        Report::new(
            &self.member.policy,
            findings.collect(),
            self.warnings.iter().map(|warning| clean(warning)).collect(),
            self.cleaned.iter().map(|marker| clean(marker)).collect(),
            self.left.iter().map(|left| left.cleaned(&self.secrets)).collect(),
            problem,
            interrupted,
        )
    }

    fn can(&self) -> Capabilities {
        self.member.abilities.can
    }

    fn find(&mut self, ability: Ability, seen: Seen, evidence: impl Into<String>) {
        // What the definition claims is filled in when everything is known.
        self.findings.push(Finding { ability, claimed: false, seen, evidence: evidence.into() });
    }

    fn tell(&self, line: impl AsRef<str>) {
        // Nobody may be listening.
        let _ = self.told.send(self.secrets.clean(line.as_ref()));
    }

    fn keep_quiet_about(&mut self, parts: &SecretParts) {
        parts.iter().for_each(|(_, secret)| self.secrets.add(secret));
    }
}

/// What a test looks at, in the order of the table, and whether a definition with these capabilities claims it.
fn defined(can: &Capabilities) -> [(Ability, bool); 12] {
    let observable = can.verifies || can.lists;
    [
        (Ability::Authenticate, true),
        (Ability::Mint, true),
        (Ability::Id, can.has_id),
        (Ability::Expiry, can.expiry_known),
        (Ability::Listing, can.lists),
        (Ability::Marker, can.lists && can.marks),
        (Ability::Verify, can.verifies),
        (Ability::Renew, can.renews),
        (Ability::Overlap, can.overlap && observable),
        (Ability::Revoke, can.revokes),
        (Ability::Dead, can.revokes && can.verifies),
        (Ability::LastUsed, can.lists && can.last_used),
    ]
}

impl<C, J> std::fmt::Debug for Trial<'_, C, J> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trial").field("account", &self.member.policy.name).finish_non_exhaustive()
    }
}
