//! `[[notify]]`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use url::Url;

use crate::document::{Located, Spot};
use crate::inventory::spec::{ChannelSpec, MailSpec, ServerSpec, ViaSpec, WebSpec, WhenSpec};
use crate::inventory::{
    ChannelPolicy, Encryption, MailPolicy, MailServer, NoticeCommand, Post, RateLimit, TokenPolicy, Via, WebPolicy,
    When, defaults,
};
use crate::names::{ChannelName, TokenName};
use crate::notice::Each;

use super::account::{site, tls, url};
use super::program::cannot_start;
use super::{Accounts, Context};

/// What channels may name.
pub(super) struct Known<'a> {
    pub accounts: &'a Accounts,
    pub tokens: &'a BTreeMap<TokenName, Arc<TokenPolicy>>,
}

/// Every channel.
pub(super) fn resolve(
    specs: Vec<ChannelSpec>,
    known: &Known<'_>,
    context: &Context<'_>,
) -> BTreeMap<ChannelName, Arc<ChannelPolicy>> {
    let mut places: HashMap<ChannelName, Spot> = HashMap::new();
    let mut channels = BTreeMap::new();
    for spec in specs {
        let Some(name) = spec.name.clone() else { continue };
        if let Some(first) = places.get(&name.value) {
            context.twice(name.spot, &format!("channel \"{}\"", name.value), *first);
            continue;
        }
        places.insert(name.value.clone(), name.spot);
        if let Some(channel) = channel(name.value.clone(), spec, known, context) {
            channels.insert(name.value, Arc::new(channel));
        }
    }
    channels
}

fn channel(name: ChannelName, spec: ChannelSpec, known: &Known<'_>, context: &Context<'_>) -> Option<ChannelPolicy> {
    let what = format!("channel \"{name}\"");
    let when = when(spec.when, known, &what, context);
    let via = via(spec.via?, &what, context)?;
    let listed = matches!(&via, Via::Http(web) if web.form.each == Each::List);
    let of_form = match &via {
        Via::Http(web) => web.form.repeat,
        Via::Mail(_) | Via::Command(_) => None,
    };
    let limit = spec.limit.map(|limit| RateLimit { requests: limit.requests, per: limit.per });
    Some(ChannelPolicy {
        name,
        when,
        via,
        repeat: spec.repeat.or(of_form),
        gather: spec.gather.unwrap_or(defaults::GATHER),
        // A service that has to be told again and again counts for itself.
        limit: limit.or((!listed).then_some(defaults::NOTICES)),
    })
}

fn when(spec: WhenSpec, known: &Known<'_>, what: &str, context: &Context<'_>) -> When {
    let accounts = spec.accounts.iter().filter_map(|name| {
        let found = known.accounts.keys().find(|account| account.as_str() == name.value);
        let names = || known.accounts.keys().map(crate::names::AccountName::as_str);
        found.cloned().or_else(|| unknown(name, "account", names().collect(), what, context))
    });
    let accounts = accounts.collect();
    let tokens = spec.tokens.iter().filter_map(|name| {
        let found = known.tokens.keys().find(|token| token.as_str() == name.value);
        let names = || known.tokens.keys().map(TokenName::as_str);
        found.cloned().or_else(|| unknown(name, "token", names().collect(), what, context))
    });
    When {
        severity: spec.severity.unwrap_or(defaults::SEVERITY),
        lasting: spec.lasting.unwrap_or(defaults::LASTING),
        kinds: spec.kinds,
        tokens: tokens.collect(),
        accounts,
    }
}

fn unknown<T>(name: &Located<String>, kind: &str, known: Vec<&str>, what: &str, context: &Context<'_>) -> Option<T> {
    // Of an inventory that is unsound anyway, not every name is known.
    if context.report.errors() == 0 {
        let message = format!("`when` of {what} names an unknown {kind} \"{}\"", name.value);
        context.report.error_with_help(name.spot, message, context.hint(&name.value, known.into_iter()));
    }
    None
}

fn via(spec: ViaSpec, what: &str, context: &Context<'_>) -> Option<Via> {
    match spec {
        ViaSpec::Http(spec) => web(*spec, what, context).map(|web| Via::Http(Box::new(web))),
        ViaSpec::Mail(spec) => mail(*spec, what, context).map(Via::Mail),
        ViaSpec::Command { argv, pass_env, timeout } => Some(Via::Command(NoticeCommand {
            argv: program(argv, "command", what, context)?,
            pass_env,
            timeout: timeout.unwrap_or(defaults::NOTICE_TIMEOUT),
        })),
    }
}

fn mail(spec: MailSpec, what: &str, context: &Context<'_>) -> Option<MailPolicy> {
    let post = match (spec.sendmail, spec.server) {
        (Some(argv), _) => Post::Program(program(argv, "sendmail", what, context)?),
        (None, Some(server)) => {
            // A program knows whose machine this is; a server does not.
            for address in spec.to.iter().chain(&spec.from).filter(|address| !address.value.contains('@')) {
                let message =
                    format!("\"{}\" is a user of this machine, whom a mail server does not know", address.value);
                context.report.error_with_help(address.spot, message, "write for example \"ops@example.com\"");
            }
            if spec.from.is_none() {
                let message = format!("`via` of {what} lacks `from`");
                let help = "a mail server is told who it comes from: write from = \"patrold@example.com\"";
                context.report.error_with_help(spec.spot, message, help);
            }
            Post::Server(Box::new(mail_server(server, what, context)?))
        }
        (None, None) => Post::Program(defaults::SENDMAIL.map(str::to_owned).to_vec()),
    };
    Some(MailPolicy {
        to: spec.to.into_iter().map(|to| to.value).collect(),
        from: spec.from.map_or_else(|| defaults::MAIL_FROM.to_owned(), |from| from.value),
        post,
        timeout: spec.timeout.unwrap_or(defaults::NOTICE_TIMEOUT),
    })
}

fn mail_server(spec: ServerSpec, what: &str, context: &Context<'_>) -> Option<MailServer> {
    let refuse = |problem: &str, help: &str| {
        context.report.error_with_help(spec.url.spot, format!("`smtp` of {what} {problem}"), help);
        None
    };
    let form = "write for example \"smtps://mail.example.com\", or \"smtp://mail.example.com\" for STARTTLS";
    let url = match Url::parse(&spec.url.value) {
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            context.report.conceal(spec.url.spot);
            return refuse("holds a user name or password", "write `username`, and `password` with its source");
        }
        Ok(url) => url,
        Err(_) => return refuse("is not the address of a mail server", form),
    };
    let encryption = match url.scheme() {
        "smtps" => Encryption::FromTheStart,
        "smtp" if spec.allow_plaintext || url.host_str().is_some_and(MailServer::is_local) => Encryption::WhereOffered,
        "smtp" => Encryption::StartTls,
        _ => return refuse("is neither smtps nor smtp", form),
    };
    let bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    let Some(host) = url.host_str().filter(|host| bare && !host.is_empty()) else {
        return refuse("is not the address of a mail server", form);
    };
    // RFC 8314: 465 for what is encrypted from the start, 587 for submissions with STARTTLS.
    let usual = if encryption == Encryption::FromTheStart { 465 } else { 587 };
    Some(MailServer {
        host: host.trim_matches(['[', ']']).to_owned(),
        port: url.port().unwrap_or(usual),
        encryption,
        login: spec.username.zip(spec.password),
        tls: tls(&spec.tls, what, context),
    })
}

/// A program that some machine can start.
fn program(argv: Located<Vec<String>>, key: &str, what: &str, context: &Context<'_>) -> Option<Vec<String>> {
    if let Some((why, help)) = argv.value.first().and_then(|program| cannot_start(program)) {
        let help = help.replacen("run = ", &format!("{key} = "), 1);
        context.report.error_with_help(argv.spot, format!("`{key}` of {what}: {why}"), help);
        return None;
    }
    Some(argv.value)
}

fn web(spec: WebSpec, what: &str, context: &Context<'_>) -> Option<WebPolicy> {
    let form = &spec.form;
    let title = if form.title.is_empty() { "the form" } else { &form.title };
    if form.credential_is_needed && !spec.has_credential {
        let message = format!("`via` of {what} lacks `credential`");
        let help = format!("{title} needs it: {} Write credential = {{ file = \"/path\" }}", form.credential);
        context.report.error_with_help(spec.spot, message, help);
    }
    let url = match (&spec.url, &form.url) {
        (Some(given), _) if form.address_is_secret => {
            context.report.conceal(given.spot);
            let message = format!("`url` of {what} has no place there: its address is a secret");
            let help = "put it into a file and write credential = { file = \"/path\" }";
            context.report.error_with_help(given.spot, message, help);
            return None;
        }
        (Some(given), _) => Some(url(given, (spec.site.allow_plaintext, None), what, context)?),
        (None, Some(usual)) => Some(usual.clone()),
        (None, None) if form.address_is_secret => None,
        (None, None) => {
            let message = format!("`via` of {what} lacks `url`");
            context.report.error_with_help(spec.spot, message, format!("{title} has no address of its own"));
            return None;
        }
    };
    let mut params = BTreeMap::new();
    for (name, value) in spec.params {
        if form.params.contains(&name.value) {
            params.insert(name.value, value);
        } else {
            let message = format!("`params` of {what}: {title} has no parameter \"{}\"", name.value);
            let known: Vec<&str> = form.params.iter().map(String::as_str).collect();
            context.report.error_with_help(name.spot, message, context.hint(&name.value, known.into_iter()));
        }
    }
    for name in form.params.iter().filter(|name| !params.contains_key(*name)) {
        let message = format!("`via` of {what} lacks the parameter `{name}`");
        context.report.error_with_help(spec.spot, message, format!("write params = {{ {name} = \"…\" }}"));
    }
    Some(WebPolicy {
        site: site(&spec.site, spec.timeout.unwrap_or(defaults::NOTICE_TIMEOUT), what, context),
        form: spec.form,
        url,
        credential: spec.credential.map(|found| found.value),
        params,
    })
}
