//! Lets messages leave: over HTTP, by mail, to a program.

use std::ffi::OsString;
use std::future::pending;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::Url;
use zeroize::Zeroizing;

use crate::clock::{Clock, Time};
use crate::endpoint::single::Caller;
use crate::inventory::{ChannelPolicy, MailPolicy, MailServer, NoticeCommand, Post, Via, WebPolicy, is_loopback};
use crate::names::hex;
use crate::notice::{Filling, Message, Source};
use crate::outcome::{Failure, FailureCode, one_line};
use crate::process::{self, End, Output};
use crate::secret::redact::Secrets as _;
use crate::secret::{Secret, random};

use super::smtp;

/// How much of what a service or a program said goes into a failure, in characters.
const SAID: usize = 200;

/// What became of a message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sent {
    /// So many of its conditions were told, from the first one on.
    pub told: usize,
    /// In so many messages.
    pub messages: usize,
    /// Why no more were, and before when it is not to be tried again.
    pub failure: Option<(Failure, Option<Time>)>,
}

/// Lets messages leave.
#[derive(Debug)]
pub struct Sender<C> {
    pub clock: C,
    /// Sends requests; its secrets are struck out of everything.
    pub caller: Caller,
    pub source: Source,
}

impl Sent {
    fn all(conditions: usize) -> Self {
        Self { told: conditions, messages: 1, failure: None }
    }

    fn failed(detail: impl Into<String>) -> Self {
        Self { failure: Some((Failure::new(FailureCode::ChannelFailed, detail), None)), ..Self::default() }
    }
}

impl<C: Clock> Sender<C> {
    /// Tells `message` through the channel.
    pub async fn send(&self, channel: &ChannelPolicy, message: &Message) -> Sent {
        let message = self.clean(message).await;
        let mut sent = match &channel.via {
            Via::Http(web) => self.over_http(channel, web, &message).await,
            Via::Mail(mail) => match &mail.post {
                Post::Program(argv) => run(argv, Vec::new(), mail_text(mail, &message), mail.timeout, &message).await,
                Post::Server(server) => self.to_server(channel, mail, server, &message).await,
            },
            Via::Command(command) => to_program(channel, command, &message).await,
        };
        if let Some((failure, _)) = &mut sent.failure {
            *failure = self.caller.keyring.clean_failure(failure.clone()).await;
        }
        sent
    }

    /// The message without any secret that this process has or could open: what failed may have quoted one.
    async fn clean(&self, message: &Message) -> Message {
        let redactor = self.caller.keyring.redactor().await;
        let mut message = message.clone();
        for entry in &mut message.entries {
            entry.why = redactor.clean(&entry.why);
            entry.help = redactor.clean(&entry.help);
        }
        message
    }

    async fn to_server(
        &self,
        channel: &ChannelPolicy,
        mail: &MailPolicy,
        server: &MailServer,
        message: &Message,
    ) -> Sent {
        let login = match &server.login {
            None => None,
            Some((username, source)) => match self.caller.read(&owner(channel), source).await {
                Ok(password) => Some((username.clone(), password)),
                Err(failure) => return Sent::failed(failure.detail),
            },
        };
        // A program adds what lacks; a server may refuse what comes without (RFC 6409, 8.3).
        let domain = mail.from.split_once('@').map_or("localhost", |(_, domain)| domain);
        let id = hex(&random::bytes::<16>());
        let text = format!("Message-ID: <{id}@{domain}>\n{}", mail_text(mail, message));
        let delivering = smtp::deliver(server, login, (&mail.from, &mail.to), &text);
        match tokio::time::timeout(mail.timeout, delivering).await {
            Ok(Ok(())) => Sent::all(message.entries.len()),
            Ok(Err(why)) => Sent::failed(why),
            Err(_) => {
                let waited = humantime::format_duration(mail.timeout);
                Sent::failed(format!("{} did not take it within {waited}", server.host))
            }
        }
    }

    async fn over_http(&self, channel: &ChannelPolicy, web: &WebPolicy, message: &Message) -> Sent {
        let credential = match &web.credential {
            Some(source) => match self.caller.read(&owner(channel), source).await {
                Ok(secret) => Some(secret),
                Err(failure) => return Sent::failed(failure.detail),
            },
            None => None,
        };
        let url = match (&web.url, &credential) {
            (Some(url), _) => url.clone(),
            (None, Some(secret)) => match secret_address(secret) {
                Ok(url) => url,
                Err(why) => return Sent::failed(why),
            },
            (None, None) => return Sent::failed("it has no address"),
        };
        let filling = Filling { message, url: &url, credential: credential.as_ref(), params: &web.params };
        let requests = match web.form.requests(&filling) {
            Ok(requests) => requests,
            Err(why) => return Sent::failed(format!("the form cannot be filled in: {why}")),
        };
        let endpoint = match self.caller.endpoint(self.clock.clone(), &owner(channel), &web.site, &url).await {
            Ok(endpoint) => endpoint,
            Err(why) => return Sent::failed(why),
        };
        let mut sent = Sent::default();
        for (request, conditions) in requests {
            match endpoint.deliver(request, "notify", &[], web.site.timeout).await {
                Ok(()) => {
                    sent.told += conditions;
                    sent.messages += 1;
                }
                Err((why, not_before)) => {
                    sent.failure = Some((Failure::new(FailureCode::ChannelFailed, why), not_before));
                    break;
                }
            }
        }
        sent
    }
}

/// Whose secrets a channel's are.
fn owner(channel: &ChannelPolicy) -> String {
    format!("channel {}", channel.name)
}

/// An address that a credential is. What is wrong with it is said without it.
fn secret_address(secret: &Secret) -> Result<Url, &'static str> {
    let url = Url::parse(secret.expose()).map_err(|_| "its credential has to be an address, and is none")?;
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        _ => Err("its credential is an address without https"),
    }
}

async fn to_program(channel: &ChannelPolicy, command: &NoticeCommand, message: &Message) -> Sent {
    let passed = command.pass_env.iter().filter_map(|name| Some((name.into(), std::env::var_os(name)?)));
    let own = [
        ("PATROLD_EVENT", "notify".to_owned()),
        ("PATROLD_CHANNEL", channel.name.to_string()),
        ("PATROLD_SEVERITY", message.severity().word().to_owned()),
        ("PATROLD_TURN", message.turn().word().to_owned()),
        ("PATROLD_TITLE", message.title()),
    ];
    let own = own.into_iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let variables = passed.chain(own).collect();
    run(&command.argv, variables, message.to_json().to_string(), command.timeout, message).await
}

/// Runs a program with `input`; what it says is told where it fails.
async fn run(
    argv: &[String],
    variables: Vec<(OsString, OsString)>,
    input: String,
    timeout: Duration,
    message: &Message,
) -> Sent {
    let program = argv.first().map_or("", String::as_str);
    let Some(mut command) = process::command(argv) else { return Sent::failed("there is no program") };
    command.envs(variables);
    let said = Output::end(4096);
    let input = Some(Zeroizing::new(input.into_bytes()));
    let why = match process::run_with(&mut command, input, timeout, pending(), (&said, &said)).await {
        Ok(End::Exited(status)) if status.success() => return Sent::all(message.entries.len()),
        Ok(End::Exited(status)) => format!("{program} {}", process::describe(status)),
        Ok(End::TimedOut | End::Stopped | End::TooMuch) => {
            format!("{program} ran longer than {} and was killed", humantime::format_duration(timeout))
        }
        Err(error) => format!("cannot start {program}: {error}"),
    };
    let said = one_line(&said.text(), SAID);
    let colon = if said.is_empty() { "" } else { ": " };
    Sent::failed(format!("{why}{colon}{said}"))
}

/// Headers and text, as `sendmail -t` reads them.
fn mail_text(mail: &MailPolicy, message: &Message) -> String {
    let mut lines = vec![
        format!("From: {}", mail.from),
        format!("To: {}", mail.to.join(", ")),
        format!("Subject: {}", encoded(&one_line(&message.title(), SAID))),
        format!("Date: {}", message.at.to_rfc2822()),
        // RFC 3834: nobody answers a machine.
        "Auto-Submitted: auto-generated".to_owned(),
        "MIME-Version: 1.0".to_owned(),
        "Content-Type: text/plain; charset=utf-8".to_owned(),
        "Content-Transfer-Encoding: 8bit".to_owned(),
    ];
    if let [entry] = message.entries.as_slice() {
        // Readers of mail put what is told of one condition into one thread.
        lines.push(format!("References: <{}@patrold.invalid>", entry.id(&message.source)));
    }
    lines.push(String::new());
    lines.push(message.text());
    lines.push(String::new());
    lines.join("\n")
}

/// A header's text in ASCII: RFC 2047.
fn encoded(text: &str) -> String {
    const LONGEST: usize = 45;
    if text.is_ascii() {
        return text.to_owned();
    }
    let mut words = vec![String::new()];
    for c in text.chars() {
        if words.last().is_some_and(|word| word.len() + c.len_utf8() > LONGEST) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.push(c);
        }
    }
    let words: Vec<_> = words.iter().map(|word| format!("=?utf-8?B?{}?=", STANDARD.encode(word))).collect();
    words.join("\n ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::InstanceId;
    use crate::notice::{ConditionKey, Entry, Kind, Severity, Turn};

    fn message(subject: &str) -> Message {
        let at = Time::UNIX_EPOCH;
        let entry = Entry {
            key: ConditionKey { kind: Kind::Failing, subject: subject.to_owned() },
            turn: Turn::Opened,
            severity: Severity::Error,
            account: None,
            token: None,
            why: "no\n.\nroom".to_owned(),
            help: String::new(),
            since: at,
            until: None,
        };
        let source = Source { instance: InstanceId::new([1, 2, 3, 4]), host: "web1".to_owned() };
        Message { at, source, entries: vec![entry], left_out: 0 }
    }

    #[test]
    fn mail_has_the_headers_that_it_needs_and_no_others() {
        let mail = MailPolicy {
            to: vec!["ops@example.com".to_owned(), "root".to_owned()],
            from: "patrold".to_owned(),
            post: Post::Program(Vec::new()),
            timeout: Duration::from_secs(1),
        };
        let text = mail_text(&mail, &message("gps\nBcc: x@example.com"));
        let (head, _) = text.split_once("\n\n").unwrap();
        assert!(head.starts_with("From: patrold\nTo: ops@example.com, root\nSubject: patrold on web1: "), "{head}");
        let names: Vec<_> = head.lines().filter_map(|line| Some(line.split_once(": ")?.0)).collect();
        assert!(!names.contains(&"Bcc"), "a name cannot begin a header: {head}");
    }

    #[test]
    fn a_subject_that_is_not_ascii_is_encoded_in_short_words() {
        let subject = encoded(&"tökén ".repeat(20));
        assert!(subject.is_ascii() && subject.lines().all(|line| line.len() <= 76), "{subject}");
        let decoded: String = subject
            .lines()
            .map(|line| STANDARD.decode(line.trim().trim_start_matches("=?utf-8?B?").trim_end_matches("?=")).unwrap())
            .map(|word| String::from_utf8(word).unwrap())
            .collect();
        assert_eq!(decoded, "tökén ".repeat(20));
    }

    #[test]
    fn an_address_that_is_a_secret_is_never_told() {
        for (sentence, text, fine) in [
            ("a webhook", "https://hooks.example.com/T0/x", true),
            ("this machine", "http://127.0.0.1:1/x", true),
            ("plain text over a network", "http://hooks.example.com/T0/x", false),
            ("no address", "T0/x", false),
        ] {
            let result = secret_address(&Secret::new(text));
            assert_eq!(result.is_ok(), fine, "{sentence}");
            assert!(!result.err().unwrap_or_default().contains("T0"), "{sentence}");
        }
    }
}
