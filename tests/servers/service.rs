//! What a test has to know of a kind of server.

use std::time::Duration;

use crate::facts::Facts;
use crate::wire::Wire;

/// How many tokens live at the server, and what is known of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Live {
    /// By the names that they carry.
    Names(Vec<String>),
    /// They carry none, but they can be counted.
    Count(usize),
}

impl Live {
    pub fn count(&self) -> usize {
        match self {
            Self::Names(names) => names.len(),
            Self::Count(count) => *count,
        }
    }
}

/// A kind of server.
pub trait Service: Sync {
    /// Of its recipe.
    const NAME: &'static str;

    /// The provider definition.
    const DEFINITION: &'static str;

    /// What `patrold provider test` sees of it, in the words of its JSON.
    const ABILITIES: &'static [&'static str];

    /// How long the server goes on accepting a token that was revoked.
    const LINGERING: Duration = Duration::from_secs(10);

    /// Whether a token whose secret nobody has got can be found again.
    const FINDS_LOST_ONES: bool = true;

    /// Whether such a token takes a place that the next one needs, so that a person has to end it.
    const CROWDED: bool = false;

    fn new(facts: Facts) -> Self;

    /// The lines of `[account.NAME]`, without provider and address. `DIRECTORY` stands for that of the file `credential`.
    fn account(&self) -> String;

    /// What the file `credential` holds.
    fn credential(&self) -> &str;

    /// Further lines of `[[token]]`.
    fn token(&self) -> String;

    /// What the request says that mints, and no other: how it begins, or a part of its body.
    fn mint(&self) -> String;

    /// The tokens of the account that this server would accept now and that carry a marker; all, where none can.
    fn live(&self, wire: &Wire) -> impl Future<Output = Live> + Send;

    /// Whether the server lets this secret do anything.
    fn accepts(&self, wire: &Wire, secret: &str) -> impl Future<Output = bool> + Send;

    /// Ends the token of this id, as a person does whom `patrold audit` told of it.
    fn end(&self, _wire: &Wire, id: &str) -> impl Future<Output = ()> + Send {
        let id = id.to_owned();
        async move { panic!("nobody has to end {id}") }
    }
}
