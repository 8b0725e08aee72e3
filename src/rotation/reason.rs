//! Why a token is or is not rotated: one stable code and one sentence each.

use serde::Serialize;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $sentence:literal;)*) => {
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

            /// The reason in words.
            pub fn sentence(self) -> &'static str {
                match self { $(Self::$name => $sentence,)* }
            }
        }
    };
}

reasons! {
    // Why something is done.
    FirstIssue = "first-issue", "no generation exists yet";
    RenewBefore = "renew-before", "its expiry is near";
    RotateEvery = "rotate-every", "it has reached the age at which it is rotated";
    Schedule = "schedule", "its schedule fires";
    RenewableUntil = "renewable-until", "it cannot be renewed in place much longer";
    Expired = "expired", "it has expired";
    Dead = "dead", "the provider does not accept it any more";
    Requested = "requested", "an operator asked for it";
    SecretLost = "secret-lost", "the journal's copy of its secret cannot be opened";
    RenewalUnknown = "renewal-in-doubt", "the outcome of a renewal is unknown, and a renewal is never repeated";
    ExpiryUnknown = "expiry-unknown", "the expiry of the adopted secret is unknown";
    Changed = "changed", "the inventory asks for other parameters than it was minted with";
    Renewal = "renewal", "its access token is renewed in place";
    WindowOverridden = "window-overridden", "its window opens too late, so the deadline decides";

    // Why nothing is done now.
    NotDue = "not-due", "nothing is due";
    WindowClosed = "window-closed", "it is due and waits for its window";
    BackingOff = "backing-off", "the last attempt failed; waiting for the next one";
    Paused = "paused", "the inventory says paused";
    Delivering = "delivering", "waiting to write stores or to run hooks";
    Verifying = "verifying", "the new secret is not proven yet";
    Searching = "searching", "the outcome of a mint is unknown; looking for its marker";
    Examining = "examining", "the outcome of a renewal is unknown; examining the secret at hand";
    Grace = "grace", "the old generation is still in its grace";
    InUse = "in-use", "the provider still sees the old generation in use";
    Revoking = "revoking", "the old generation is being revoked";
    OrphanAlive = "remnant-alive", "an older generation that cannot be revoked is still alive";
    NoRoom = "no-room", "its provider takes no more live tokens there: revoke one that is not needed, \
                         `patrold audit` lists them";
    Undoing = "undoing", "the new generation is being taken back";
    Retirement = "retirement", "an operator retired it: it is revoked then";
    LeftInventory = "left-inventory", "it is no longer in the inventory";
    NeverDue = "never-due", "it never expires and has no rule that would make it due";
    Stopping = "stopping", "patrold is about to stop";
    HeldBack = "held-back", "the journal is new, and something of the token exists already: `patrold rotate` mints all the \
                             same, `patrold adopt` takes over what exists";
    WatchOnly = "watch-only", "its provider cannot create tokens: it is watched and replaced by hand";
    CredentialMissing = "credential-missing", "waits for the token that its account authenticates with";
    JournalUnwritable = "journal-unwritable", "the journal cannot be written";
    NotOwner = "not-owner", "another process has taken over its account: let one of the two run";
    OwnedElsewhere = "owned-elsewhere", "its account is not this replica's: `patrold fleet status` shows whose it is";
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
}
