//! How people are told: a channel for each `[[notify]]`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::clock::Span;
use crate::names::{AccountName, ChannelName, TokenName};
use crate::notice::{Condition, ConditionKey, Each, Form, Kind, Severity};
use crate::secret::SecretSource;
use crate::trust::TlsPolicy;

use super::{RateLimit, SitePolicy, is_loopback};

/// One `[[notify]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelPolicy {
    pub name: ChannelName,
    pub when: When,
    pub via: Via,
    /// How long after a condition was told it is told again while it is open.
    pub repeat: Option<Span>,
    /// How long the first change waits for others, to go into one message.
    pub gather: Span,
    /// `None`: as many messages as there are.
    pub limit: Option<RateLimit>,
}

/// Which conditions a channel tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct When {
    /// These and worse ones.
    pub severity: Severity,
    /// How long a condition has to be open before it is told.
    pub lasting: Span,
    /// Only these kinds; empty: all.
    pub kinds: BTreeSet<Kind>,
    /// Only what concerns these accounts or tokens; both empty: everything.
    pub accounts: BTreeSet<AccountName>,
    pub tokens: BTreeSet<TokenName>,
}

/// How a channel's messages leave.
#[derive(Clone, Debug, PartialEq)]
pub enum Via {
    Http(Box<WebPolicy>),
    Mail(MailPolicy),
    Command(NoticeCommand),
}

/// A service that takes messages over HTTP.
#[derive(Clone, Debug, PartialEq)]
pub struct WebPolicy {
    pub form: Arc<Form>,
    /// `None`: the credential is the address.
    pub url: Option<Url>,
    pub credential: Option<SecretSource>,
    /// What the form's templates call `params`.
    pub params: BTreeMap<String, String>,
    pub site: SitePolicy,
}

/// Mail.
#[derive(Clone, Debug, PartialEq)]
pub struct MailPolicy {
    pub to: Vec<String>,
    pub from: String,
    pub post: Post,
    pub timeout: Duration,
}

/// Who takes mail.
#[derive(Clone, Debug, PartialEq)]
pub enum Post {
    /// Program and arguments; it reads headers and text on its standard input, as `sendmail -t` does.
    Program(Vec<String>),
    Server(Box<MailServer>),
}

/// A server that takes mail by SMTP.
#[derive(Clone, Debug, PartialEq)]
pub struct MailServer {
    /// A name or an address.
    pub host: String,
    pub port: u16,
    pub encryption: Encryption,
    /// Name, and where the password is.
    pub login: Option<(String, SecretSource)>,
    pub tls: TlsPolicy,
}

/// When a connection to a mail server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// From its first byte.
    FromTheStart,
    /// By STARTTLS, before anything is sent.
    StartTls,
    /// By STARTTLS where the server offers it; else not.
    WhereOffered,
}

impl MailServer {
    /// Whether it is this machine, by its name.
    pub fn is_local(host: &str) -> bool {
        Url::parse(&format!("http://{host}/")).is_ok_and(|url| is_loopback(&url))
    }

    /// The host as an address has it.
    pub fn bracketed(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }

    /// Its address, as an inventory has it.
    pub fn url(&self) -> String {
        let scheme = if self.encryption == Encryption::FromTheStart { "smtps" } else { "smtp" };
        format!("{scheme}://{}:{}", self.bracketed(), self.port)
    }
}

/// A program that reads the message as JSON on its standard input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeCommand {
    pub argv: Vec<String>,
    /// Names of the daemon's environment variables that it may see.
    pub pass_env: Vec<String>,
    pub timeout: Duration,
}

impl ChannelPolicy {
    /// Whether it tells of `condition`.
    pub fn tells(&self, key: &ConditionKey, condition: &Condition) -> bool {
        let When { severity, kinds, accounts, tokens, .. } = &self.when;
        let everything = accounts.is_empty() && tokens.is_empty();
        let concerns = || {
            condition.account.as_ref().is_some_and(|account| accounts.contains(account))
                || condition.token.as_ref().is_some_and(|token| tokens.contains(token))
        };
        let own = key.kind == Kind::ChannelFailing && key.subject == self.name.as_str();
        condition.severity >= *severity
            && (kinds.is_empty() || kinds.contains(&key.kind))
            && (everything || concerns())
            && !own
    }

    /// Whether each condition goes into a message of its own.
    pub fn each(&self) -> Each {
        match &self.via {
            Via::Http(web) => web.form.each,
            Via::Mail(_) | Via::Command(_) => Each::Message,
        }
    }

    /// Everything secret that it refers to.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretSource> {
        let (web, login) = match &self.via {
            Via::Http(web) => (Some(web), None),
            Via::Mail(MailPolicy { post: Post::Server(server), .. }) => (None, server.login.as_ref()),
            Via::Mail(_) | Via::Command(_) => (None, None),
        };
        let of_web = web.into_iter().flat_map(|web| web.credential.iter().chain(web.site.secrets()));
        of_web.chain(login.map(|(_, password)| password))
    }

    /// How its messages leave, in a few words.
    pub fn way(&self) -> String {
        match &self.via {
            Via::Http(web) => match &web.url {
                Some(url) => format!("{} at {}", web.form.name, url.host_str().unwrap_or_default()),
                None => web.form.name.clone(),
            },
            Via::Mail(mail) => match &mail.post {
                Post::Program(_) => format!("mail to {}", mail.to.join(", ")),
                Post::Server(server) => format!("mail to {} by {}", mail.to.join(", "), server.host),
            },
            Via::Command(command) => format!("command {}", command.argv.first().map_or("", String::as_str)),
        }
    }
}
