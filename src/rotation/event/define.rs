//! The macro that makes the type of events, and everything said of them, from one table.

macro_rules! events {
    ($(
        $(#[$doc:meta])* $variant:ident { $($(#[$of:meta])* $field:ident: $type:ty),* $(,)? } = $name:literal, $credential:ident,
        $meaning:literal, $remedy:literal,
        [$({ $($case:tt)* } $(if $guard:expr)? => $level:ident $sentence:literal $ended:expr),+ $(,)?];
    )*) => {
        /// One thing that happened to one token.
        #[allow(missing_docs, reason = "the sentence about an event names its fields where their names do not tell")]
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "event", deny_unknown_fields)]
        pub enum Event {
            $(
                #[doc = $meaning] #[doc = "."] $(#[$doc])*
                #[serde(rename = $name)] $variant { $($(#[$of])* $field: $type),* },
            )*
        }

        impl Event {
            /// The stable name of the event.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$variant { .. } => $name,)* }
            }

            /// What is logged of it, and the step that it ends.
            pub fn told(&self) -> Told {
                match self { $($(
                    Self::$variant { $($case)* } $(if $guard)? =>
                        Told { level: Level::$level, sentence: $sentence, ended: $ended },
                )+)* }
            }

            /// Whether accounts that authenticate with the token present another secret from now on.
            pub fn changes_credential(&self) -> bool {
                let credential = match self { $(Self::$variant { .. } => Credential::$credential,)* };
                credential == Credential::Changed
            }

            /// Every kind of event, in the order of a life.
            pub const TABLE: &'static [EventRow] =
                &[$(EventRow { name: $name, meaning: $meaning, remedy: $remedy },)*];
        }
    };
}
