//! What a file holds, and where in it the secret is: formats, and the places within them. Most of it is stored state.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::template::TemplateSlot;

/// What a file holds, and where in it the secret is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Format {
    /// The secret and nothing else. `newline`: one follows it.
    Whole { newline: bool },
    /// One variable of an env file.
    Env { key: String, dialect: Dialect },
    /// One value of a structured document.
    Document { syntax: Syntax, pointer: Pointer },
    /// One entry of a Java properties file.
    Properties { key: String },
    /// One key of an INI file; without a section, one before the first.
    Ini { section: Option<String>, key: String, reader: IniReader },
    /// The password of a machine and a user in a netrc file.
    Netrc { machine: String, login: String },
    /// The secret of an address in git's credential store.
    GitCredentials { address: CredentialAddress },
    /// The text of an element of an XML document.
    Xml { path: XmlPath },
    /// A value of a text that has places for secrets of several tokens. No agent writes such a file, and no journal has one.
    #[serde(skip)]
    Template(Arc<TemplateSlot>),
    /// A text that stands for the secret, within another format.
    Wrapped { within: Box<Format>, wrap: Wrap },
}

/// Who reads an INI file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum IniReader {
    /// Python's `configparser`, and what reads as it does: pip, twine, AWS.
    Python,
    /// npm.
    Npm,
}

/// What a text says besides the secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Wrap {
    /// This before it.
    Prefix(String),
    /// User name, colon and secret in base64 (RFC 7617).
    Basic { username: String },
    /// The secret, percent-encoded, within an address.
    Address { before: String, after: String },
}

/// An address of git's credential store, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialAddress {
    pub protocol: String,
    pub username: String,
    /// With its port, where it has one.
    pub host: String,
    /// Empty, or with a slash before it.
    pub path: String,
}

/// Where in an XML document a text is: the names of elements from the outside in; `name[child=text]` is the one that has
/// such a child.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct XmlPath(Vec<XmlStep>);

/// One element of a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct XmlStep {
    pub name: String,
    /// A child and its text.
    pub with: Option<(String, String)>,
}

impl XmlPath {
    /// At least two: what the outermost element holds is the document.
    pub fn steps(&self) -> &[XmlStep] {
        &self.0
    }

    /// The password of a server in Maven's settings.
    pub fn maven_password(server: &str) -> Self {
        let step = |name: &str, with| XmlStep { name: name.to_owned(), with };
        let id = Some(("id".to_owned(), server.to_owned()));
        Self(vec![step("settings", None), step("servers", None), step("server", id), step("password", None)])
    }
}

impl FromStr for XmlPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("\"{text}\" is not a path; write for example \"/settings/servers/server[id=ci]/password\"");
        let mut steps = Vec::new();
        let mut rest = text;
        while let Some(step) = rest.strip_prefix('/') {
            let end = step.find(['/', '[']).unwrap_or(step.len());
            let (name, mut after) = step.split_at(end);
            let mut with = None;
            if let Some(inner) = after.strip_prefix('[') {
                let (inner, behind) = inner.split_once(']').ok_or_else(wrong)?;
                let (child, value) = inner.split_once('=').ok_or_else(wrong)?;
                with = Some((child.to_owned(), value.trim_matches(['"', '\'']).to_owned()));
                after = behind;
            }
            let fits = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || ".-_:".contains(c));
            if !fits(name) || with.as_ref().is_some_and(|(child, _)| !fits(child)) {
                return Err(wrong());
            }
            steps.push(XmlStep { name: name.to_owned(), with });
            rest = after;
        }
        if steps.len() < 2 || !rest.is_empty() { Err(wrong()) } else { Ok(Self(steps)) }
    }
}

impl fmt::Display for XmlPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|XmlStep { name, with }| match with {
            Some((child, text)) => write!(f, "/{name}[{child}={text}]"),
            None => write!(f, "/{name}"),
        })
    }
}

impl TryFrom<String> for XmlPath {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<XmlPath> for String {
    fn from(path: XmlPath) -> String {
        path.to_string()
    }
}

impl fmt::Display for CredentialAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, username, host, path } = self;
        write!(f, "{protocol}://{username}@{host}{path}")
    }
}

impl Format {
    /// Whether the file holds more than the secret, which stays as it is.
    pub fn is_shared(&self) -> bool {
        match self {
            Self::Whole { .. } | Self::Template(_) => false,
            Self::Env { .. }
            | Self::Document { .. }
            | Self::Properties { .. }
            | Self::Ini { .. }
            | Self::Netrc { .. }
            | Self::GitCredentials { .. }
            | Self::Xml { .. } => true,
            Self::Wrapped { within, .. } => within.is_shared(),
        }
    }

    /// Whether a write copies something of what the file holds.
    pub fn keeps_others(&self) -> bool {
        self.is_shared() || matches!(self, Self::Template(_))
    }

    /// Whether the secret can be taken out again: it is all of the file, or one entry whose place is found for sure.
    pub fn gives_back(&self) -> bool {
        match self {
            Self::Whole { .. } | Self::Env { .. } | Self::Document { .. } => true,
            Self::Properties { .. }
            | Self::Ini { .. }
            | Self::Netrc { .. }
            | Self::GitCredentials { .. }
            | Self::Xml { .. }
            | Self::Template(_)
            | Self::Wrapped { .. } => false,
        }
    }

    /// The format without what it says besides the secret.
    pub fn bare(&self) -> &Self {
        match self {
            Self::Wrapped { within, .. } => within.bare(),
            other => other,
        }
    }

    /// Whether one file can have a slot of this format and one of `other`.
    pub fn fits(&self, other: &Self) -> bool {
        match (self.bare(), other.bare()) {
            (Self::Env { dialect, .. }, Self::Env { dialect: other, .. }) => dialect == other,
            (Self::Document { syntax, .. }, Self::Document { syntax: other, .. }) => syntax == other,
            (Self::Ini { reader, .. }, Self::Ini { reader: other, .. }) => reader == other,
            (Self::Properties { .. }, Self::Properties { .. })
            | (Self::Netrc { .. }, Self::Netrc { .. })
            | (Self::GitCredentials { .. }, Self::GitCredentials { .. })
            | (Self::Xml { .. }, Self::Xml { .. }) => true,
            _ => false,
        }
    }
}

/// How a structured document is written. Stored state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Syntax {
    Json,
    Yaml,
    Toml,
}

/// Where in a document a value is: a JSON pointer (RFC 6901) to something within the whole. Of a list, `key=text` is the
/// first item that has such a key. Stored state, as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pointer(Vec<String>);

impl Pointer {
    /// A pointer with these tokens, from the outside in; there is at least one.
    pub fn of<const N: usize>(tokens: [&str; N]) -> Self {
        Self(tokens.map(str::to_owned).to_vec())
    }

    /// Names of tables and numbers of items, from the outside in; at least one.
    pub fn tokens(&self) -> &[String] {
        &self.0
    }

    /// Whether one of the two leads into what the other leads to.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0) || other.0.starts_with(&self.0)
    }
}

impl From<Pointer> for String {
    fn from(pointer: Pointer) -> Self {
        pointer.to_string()
    }
}

impl TryFrom<String> for Pointer {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for Pointer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is no pointer; write for example \"/auth/token\"");
        let rest = text.strip_prefix('/').ok_or_else(wrong)?;
        let token = |token: &str| {
            let escapes =
                token.match_indices('~').all(|(at, _)| matches!(token.as_bytes().get(at + 1), Some(b'0' | b'1')));
            escapes.then(|| token.replace("~1", "/").replace("~0", "~")).ok_or_else(wrong)
        };
        rest.split('/').map(token).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|token| write!(f, "/{}", token.replace('~', "~0").replace('/', "~1")))
    }
}

/// The program that reads an env file. It is never guessed from the file's name: readers differ. Stored state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// systemd's `EnvironmentFile=`.
    Systemd,
    /// `docker --env-file`.
    Docker,
    /// compose, godotenv, Node, Python and Ruby at once.
    Dotenv,
    /// `set -a; . FILE` in a POSIX shell.
    PosixSh,
}
