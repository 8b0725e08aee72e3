//! What look-alikes of providers share: a ledger of every token, and the inventory that each is used by.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::{Api, Asked};

/// A token, as its provider knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    pub id: String,
    pub name: String,
    /// Whom the secret was told.
    pub secret: String,
    /// Whether anybody can use it.
    pub disclosed: bool,
    pub live: bool,
}

/// Every token that a provider has made.
#[derive(Default)]
pub struct Ledger {
    tokens: Vec<Issued>,
    /// The most that lived at any one time.
    pub most: usize,
    /// What consumers of its tokens hold now: asked whenever a token is ended.
    pub held: Option<Box<dyn Fn() -> Vec<String> + Send>>,
    /// Tokens that were ended while a consumer held one that is not alive.
    pub harm: Vec<String>,
    /// Of so many tokens to come another secret is told than the one that works.
    pub spoiled: usize,
}

impl Ledger {
    /// What the account authenticates with.
    pub const CREDENTIAL: &'static str = "the-accounts-own-credential";

    /// Makes a token whose secret nobody has yet; its id.
    pub fn make(&mut self, name: &str) -> String {
        let id = (self.tokens.len() + 101).to_string();
        let secret = format!("secret-of-token-{id}");
        self.tokens.push(Issued { id: id.clone(), name: name.to_owned(), secret, disclosed: false, live: true });
        self.most = self.most.max(self.live().count());
        id
    }

    /// The secret of a token.
    pub fn disclose(&mut self, id: &str) -> Option<String> {
        let token = self.tokens.iter_mut().find(|it| it.live && it.id == id)?;
        token.disclosed = true;
        Some(token.secret.clone())
    }

    /// Makes a token and tells its secret: both.
    pub fn issue(&mut self, name: &str) -> (String, String) {
        let id = self.make(name);
        if let Some(left) = self.spoiled.checked_sub(1) {
            self.spoiled = left;
            return (id, "a secret that opens nothing".to_owned());
        }
        let secret = self.disclose(&id).unwrap();
        (id, secret)
    }

    /// Ends a token. False: there is none.
    pub fn end(&mut self, id: &str) -> bool {
        let Some(token) = self.tokens.iter_mut().find(|it| it.live && it.id == id) else { return false };
        token.live = false;
        let held = self.held.as_ref().map(|held| held()).unwrap_or_default();
        if held.iter().any(|secret| !self.accepts(secret)) {
            self.harm.push(id.to_owned());
        }
        true
    }

    pub fn live(&self) -> impl Iterator<Item = &Issued> {
        self.tokens.iter().filter(|it| it.live)
    }

    /// A token, alive or not.
    pub fn find(&self, id: &str) -> Option<&Issued> {
        self.tokens.iter().find(|it| it.id == id)
    }

    pub fn accepts(&self, secret: &str) -> bool {
        self.live().any(|it| it.disclosed && it.secret == secret)
    }

    /// How many were ever made.
    pub fn made(&self) -> usize {
        self.tokens.len()
    }
}

/// A look-alike of a provider, and the inventory that it is used by.
pub trait Provider: Api {
    const DEFINITION: &'static str;
    /// Further lines of the account; without `credential`, the file of that name.
    const ACCOUNT: &'static str;
    /// Further lines of the token.
    const TOKEN: &'static str;

    fn ledger(&mut self) -> &mut Ledger;
}

/// What a request presents as a bearer.
pub fn bearer(asked: &Asked) -> Option<&str> {
    asked.headers.get("authorization")?.strip_prefix("Bearer ")
}

/// What it presents as name and password.
pub fn basic(asked: &Asked) -> Option<(String, String)> {
    let text = asked.headers.get("authorization")?.strip_prefix("Basic ")?;
    let text = String::from_utf8(BASE64_STANDARD.decode(text).ok()?).ok()?;
    text.split_once(':').map(|(name, password)| (name.to_owned(), password.to_owned()))
}

/// Whether it presents the credential of the account.
pub fn admin(asked: &Asked) -> bool {
    bearer(asked) == Some(Ledger::CREDENTIAL) || basic(asked).is_some_and(|(_, it)| it == Ledger::CREDENTIAL)
}

/// The last step of a path.
pub fn last(path: &str) -> &str {
    path.rsplit('/').find(|it| !it.is_empty()).unwrap_or_default()
}

/// A value of a form.
pub fn form(asked: &Asked, key: &str) -> String {
    let mut pairs = url::form_urlencoded::parse(asked.text.as_bytes());
    pairs.find(|(name, _)| name == key).map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// The part of a look-alike that only tells how it is used.
macro_rules! provider {
    ($name:ident, $definition:literal, $account:literal, $token:literal) => {
        impl $crate::lookalike::Provider for $name {
            const DEFINITION: &'static str = $definition;
            const ACCOUNT: &'static str = $account;
            const TOKEN: &'static str = $token;

            fn ledger(&mut self) -> &mut $crate::lookalike::Ledger {
                &mut self.ledger
            }
        }
    };
}
pub(super) use provider;
