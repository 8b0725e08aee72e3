//! What a definition is asked: where rotations go wrong.

/// Where a rotation goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// What is it, where was that read, and what does its account need?
    Told,
    /// How is it used?
    Example,
    /// Is a lost token found again?
    Marker,
    /// What does the listing need to show a token?
    Filter,
    /// Which request may every token make?
    Proof,
    /// How does a dead token answer?
    Dead,
    /// How is a token ended?
    End,
    /// What does the provider answer where a token is gone already?
    Gone,
    /// Does its 404 mean that, and nothing else?
    NotFound,
    /// What may a token do where the inventory says nothing?
    Power,
    /// How long may a name be in all generations?
    Name,
    /// What is the shortest life that the provider gives?
    ShortestLife,
    /// What is the longest one?
    LongestLife,
    /// When is a new token listed at the latest?
    Settle,
    /// When is a token too old that never ends?
    Age,
    /// How does an answer tell an error whose status is 200?
    Errors,
    /// Of a store: is a wrong place told from an empty one?
    Place,
    /// Of a store: is what was written read back?
    ReadBack,
    /// Of a store: is a write of somebody else at the same time noticed?
    Race,
    /// Of a store: how long may a value be?
    Size,
}

impl Question {
    /// Every question under its code, which is also its key in `[lint]`. Stable.
    pub const ALL: [(&'static str, Self); 20] = [
        ("told", Self::Told),
        ("example", Self::Example),
        ("marker", Self::Marker),
        ("filter", Self::Filter),
        ("proof", Self::Proof),
        ("dead", Self::Dead),
        ("end", Self::End),
        ("gone", Self::Gone),
        ("not-found", Self::NotFound),
        ("power", Self::Power),
        ("name", Self::Name),
        ("shortest-life", Self::ShortestLife),
        ("longest-life", Self::LongestLife),
        ("settle", Self::Settle),
        ("age", Self::Age),
        ("errors", Self::Errors),
        ("place", Self::Place),
        ("read-back", Self::ReadBack),
        ("race", Self::Race),
        ("size", Self::Size),
    ];

    /// Whether definitions of stores are asked it, or those of providers.
    pub fn is_of(self, stores: bool) -> bool {
        match self {
            Self::Told | Self::Example | Self::Errors => true,
            Self::Place | Self::ReadBack | Self::Race | Self::Size => stores,
            _ => !stores,
        }
    }

    /// Its code.
    pub fn code(self) -> &'static str {
        Self::ALL.iter().find(|(_, question)| *question == self).map_or("", |(code, _)| code)
    }

    /// What goes wrong where it is open.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Told => "[provider] does not tell all of `title`, `docs`, `credential` and `old-token`",
            Self::Example => "[provider] has no `example` of an inventory",
            Self::Marker => "a token whose secret is lost on the way cannot be found again: no listing shows its name",
            Self::Filter => "the listing depends on a parameter that may be left out, and may then lack living tokens",
            Self::Proof => "new tokens are delivered unproven: there is no [verify]",
            Self::Dead => {
                "[verify] authenticates with another secret, and nothing in its answer says that a token is dead"
            }
            Self::End => "tokens are never ended: there is no [revoke]",
            Self::Gone => "[revoke] cannot tell a token that is gone already from a refusal: it has no `gone-ok`",
            Self::NotFound => {
                "any 404 to a revocation counts as gone, although it can mean forbidden or a wrong path as well"
            }
            Self::Power => "a token may do more than the inventory asks for: a parameter of rights may be left out",
            Self::Name => {
                "nothing says how long a name may be: a marker grows by a digit with the 10th, 100th and 1000th generation"
            }
            Self::ShortestLife => "nothing says which lifetime is too short for the provider",
            Self::LongestLife => "nothing says which lifetime is too long for the provider",
            Self::Settle => {
                "a token that two listings lack counts as dead, and nothing says how soon a new one is listed"
            }
            Self::Age => "no answer tells when a token ends, and nothing says how old it may become",
            Self::Errors => "GraphQL answers errors with status 200, and no `expect` looks for them",
            Self::Place => {
                "a wrong place looks like one that holds nothing yet: any 404 counts as that, and there is no [probe]"
            }
            Self::ReadBack => {
                "what was written is not read back: there is no [read] that shows a value, or that it changed"
            }
            Self::Race => "a write of somebody else between the look and the write is lost: [write] has no `conflict`",
            Self::Size => "nothing says how long a value may be: one that is too long is refused after its mint",
        }
    }

    /// What to do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Told => "say what the vendor's pages say, and which pages these are",
            Self::Example => "add an inventory that `patrold check` accepts",
            Self::Marker => "put `{{ want.name }}` into [mint], and capture `name` in [list.item]",
            Self::Filter => "make the parameter required, or say `absence = \"unknown\"` in [list]",
            Self::Proof => "find a request that a token with any rights may make",
            Self::Dead => {
                "add `expect` with `otherwise = \"unauthorized\"`, or `classify` with `as = \"unauthorized\"`"
            }
            Self::End => "add [revoke]; where there is none, ask for short lifetimes",
            Self::Gone => "look up the answer to a second revocation, and add `gone-ok` with `gone-expect`",
            Self::NotFound => "add `gone-expect` with the words that name the token",
            Self::Power => "make the parameter required, or let its default be no more than reading",
            Self::Name => "add `longest` to [mint.name]",
            Self::ShortestLife => "add `min` or `ladder` to [lifetime]",
            Self::LongestLife => "add `max` or `ladder` to [lifetime]",
            Self::Settle => "add `settle` to [mint], or `absence = \"unknown\"` to [list]",
            Self::Age => "add `rotate-every` to [default-policy], or capture `expires`",
            Self::Errors => "add `expect = [{ at = \"/errors\", empty = true }]` to [answer]",
            Self::Place => "add [probe], or words of the body to `absent` of [read]",
            Self::ReadBack => "add [read] with `value`, `map`, `changed` or `version` in its capture",
            Self::Race => {
                "write under the compare-and-set of the service, and say in `conflict` how a lost one is answered"
            }
            Self::Size => "add `max-bytes` to [value]",
        }
    }

    /// Where in a file the answer would stand: the first of these tables or keys that is there.
    pub fn places(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::Told | Self::Example => &[&["provider"], &["store"]],
            Self::Place => &[&["read", "absent"], &["read"], &["write"]],
            Self::ReadBack => &[&["read"], &["write"]],
            Self::Race => &[&["write"]],
            Self::Size => &[&["value"], &["write"]],
            Self::Marker => &[&["list", "item"], &["list"], &["mint"]],
            Self::Filter => &[&["list", "query"], &["list"]],
            Self::Proof | Self::End => &[&["mint"]],
            Self::Name => &[&["mint", "name"], &["mint"]],
            Self::Dead => &[&["verify"]],
            Self::Gone => &[&["revoke"]],
            Self::NotFound => &[&["revoke", "gone-ok"], &["revoke"]],
            Self::Power => &[&["params"]],
            Self::ShortestLife | Self::LongestLife => &[&["lifetime"], &["mint"]],
            Self::Settle => &[&["mint", "settle"], &["mint"]],
            Self::Age => &[&["default-policy"], &["mint"]],
            Self::Errors => &[&["answer"], &["mint", "graphql"], &["provider"], &["store"]],
        }
    }
}
