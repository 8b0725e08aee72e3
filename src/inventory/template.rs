//! Texts with places for secrets of several tokens, and what stands for a secret in each.

use std::fmt;
use std::sync::Arc;

use crate::names::{StoreKey, TokenName};

/// A text with places for values. It can be read back: something that is no value follows each place but the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// As it is. Never empty.
    Text(String),
    /// A place for the value of this name.
    Value(String, Quoting),
}

/// How a value is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Quoting {
    /// As it is, and only where no reader could take it for more than a word: letters, digits and `-._~+/=`, which are the
    /// characters of a bearer token (RFC 6750, section 2.1).
    Word,
    /// As it is.
    Raw,
    /// In double quotes, as JSON has it; YAML and TOML read that alike.
    Json,
    /// A field of libpq's password file: a backslash before `:` and `\` (PostgreSQL manual, "The Password File").
    Pgpass,
    /// In base64 (RFC 4648, section 4).
    Base64,
    /// User name, colon and value in base64 (RFC 7617): the `auth` of a Docker configuration.
    Basic(String),
    /// Percent-encoded, for an address.
    Url,
}

/// What is wrong with a template, and where: a place is one of its `{{`, by number from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub place: usize,
    pub why: String,
    pub help: String,
}

/// The words of quotings that take nothing.
const QUOTINGS: [(&str, Quoting); 5] = [
    ("raw", Quoting::Raw),
    ("json", Quoting::Json),
    ("pgpass", Quoting::Pgpass),
    ("base64", Quoting::Base64),
    ("url", Quoting::Url),
];

const OPEN: &str = "{{";
const CLOSE: &str = "}}";

impl Template {
    /// Reads a text. Fails with everything that is wrong with its places. `known` names values.
    pub fn parse(text: &str, known: &[&str]) -> Result<Self, Vec<Fault>> {
        let (mut pieces, mut faults) = (Vec::new(), Vec::new());
        let mut rest = text;
        for place in 0.. {
            let Some((before, after)) = rest.split_once(OPEN) else { break };
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let mut fault = |why: String, help: &str| faults.push(Fault { place, why, help: help.to_owned() });
            let inside = after.split_once(CLOSE).filter(|(inside, _)| !inside.contains(['\n', '{']));
            let Some((inside, after)) = inside else {
                fault("`{{` is not closed by `}}` on its line".to_owned(), "write {{ NAME }}");
                rest = after;
                continue;
            };
            rest = after;
            let (name, quoting) = inside.split_once('|').map_or((inside, None), |(name, it)| (name, Some(it)));
            let name = name.trim();
            if !known.contains(&name) {
                let why = format!("`{{{{{inside}}}}}` names \"{name}\", which `from` does not have");
                fault(why, &format!("`from` has {}", known.join(", ")));
            }
            let word = quoting.map(str::trim);
            let quoting = word.map_or(Some(Quoting::Word), quoting_of).unwrap_or_else(|| {
                let help = "write json, pgpass, base64, basic:USER, url or raw; without one, the value must be a word";
                fault(format!("\"{}\" is no way to write a value", word.unwrap_or_default()), help);
                Quoting::Raw
            });
            if matches!(pieces.last(), Some(Piece::Value(..))) {
                fault("two values stand side by side".to_owned(), "write something between them");
            }
            pieces.push(Piece::Value(name.to_owned(), quoting));
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        if faults.is_empty() { Ok(Self(pieces)) } else { Err(faults) }
    }

    /// From the beginning to the end.
    pub fn pieces(&self) -> &[Piece] {
        &self.0
    }

    /// The names of its values, in the order of their places.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Value(name, _) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(text),
            Piece::Value(name, Quoting::Word) => write!(f, "{{{{ {name} }}}}"),
            Piece::Value(name, Quoting::Basic(user)) => write!(f, "{{{{ {name} | basic:{user} }}}}"),
            Piece::Value(name, quoting) => {
                let word = QUOTINGS.iter().find(|(_, known)| known == quoting).map_or("", |(word, _)| word);
                write!(f, "{{{{ {name} | {word} }}}}")
            }
        })
    }
}

fn quoting_of(word: &str) -> Option<Quoting> {
    if let Some(user) = word.strip_prefix("basic:") {
        return (!user.is_empty() && !user.contains(':')).then(|| Quoting::Basic(user.to_owned()));
    }
    QUOTINGS.iter().find(|(known, _)| *known == word).map(|(_, quoting)| quoting.clone())
}

/// One value of a template, as a slot of its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateSlot {
    /// What the inventory calls the template.
    pub title: String,
    pub template: Arc<Template>,
    /// Whose value is the slot.
    pub name: String,
    /// All that the template has a place for.
    pub members: Arc<[Member]>,
}

/// A value of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub name: String,
    pub token: TokenName,
    pub part: String,
    /// Of the store that it is.
    pub key: StoreKey,
}

impl TemplateSlot {
    /// The member that is the slot.
    pub fn own(&self) -> Option<&Member> {
        self.members.iter().find(|member| member.name == self.name)
    }

    /// The members that are parts of the slot's token, the slot among them: one write brings all of them.
    pub fn together(&self) -> impl Iterator<Item = &Member> {
        let token = self.own().map(|own| &own.token);
        self.members.iter().filter(move |member| Some(&member.token) == token)
    }

    /// The same slot under another name.
    #[must_use]
    pub fn at(&self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_template_is_told_with_its_place() {
        for (sentence, text, expected) in [
            ("nothing", "a {{ db }} b {{api|json}} c {{ api | basic:ci }}", ""),
            ("no place at all", "a { b } c", ""),
            ("an unknown name", "{{ db }} {{ cd }}", "1: `{{ cd }}` names \"cd\", which `from` does not have"),
            ("an unknown way", "{{ db | yml }}", "0: \"yml\" is no way to write a value"),
            ("a user with a colon", "{{ db | basic:a:b }}", "0: \"basic:a:b\" is no way to write a value"),
            ("no end", "x {{ db\n}}", "0: `{{` is not closed by `}}` on its line"),
            ("side by side", "{{ db }}{{ api }}", "1: two values stand side by side"),
        ] {
            let told = Template::parse(text, &["db", "api"]).map_or_else(
                |faults| faults.iter().map(|it| format!("{}: {}", it.place, it.why)).collect::<Vec<_>>().join("; "),
                |_| String::new(),
            );
            assert_eq!(told, expected, "{sentence}");
        }
    }

    #[test]
    fn a_template_is_shown_as_it_is_read() {
        let text = "a {{ db }} b {{ api | json }} c {{ api | basic:ci }}\n";
        assert_eq!(Template::parse(text, &["db", "api"]).unwrap().to_string(), text);
    }
}
