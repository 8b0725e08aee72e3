//! The steps of a rotation, and how one ends: words that are stable. Pure.

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$of])* $variant,)* }

        impl $name {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word for it; stable.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }
    };
}

words! {
    /// A step of a rotation, of a renewal or of the upkeep in between.
    StepName {
        /// An existing secret is taken over.
        Adopt = "adopt",
        /// A new generation is minted.
        Mint = "mint",
        /// The marker of a mint of unknown outcome is searched for.
        Search = "search",
        /// A new secret is proven.
        Verify = "verify",
        /// A store is written.
        Write = "write",
        /// A hook is run.
        Hook = "hook",
        /// The new generation becomes current.
        HandOver = "hand-over",
        /// An old generation is revoked.
        Revoke = "revoke",
        /// A request with the old secret shows that it is dead.
        Prove = "prove",
        /// A new generation is taken back.
        Undo = "undo",
        /// A generation gets a new secret in place.
        Renew = "renew",
        /// The provider is asked whether it accepts the present secret.
        Examine = "examine",
        /// A store is compared with what was delivered.
        Inspect = "inspect",
        /// A credential that was left behind is revoked.
        Reap = "reap",
    }
}

words! {
    /// How a step ended.
    StepResult {
        /// It was done.
        Ok = "ok",
        /// It is tried again, or something else is done instead.
        Failed = "failed",
        /// Nobody knows whether it happened.
        Unknown = "unclear",
        /// The store did not hold what was delivered.
        Drifted = "drifted",
    }
}

/// The step of a rotation that an event ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// None.
    Nothing,
    /// This one.
    Step(StepName, StepResult),
    /// The one that was to come next, by the phase that the event leads to; it failed.
    Next,
}
