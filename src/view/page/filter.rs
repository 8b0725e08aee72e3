//! Which tokens a page shows: `?state=`, `?account=`, `?name=`.

use crate::report::status::TokenStatus;
use crate::view::html::escape;

/// What a query asks for; nothing: every token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The state in one word.
    pub state: Option<String>,
    /// The account.
    pub account: Option<String>,
    /// A part of the name, whatever the case. An empty one: somebody is about to type.
    pub name: Option<String>,
}

impl Filter {
    /// Reads a query. What it does not know is left out.
    pub fn parse(query: &str) -> Self {
        let mut filter = Self::default();
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let place = match &*key {
                "state" => &mut filter.state,
                "account" => &mut filter.account,
                "name" => &mut filter.name,
                _ => continue,
            };
            *place = Some(value.into_owned());
        }
        filter
    }

    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the token is asked for.
    pub fn shows(&self, token: &TokenStatus) -> bool {
        let state = self.state.as_ref().is_none_or(|state| *state == token.condition.word());
        let of_account = |account: &String| token.account.as_ref().is_some_and(|name| name.as_str() == account);
        let account = self.account.as_ref().is_none_or(of_account);
        let name = self
            .name
            .as_ref()
            .is_none_or(|part| token.name.as_str().to_lowercase().contains(&part.trim().to_lowercase()));
        state && account && name
    }

    /// It in words, as HTML.
    pub(super) fn heading(&self) -> String {
        let part = |what: &str, value: &Option<String>| {
            let value = value.as_ref().filter(|value| !value.is_empty())?;
            Some(format!("{what} <code>{}</code>", escape(value)))
        };
        let parts = [part("state", &self.state), part("account", &self.account), part("name with", &self.name)];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        if parts.is_empty() { "Tokens".to_owned() } else { format!("Tokens: {}", parts.join(", ")) }
    }
}
