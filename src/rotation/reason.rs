//! Why a token is or is not rotated: one stable code for programs, one label and one sentence for people each.

use serde::Serialize;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $label:literal, $sentence:literal;)*) => {
        /// The reason for a decision of the planner.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        pub enum Reason {
            $($(#[$doc])* #[serde(rename = $code)] $name,)*
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Whether it follows from what a provider tells of ends.
            pub fn is_by_expiry(self) -> bool {
                matches!(self, Self::Expired | Self::RenewBefore | Self::RenewableUntil)
            }

            /// The stable code.
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The reason in a word or three, for a table.
            pub fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }

            /// The reason with this code; `None` for those of a newer version.
            pub fn named(code: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|reason| reason.code() == code)
            }

            /// The reason in words.
            pub fn sentence(self) -> &'static str {
                match self { $(Self::$name => $sentence,)* }
            }
        }
    };
}

reasons! {
    // Why something is done.
    FirstIssue = "first-issue", "first token", "no generation exists yet";
    RenewBefore = "renew-before", "renew-before", "its expiry is near";
    RotateEvery = "rotate-every", "rotate-every", "it has reached the age at which it is rotated";
    Schedule = "schedule", "schedule", "its schedule fires";
    RenewableUntil = "renewable-until", "end of renewals", "it cannot be renewed in place much longer";
    Expired = "expired", "expiry", "it has expired";
    Dead = "dead", "not accepted", "the provider does not accept it any more";
    Requested = "requested", "operator request", "an operator asked for it";
    SecretLost = "secret-lost", "unreadable secret", "the journal's copy of its secret cannot be opened";
    RenewalUnknown = "renewal-in-doubt", "unknown renewal", "the outcome of a renewal is unknown, and a renewal is never repeated";
    ExpiryUnknown = "expiry-unknown", "unknown expiry", "the expiry of the adopted secret is unknown";
    Changed = "changed", "changed settings", "the inventory asks for other parameters than it was minted with";
    Renewal = "renewal", "renewal", "its access token is renewed in place";
    WindowOverridden = "window-overridden", "window too late", "its window opens too late, so the deadline decides";

    // Why nothing is done now.
    NotDue = "not-due", "nothing due", "nothing is due";
    WindowClosed = "window-closed", "window closed", "it is due and waits for its window";
    BackingOff = "backing-off", "waiting to retry", "the last attempt failed; waiting for the next one";
    Paused = "paused", "paused", "the inventory says paused";
    Delivering = "delivering", "stores or hooks", "waiting to write stores or to run hooks";
    Verifying = "verifying", "proof pending", "the new secret is not proven yet";
    Searching = "searching", "lost mint", "the outcome of a mint is unknown; looking for its marker";
    Examining = "examining", "unknown renewal", "the outcome of a renewal is unknown; examining the secret at hand";
    Grace = "grace", "grace", "the old generation is still in its grace";
    InUse = "in-use", "old one in use", "the provider still sees the old generation in use";
    Revoking = "revoking", "revocation", "the old generation is being revoked";
    OrphanAlive = "remnant-alive", "older one alive", "an older generation that cannot be revoked is still alive";
    NoRoom = "no-room", "no room", "its provider takes no more live tokens there: revoke one that is not needed, \
                         `patrold audit` lists them";
    Limited = "rate-limit", "rate limit", "the rate limit of its account lets no request leave yet";
    Undoing = "undoing", "rolling back", "the new generation is being taken back";
    Retirement = "retirement", "retired", "an operator retired it: it is revoked then";
    LeftInventory = "left-inventory", "not in inventory", "it is no longer in the inventory";
    NeverDue = "never-due", "never due", "it never expires and has no rule that would make it due";
    Stopping = "stopping", "stopping", "patrold is about to stop";
    HeldBack = "held-back", "held back", "the journal is new, and something of the token exists already: `patrold rotate` mints all the \
                             same, `patrold adopt` takes over what exists";
    WatchOnly = "watch-only", "replaced by hand", "its provider cannot create tokens: it is watched and replaced by hand";
    CredentialMissing = "credential-missing", "no credential yet", "waits for the token that its account authenticates with";
    JournalUnwritable = "journal-unwritable", "journal not writable", "the journal cannot be written";
    NotOwner = "not-owner", "taken over", "another process has taken over its account: let one of the two run";
    OwnedElsewhere = "owned-elsewhere", "another replica", "its account is not this replica's: `patrold fleet status` shows whose it is";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique() {
        let mut codes: Vec<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Reason::ALL.len());
    }

    #[test]
    fn labels_fit_into_a_column_of_a_narrow_terminal() {
        for reason in Reason::ALL {
            assert!(reason.label().chars().count() <= 20, "{}", reason.label());
            assert_eq!(Reason::named(reason.code()), Some(*reason));
        }
    }
}
