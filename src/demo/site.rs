//! What the three services are told about themselves: their users, lifetimes and clocks.

use crate::clock::Span;
use crate::secret::Secret;

/// Somebody whom the services know.
#[derive(Clone, Debug)]
pub struct User {
    pub id: u64,
    pub name: String,
    pub password: Secret,
    /// May list and delete the tokens of others.
    pub superuser: bool,
}

/// How the services behave when they are well.
#[derive(Clone, Debug)]
pub struct Options {
    /// The users of the services. The second one owns the bootstrap tokens.
    pub users: Vec<User>,
    /// How long a "day" of Point One's `expiryInDays` lasts.
    pub point_one_day: Span,
    /// Whether Point One's listing goes on showing revoked and expired tokens, with their status.
    pub point_one_lists_dead: bool,
    /// The lifetime of every AWX token.
    pub awx_lifetime: Span,
    /// Entries on a page of AWX where the caller does not say.
    pub awx_page_size: usize,
    /// The lifetime of a Commvault access token.
    pub commvault_access_lifetime: Span,
    /// How long after its issue a Commvault refresh token can be used.
    pub commvault_refresh_lifetime: Span,
    /// Whether a Commvault access token may mint (releases before 11.42), or a login only.
    pub commvault_mint_by_token: bool,
    /// How many wrong passwords in a row lock a user out of Commvault.
    pub commvault_login_attempts: u32,
    /// How long a user stays locked out of Commvault.
    pub commvault_lock: Span,
    /// How long every answer takes, besides the work itself.
    pub answer_delay: Span,
    /// How long a revoked token goes on working.
    pub revocation_delay: Span,
    /// How far the services' clocks are ahead.
    pub skew: Span,
    /// The lifetime of the bootstrap tokens.
    pub bootstrap_lifetime: Span,
}

impl Default for Options {
    /// What the vendors document, without delays and skew.
    fn default() -> Self {
        let user = |id, name: &str, superuser| User {
            id,
            name: name.to_owned(),
            password: Secret::new(format!("{name}-password")),
            superuser,
        };
        Self {
            users: vec![user(1, "admin", true), user(2, "patrold", false), user(3, "other", false)],
            point_one_day: Span::days(1),
            point_one_lists_dead: false,
            awx_lifetime: Span::seconds(31_536_000_000),
            awx_page_size: 25,
            commvault_access_lifetime: Span::minutes(30),
            commvault_refresh_lifetime: Span::days(14),
            commvault_mint_by_token: true,
            commvault_login_attempts: 5,
            commvault_lock: Span::minutes(30),
            answer_delay: Span::zero(),
            revocation_delay: Span::zero(),
            skew: Span::zero(),
            bootstrap_lifetime: Span::days(3650),
        }
    }
}

/// What the three APIs know of the world besides the ledger.
#[derive(Debug)]
pub(super) struct Site {
    pub options: Options,
}

impl Site {
    pub(super) fn user(&self, id: u64) -> Option<&User> {
        self.options.users.iter().find(|user| user.id == id)
    }

    pub(super) fn log_in(&self, name: &str, password: &str) -> Option<&User> {
        self.options.users.iter().find(|user| user.name == name && user.password.expose() == password)
    }
}
