//! Why a token is or is not rotated now: every rule with its time, the one that decides, what comes next, and what is
//! in the way.

mod evidence;

use serde::{Deserialize, Serialize};

use crate::clock::Time;
use crate::inventory::TokenPolicy;
use crate::names::ReplicaName;
use crate::provider::Abilities;
use crate::provider::Expiry;
use crate::rotation::due::{self, Due, Means, RuleKind};
use crate::rotation::reason::Reason;
use crate::rotation::state::{Current, Orphan, Phase};
use crate::text::words;
use crate::timing::window::WindowState;

pub use self::evidence::Evidence;
use super::status::{self, AccountCondition, AccountStatus, OwedKind, Subject, TokenStatus};

/// Everything that decides about one token. Part of `explain --json` and of the control protocol: names are stable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Explanation {
    /// When it was so.
    pub at: Time,
    /// Whether a running daemon says so. Otherwise it is what the journal says.
    pub daemon: bool,
    /// Where the inventory on disk has it, as `file:line:column`, and for which name of a `for-each`; `None`: nobody
    /// looked, or it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<String>,
    /// Which replica of the fleet looks after it; `None`: there is no fleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<OwnerStatus>,
    /// Its status.
    pub token: TokenStatus,
    /// Its account's status, where it is known.
    pub account: Option<AccountStatus>,
    /// Every rule that could make the token due, also those that do not apply to it.
    pub rules: Vec<Rule>,
    /// Its window, where the inventory sets one.
    pub window: Option<WindowNow>,
    /// What keeps the next rotation from beginning, or would if it were due.
    pub obstacles: Vec<Obstacle>,
    /// What says that consumers have the new secret; empty unless an old token waits for its end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
}

/// Which replica of a fleet looks after a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct OwnerStatus {
    /// `None`: none does now.
    pub replica: Option<ReplicaName>,
    /// The number of its claim: a later one is higher.
    pub claim: Option<u64>,
    /// The owner has not told this; the journal has.
    pub journal: bool,
}

/// One rule that makes a token due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Rule {
    /// The stable code of its reason.
    pub rule: String,
    /// When it makes the token due; `None`: it does not apply.
    pub at: Option<Time>,
    /// Windows do not hold it up longer than this.
    pub deadline: Option<Time>,
    /// It does not wait for windows.
    pub urgent: bool,
    /// It is the one that decides.
    pub decides: bool,
    /// The rule in words, or why it does not apply.
    pub words: String,
}

/// The window of the inventory, now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WindowNow {
    /// The expression at whose firings it opens.
    pub cron: String,
    /// The time zone that the expression is read in.
    pub timezone: String,
    /// It is open now.
    pub open: bool,
    /// When it closes if it is open, and when it opens otherwise; `None`: never.
    pub changes: Option<Time>,
}

/// Something that is in the way of a rotation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Obstacle {
    /// A stable code: of a [`Reason`], the name of a phase, or `account`, `recalled`, `compromised`.
    pub code: String,
    /// When it is over, or looked at again; `None`: when something else happens.
    pub until: Option<Time>,
    /// One sentence.
    pub words: String,
}

impl Rule {
    /// Its reason in a word or three; the code itself where a newer version made it.
    pub fn label(&self) -> &str {
        match Reason::named(&self.rule) {
            Some(reason) => reason.label(),
            None => &self.rule,
        }
    }
}

impl Obstacle {
    /// What is in the way in a few words; the code itself where nothing tells more.
    pub fn label(&self) -> &str {
        match Reason::named(&self.code) {
            Some(reason) => reason.label(),
            None => Phase::words(&self.code),
        }
    }
}

impl Explanation {
    /// Explains `subject`. `account`: its account's status, where it is known.
    pub fn new(
        subject: &Subject<'_>,
        abilities: Option<&Abilities>,
        account: Option<AccountStatus>,
        now: Time,
    ) -> Self {
        let token = status::token(subject, now);
        let policy = subject.policy.filter(|_| subject.wanted);
        let (mut rules, mut window, mut decides) = (Vec::new(), None, None);
        if let (Some(policy), Some(abilities)) = (policy, abilities) {
            match subject.state.phase.current() {
                Some(current) => {
                    let means = abilities.means(&current.generation);
                    let reckoning = subject.reckoning(&current.generation, now);
                    let applying = due::rules(policy, subject.state, current, means, &reckoning);
                    decides = deciding(&applying, now);
                    let contradicted = reckoning.is_contradicted(&current.generation);
                    rules = every_rule(&applying, decides.as_ref(), policy, current, means, contradicted, now);
                }
                None => rules.push(first_issue(policy, subject.state.may_adopt(), now)),
            }
            window = policy.window.as_ref().map(|window| {
                let (open, changes) = match window.at(now) {
                    WindowState::Open { until } => (true, Some(until)),
                    WindowState::Closed { opens } => (false, opens),
                };
                let (cron, timezone) =
                    (window.opens.expression().to_owned(), window.opens.timezone().name().to_owned());
                WindowNow { cron, timezone, open, changes }
            });
        }
        let mut obstacles = Vec::new();
        of_token(subject, &token, policy, decides.as_ref(), now, &mut obstacles);
        obstacles.extend(account.as_ref().into_iter().flat_map(of_account));
        let daemon = !matches!(subject.activity, status::Activity::Asleep(_));
        let evidence = policy
            .map(|policy| evidence::of(policy, &subject.state.phase, abilities, &token.next.reason))
            .unwrap_or_default();
        Self { at: now, daemon, written: None, owner: None, token, account, rules, window, obstacles, evidence }
    }
}

impl Explanation {
    /// The same, with who looks after the token.
    #[must_use]
    pub fn owned_by(self, owner: Option<OwnerStatus>) -> Self {
        Self { owner, ..self }
    }
}

/// The rule that decides: of rotations or of renewals, whichever is first.
fn deciding(rules: &[Due], now: Time) -> Option<Due> {
    let of_kind = |kind| {
        let rules: Vec<_> = rules.iter().filter(|due| due.kind == kind).copied().collect();
        due::deciding(&rules, now)
    };
    let both = [of_kind(RuleKind::Rotation), of_kind(RuleKind::Renewal)];
    both.into_iter().flatten().min_by_key(|due| (due.at > now, due.at))
}

/// The only rule of a token without a generation.
fn first_issue(policy: &TokenPolicy, never: bool, now: Time) -> Rule {
    let words = if policy.initial.is_some() && never {
        "no generation exists yet; the initial secret is adopted"
    } else {
        Reason::FirstIssue.sentence()
    };
    Rule {
        rule: Reason::FirstIssue.code().to_owned(),
        at: Some(now),
        deadline: None,
        urgent: false,
        decides: true,
        words: words.to_owned(),
    }
}

/// The rules of a token with a generation, in the order in which they press.
fn every_rule(
    applying: &[Due],
    decides: Option<&Due>,
    policy: &TokenPolicy,
    current: &Current,
    means: Means,
    contradicted: bool,
    now: Time,
) -> Vec<Rule> {
    const ALWAYS: [Reason; 8] = [
        Reason::Requested,
        Reason::Dead,
        Reason::Expired,
        Reason::RenewBefore,
        Reason::RotateEvery,
        Reason::Schedule,
        Reason::Changed,
        Reason::SecretLost,
    ];
    // Rules that mean something for some tokens only are shown where they apply, or could.
    const RENEWING: [Reason; 3] = [Reason::Renewal, Reason::RenewableUntil, Reason::RenewalUnknown];
    let renewing = RENEWING.into_iter().filter(|_| means != Means::Rotation);
    let others = applying.iter().map(|due| due.reason);
    let mut reasons: Vec<_> = ALWAYS.into_iter().chain(renewing).collect();
    for reason in others {
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    let rule = |reason: Reason| {
        let due = applying.iter().find(|due| due.reason == reason);
        Rule {
            rule: reason.code().to_owned(),
            at: due.map(|due| due.at),
            deadline: due.and_then(|due| due.deadline).filter(|_| due.is_some_and(|due| !due.urgent)),
            urgent: due.is_some_and(|due| due.urgent),
            decides: due.is_some() && decides.is_some_and(|decides| decides.reason == reason),
            words: match due {
                Some(due) if reason == Reason::Expired && due.at > now => "it expires".to_owned(),
                Some(_) => reason.sentence().to_owned(),
                None => silent(reason, policy, current, contradicted).to_owned(),
            },
        }
    };
    reasons.into_iter().map(rule).collect()
}

/// Why a rule does not apply.
fn silent(reason: Reason, policy: &TokenPolicy, current: &Current, contradicted: bool) -> &'static str {
    match reason {
        Reason::Requested => "not requested",
        Reason::Dead => "believed valid",
        Reason::Expired | Reason::RenewBefore | Reason::Renewal => match current.generation.remote.expires {
            Expiry::Never => "it never expires",
            Expiry::Unknown if policy.lifetime.is_none() => "its expiry is unknown",
            Expiry::At(_) if contradicted => "the expiry that the provider tells has passed, and it accepts the token",
            Expiry::Unknown | Expiry::At(_) => "another rule takes its place",
        },
        Reason::RotateEvery => "the inventory sets no `rotate-every`",
        Reason::Schedule if policy.schedule.is_some() => "its schedule does not fire any more",
        Reason::Schedule => "the inventory sets no `schedule`",
        Reason::Changed => "account and parameters are those that it was minted with",
        Reason::SecretLost => "the journal can open its secret",
        Reason::RenewableUntil => "its renewals have no known end",
        Reason::RenewalUnknown => "the outcome of every renewal is known",
        _ => "it does not apply",
    }
}

/// What is in the way because of the token itself.
fn of_token(
    subject: &Subject<'_>,
    token: &TokenStatus,
    policy: Option<&TokenPolicy>,
    decides: Option<&Due>,
    now: Time,
    obstacles: &mut Vec<Obstacle>,
) {
    let mut add = |code: &str, until: Option<Time>, words: String| {
        obstacles.push(Obstacle { code: code.to_owned(), until, words });
    };
    let by = |reason: Reason| reason.code();
    let state = subject.state;
    let Some(policy) = policy else {
        return add(by(Reason::LeftInventory), None, Reason::LeftInventory.sentence().to_owned());
    };
    if policy.paused {
        let words = "the inventory says paused: remove `paused`, or ask with `patrold rotate`";
        add(by(Reason::Paused), None, words.to_owned());
    }
    let lasting = [Reason::CredentialMissing, Reason::JournalUnwritable, Reason::HeldBack, Reason::NotOwner];
    if lasting.into_iter().any(|reason| token.next.reason == by(reason)) {
        add(&token.next.reason, None, token.next.why.clone());
    }
    for reason in [Reason::NoRoom, Reason::Limited] {
        if [Some(&token.next.reason), token.next.hold.as_ref()].contains(&Some(&by(reason).to_owned())) {
            add(by(reason), token.next.at, reason.sentence().to_owned());
        }
    }
    match &state.phase {
        Phase::Vacant | Phase::Steady { .. } | Phase::Active { .. } | Phase::Revoked { .. } => {}
        phase => add(phase.name(), None, format!("one is under way: {}", token.next.why)),
    }
    if let Some(retry) = state.retry.as_ref().filter(|retry| retry.next > now) {
        let attempts = words::count(retry.attempts as usize, "failure");
        add(by(Reason::BackingOff), Some(retry.next), format!("{attempts} in a row: {}", retry.failure));
    }
    let renewal = state.phase.current().and_then(|current| current.renewal_retry.as_ref());
    if let Some(retry) = renewal.filter(|retry| retry.next > now) {
        let attempts = words::count(retry.attempts as usize, "failed renewal");
        add(by(Reason::BackingOff), Some(retry.next), format!("{attempts} in a row: {}", retry.failure));
    }
    if let Some(decides) = decides {
        let start = due::start(policy, decides, now);
        if start.at > decides.at.max(now) {
            let (code, words) = if start.overridden {
                (Reason::WindowOverridden, Reason::WindowOverridden.sentence())
            } else {
                (Reason::WindowClosed, "its window opens only then")
            };
            add(by(code), Some(start.at).filter(|at| *at < Time::MAX_UTC), words.to_owned());
        }
    }
    let preferred = state.phase.current().and_then(|current| current.preferred);
    if let Some(until) = preferred.and_then(|at| at.checked_add_signed(due::RECALL_HOLD)).filter(|until| *until > now) {
        let words = "an operator rolled back to it: only its deadline, its death or a request comes before";
        add("recalled", Some(until), words.to_owned());
    }
    if state.phase.current().is_some_and(|current| current.generation.compromised.is_some()) {
        add(
            "compromised",
            None,
            "an operator said that others have its secret: it is replaced without grace".to_owned(),
        );
    }
    for owed in &token.owed {
        let kind = match owed.kind {
            OwedKind::Store => "store",
            OwedKind::Hook => "hook",
        };
        let words = format!("the {kind} {} is owed: {}", owed.key, owed.error);
        add(by(Reason::Delivering), Some(owed.next), words);
    }
    if let Some(retiring) = &token.retiring {
        let number = retiring.generation.number;
        let words = format!(
            "the previous token, generation {number}, still lives; a rotation adds another one only when pressed"
        );
        add(by(Reason::Grace), Some(retiring.revoke_at).filter(|at| *at > now), words);
    }
    for orphan in &state.orphans {
        let (name, ends) = match orphan {
            Orphan::UnknownMint { .. } => continue,
            Orphan::Unrevocable { number, .. } => (number, orphan.until().map(|until| subject.clock.latest(until))),
            Orphan::Deferred { generation, .. } => {
                (&generation.number, subject.reckoning(generation, now).end(generation))
            }
        };
        // One that never ends holds up nothing.
        if ends.is_some() || matches!(orphan, Orphan::Deferred { .. }) {
            add(by(Reason::OrphanAlive), ends, format!("the older generation {name} is still alive"));
        }
    }
}

/// What is in the way because of its account.
fn of_account(account: &AccountStatus) -> Vec<Obstacle> {
    let mut obstacles = Vec::new();
    if account.condition == AccountCondition::Degraded {
        let why = account.last_error.as_ref().map_or("reason unknown", |error| &error.message);
        let words = format!("the account {} is degraded: {why}", account.name);
        obstacles.push(Obstacle { code: "account".to_owned(), until: None, words });
    }
    if let Some(until) = account.blocked_until {
        let words = format!("the provider asked the account {} for patience", account.name);
        obstacles.push(Obstacle { code: "account".to_owned(), until: Some(until), words });
    }
    obstacles
}

#[cfg(test)]
mod tests;
