//! The next action for one token, ready to print: the answer of [`decide`] in data and words.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::clock::Time;
use crate::inventory::TokenPolicy;
use crate::rotation::decide::{Action, Memo, Rest, Situation, Step, decide};
use crate::rotation::due::{self, Due, RuleKind, Start};
use crate::rotation::reason::Reason;
use crate::rotation::{Phase, TokenState, apply};

/// What is done next. Part of JSON: names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NextAction {
    /// An existing secret is taken over.
    Adopt,
    /// Somebody has to bring a new token: the provider cannot mint.
    Replace,
    /// A new generation is minted.
    Rotate,
    /// The present generation gets a new secret in place.
    Renew,
    /// The marker of a mint of unknown outcome is searched for.
    Search,
    /// A new secret is proven.
    Verify,
    /// Stores are written, hooks run.
    Deliver,
    /// Stores are compared with what was delivered.
    Inspect,
    /// The provider is asked whether it accepts the present secret.
    Examine,
    /// An old generation is revoked.
    Revoke,
    /// A new generation is taken back.
    Undo,
    /// Nothing, until something changes.
    Nothing,
}

impl NextAction {
    /// The deed as one word of a table.
    pub fn word(self) -> &'static str {
        match self {
            Self::Adopt => "adopt",
            Self::Replace => "replace",
            Self::Rotate => "rotate",
            Self::Renew => "renew",
            Self::Search => "search",
            Self::Verify => "verify",
            Self::Deliver => "deliver",
            Self::Inspect => "inspect",
            Self::Examine => "examine",
            Self::Revoke => "revoke",
            Self::Undo => "undo",
            Self::Nothing => "nothing",
        }
    }
}

/// What comes next for one token. Part of JSON: names are stable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Outlook {
    /// What is done next.
    pub action: NextAction,
    /// When it begins; `None`: nobody can tell, or never.
    pub at: Option<Time>,
    /// The stable code of the reason for the action.
    pub reason: String,
    /// The stable code of what it waits for, where that is something else.
    pub hold: Option<String>,
    /// Both in words.
    pub why: String,
    /// When the rule that decides makes the token due.
    pub due: Option<Time>,
    /// The window does not hold it up longer than this.
    pub deadline: Option<Time>,
    /// The window opens too late, so the deadline decides.
    pub overridden: bool,
}

impl Outlook {
    fn new(action: NextAction, at: Option<Time>, reason: Reason) -> Self {
        Self {
            action,
            at,
            reason: reason.code().to_owned(),
            hold: None,
            why: reason.sentence().to_owned(),
            due: None,
            deadline: None,
            overridden: false,
        }
    }

    /// Nothing happens, for `reason`.
    pub fn nothing(reason: Reason) -> Self {
        Self::new(NextAction::Nothing, None, reason)
    }

    fn held_by(self, hold: Reason) -> Self {
        let why = format!("{}; {}", self.why, hold.sentence());
        Self { hold: Some(hold.code().to_owned()), why, ..self }
    }

    fn with_due(self, due: &Due) -> Self {
        Self { due: Some(due.at), deadline: due.deadline, ..self }
    }

    /// What comes next according to the journal alone: what `decide` says when notes are taken as they come.
    pub fn foresee(situation: &Situation<'_>) -> Self {
        let mut state = Cow::Borrowed(situation.state);
        // Each orphan may end, and a few notes may follow upon each other; more would be a machine that runs in circles.
        for _ in 0..state.orphans.len() + 16 {
            let then = Situation { state: &state, ..*situation };
            match decide(&then) {
                Step::Note(event) => match apply(state.into_owned(), situation.now, &event) {
                    Ok(next) => state = Cow::Owned(next),
                    Err(_) => break,
                },
                Step::Act(action) => return Self::of_action(&action, &then),
                Step::Rest(rest) => return Self::of_rest(&rest, &state, situation.policy),
            }
        }
        Self::nothing(Reason::NotDue)
    }

    /// What a token waits for that a running daemon has put to rest.
    pub fn of_rest(rest: &Rest, state: &TokenState, policy: &TokenPolicy) -> Self {
        if let Some((due, start)) = &rest.next {
            return Self::of_due(rest, due, start);
        }
        let until = rest.until;
        match rest.reason {
            Reason::BackingOff if adopts(policy, state) => {
                Self::new(NextAction::Adopt, until, Reason::FirstIssue).held_by(Reason::BackingOff)
            }
            Reason::BackingOff => Self::new(NextAction::Rotate, until, Reason::FirstIssue).held_by(Reason::BackingOff),
            Reason::Limited => Self::new(NextAction::Rotate, until, Reason::FirstIssue).held_by(Reason::Limited),
            Reason::NoRoom => Self::new(NextAction::Rotate, None, Reason::FirstIssue).held_by(Reason::NoRoom),
            // The rest may end earlier, to compare stores.
            Reason::Grace => {
                let at = state.phase.retiring().map(|retiring| retiring.revoke_at);
                Self::new(NextAction::Revoke, at.or(until), Reason::Grace)
            }
            Reason::Retirement => {
                let planned = state.retirement.map(|retirement| retirement.revoke_at);
                Self::new(NextAction::Revoke, planned.or(until), Reason::Retirement)
            }
            Reason::InUse => Self::new(NextAction::Revoke, None, Reason::InUse),
            Reason::Revoking => {
                let retry = state.retry.as_ref().map(|retry| retry.next);
                Self::new(NextAction::Revoke, retry.or(until), Reason::Revoking)
            }
            Reason::Delivering | Reason::JournalUnwritable => Self::new(NextAction::Deliver, until, rest.reason),
            Reason::Verifying => Self::new(NextAction::Verify, until, rest.reason),
            Reason::Searching => Self::new(NextAction::Search, until, rest.reason),
            Reason::Examining => Self::new(NextAction::Examine, until, rest.reason),
            Reason::Undoing => Self::new(NextAction::Undo, until, rest.reason),
            reason => Self::nothing(reason),
        }
    }

    fn of_due(rest: &Rest, due: &Due, start: &Start) -> Self {
        let deed = match due.kind {
            RuleKind::Rotation => NextAction::Rotate,
            RuleKind::Renewal => NextAction::Renew,
        };
        // The end of time: until something else happens.
        let at = Some(start.at).filter(|at| *at < Time::MAX_UTC);
        let outlook = Self::new(deed, at, due.reason).with_due(due);
        match rest.reason {
            Reason::NotDue if start.overridden => {
                Self { overridden: true, ..outlook }.held_by(Reason::WindowOverridden)
            }
            // An old generation waits for its end meanwhile, and holds up nothing.
            Reason::NotDue | Reason::Grace | Reason::InUse => outlook,
            Reason::WatchOnly => {
                Self { action: NextAction::Replace, at: Some(due.at), ..outlook }.held_by(Reason::WatchOnly)
            }
            Reason::Paused => Self { action: NextAction::Nothing, at: None, ..outlook }.held_by(Reason::Paused),
            Reason::Delivering => {
                Self { action: NextAction::Deliver, at: rest.until, ..outlook }.held_by(Reason::Delivering)
            }
            hold => Self { overridden: start.overridden, ..outlook }.held_by(hold),
        }
    }

    /// What a daemon that has not put the token to rest is doing.
    pub fn of_phase(phase: &Phase, now: Time) -> Self {
        let now = Some(now);
        match phase {
            Phase::Vacant => Self::new(NextAction::Rotate, now, Reason::FirstIssue),
            Phase::Steady { .. } => Self::new(NextAction::Inspect, now, Reason::NotDue),
            Phase::Intended { intent, .. } => of_intent(NextAction::Rotate, now, &intent.reason),
            Phase::Searching { .. } => Self::new(NextAction::Search, now, Reason::Searching),
            Phase::Minted { .. } | Phase::Renewed { .. } => Self::new(NextAction::Verify, now, Reason::Verifying),
            Phase::Verified { .. } | Phase::Delivered { .. } => Self::new(NextAction::Deliver, now, Reason::Delivering),
            Phase::Active { .. } | Phase::Revoked { .. } => Self::new(NextAction::Revoke, now, Reason::Revoking),
            Phase::Undoing { .. } => Self::new(NextAction::Undo, now, Reason::Undoing),
            Phase::Renewing { intent, .. } => of_intent(NextAction::Renew, now, &intent.reason),
            Phase::RenewalUnknown { .. } => Self::new(NextAction::Examine, now, Reason::Examining),
        }
    }

    fn of_action(action: &Action, situation: &Situation<'_>) -> Self {
        let now = Some(situation.now);
        match action {
            Action::Adopt | Action::Readopt => Self::new(NextAction::Adopt, now, Reason::FirstIssue),
            Action::Begin(Reason::WindowOverridden) => match deciding(situation) {
                Some(due) => {
                    let outlook = Self::new(NextAction::Rotate, now, due.reason).with_due(&due);
                    Self { overridden: true, ..outlook }.held_by(Reason::WindowOverridden)
                }
                None => Self::new(NextAction::Rotate, now, Reason::WindowOverridden),
            },
            Action::Begin(reason) => of_begin(NextAction::Rotate, *reason, situation),
            Action::BeginRenewal(reason) => of_begin(NextAction::Renew, *reason, situation),
            Action::Mint | Action::Renew => Self::of_phase(&situation.state.phase, situation.now),
            Action::Search | Action::RevokeOrphan(_) | Action::Seek(_) | Action::Reap(..) => {
                Self::new(NextAction::Search, now, Reason::Searching)
            }
            Action::Verify | Action::VerifyRenewed => Self::new(NextAction::Verify, now, Reason::Verifying),
            Action::IntendWrite(_) | Action::Erase(_) | Action::Write(_) | Action::Notify(_) => {
                Self::new(NextAction::Deliver, now, Reason::Delivering)
            }
            Action::Inspect => Self::new(NextAction::Inspect, now, Reason::NotDue),
            Action::Revoke | Action::Prove | Action::Dismiss => Self::new(NextAction::Revoke, now, Reason::Revoking),
            Action::Restore(_) | Action::Renotify(_) | Action::RevokeCandidate => {
                Self::new(NextAction::Undo, now, Reason::Undoing)
            }
            Action::ExamineRenewal => Self::new(NextAction::Examine, now, Reason::Examining),
            Action::Examine(_) | Action::Look => Self::new(NextAction::Examine, now, Reason::NotDue),
        }
    }
}

/// Stores and provider were just looked at, and nothing was found: what comes next is about rotations.
pub fn undisturbed(now: Time) -> Memo {
    Memo {
        inspected: Some(now),
        examined: Some(now),
        sought: Some(now),
        looked: true,
        only_tells: true,
        ..Memo::default()
    }
}

fn of_begin(deed: NextAction, reason: Reason, situation: &Situation<'_>) -> Outlook {
    let outlook = Outlook::new(deed, Some(situation.now), reason);
    deciding(situation).map_or(outlook.clone(), |due| outlook.with_due(&due))
}

/// What an intent was written down for; a newer version may have reasons that this one does not know.
fn of_intent(deed: NextAction, at: Option<Time>, code: &str) -> Outlook {
    let outlook = Outlook::new(deed, at, Reason::named(code).unwrap_or(Reason::Requested));
    Outlook { reason: code.to_owned(), ..outlook }
}

/// The rule that decides about the current generation.
fn deciding(situation: &Situation<'_>) -> Option<Due> {
    let current = situation.state.phase.current()?;
    due::deciding(&situation.rules(current), situation.now)
}

fn adopts(policy: &TokenPolicy, state: &TokenState) -> bool {
    policy.initial.is_some() && state.may_adopt()
}
