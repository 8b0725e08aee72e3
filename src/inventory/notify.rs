//! How people are told: a channel for each `[[notify]]`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::clock::Span;
use crate::names::{AccountName, ChannelName, TokenName};
use crate::notice::{Condition, ConditionKey, Each, Form, Kind, Severity};
use crate::secret::SecretSource;

use super::{RateLimit, SitePolicy};

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

/// Mail, handed to a program that takes it as `sendmail -t` does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailPolicy {
    pub to: Vec<String>,
    pub from: String,
    /// Program and arguments; it reads headers and text on its standard input.
    pub sendmail: Vec<String>,
    pub timeout: Duration,
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
        let web = match &self.via {
            Via::Http(web) => Some(web),
            Via::Mail(_) | Via::Command(_) => None,
        };
        web.into_iter().flat_map(|web| web.credential.iter().chain(web.site.secrets()))
    }

    /// How its messages leave, in a few words.
    pub fn way(&self) -> String {
        match &self.via {
            Via::Http(web) => match &web.url {
                Some(url) => format!("{} at {}", web.form.name, url.host_str().unwrap_or_default()),
                None => web.form.name.clone(),
            },
            Via::Mail(mail) => format!("mail to {}", mail.to.join(", ")),
            Via::Command(command) => format!("command {}", command.argv.first().map_or("", String::as_str)),
        }
    }
}
