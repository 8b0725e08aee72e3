//! `patrold init`: an inventory with one account whose credential works.

use std::fs::DirBuilder;
use std::io::Write as _;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use rustix::fs::{MemfdFlags, memfd_create};
use url::Url;
use zeroize::Zeroizing;

use crate::clock::{Clock as _, SystemClock};
use crate::daemon::checkup;
use crate::definition::Definitions;
use crate::durable::{Attributes, Cause, DurableError, Phase, Target};
use crate::exit::Exit;
use crate::inventory::environment::MAIN_FILE;
use crate::inventory::{Environment, load_text};
use crate::names::AccountName;
use crate::outcome::{FailureCode, Outcome};
use crate::provider::{Params, Provider};
use crate::view::check::render_report;

use super::ask::Ask;
use super::draft::{self, AccountDraft, Given};
use super::params::{self, Finder};
use super::{Complaint, Console, credentials, definitions, runtime};

/// Where credentials are kept, beside the inventory.
const FOLDER: &str = "credentials";

/// How often somebody may try who types.
const TRIES: usize = 3;

/// Arguments of `patrold init`.
#[derive(Clone, Debug, Args)]
pub struct InitArgs {
    /// The provider, as `patrold provider list` calls it
    #[arg(value_name = "PROVIDER")]
    provider: String,
    /// The address of the service
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The user that the account authenticates as, where it does so with a password
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// The file that holds the credential or the password, `-` for standard input; without it, it is asked for
    #[arg(long, value_name = "FILE")]
    credential_file: Option<PathBuf>,
    /// What the account is called in the inventory; by default like the provider
    #[arg(long, value_name = "NAME")]
    account: Option<AccountName>,
    /// Certificates in PEM that the service may prove itself with, instead of the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<String>,
    /// A parameter that all tokens of the account share
    #[arg(long = "param", value_name = "NAME=VALUE")]
    params: Vec<String>,
}

/// What somebody answered.
struct Answers {
    url: Option<String>,
    username: Option<String>,
    params: Given,
    credential: Option<Zeroizing<Vec<u8>>>,
}

/// Makes the inventory, once the credential is proven.
pub(super) fn run(args: &InitArgs, named: Option<&Path>, console: &mut Console) -> Result<Exit, Complaint> {
    let place = Place::new(args, named)?;
    let mut ask = Ask::new();
    let mut tries = 1..TRIES;
    let (mut given, mut former) = (args.clone(), Former::default());
    loop {
        let answers = gather(&given, &former, &place, &mut ask)?;
        let (url, username) = (answers.url.clone(), answers.username.clone());
        let credential = answers.credential.clone();
        match prove(args, &place, answers, &mut ask, console) {
            Ok((answers, evidence)) => return finish(args, &place, &answers, &evidence, console),
            Err(complaint) => {
                let reached = !complaint.code.is_some_and(is_on_the_way);
                // Where the address is not asked for, another answer cannot help.
                let helps = reached || url.is_some();
                if !(helps && ask.is_terminal() && args.credential_file.is_none() && tries.next().is_some()) {
                    return Err(complaint);
                }
                console.warn(&complaint)?;
                // Anything may be wrong that somebody answered: an empty answer keeps it.
                given = InitArgs { url: None, username: None, ..args.clone() };
                former = Former { url, username, credential: credential.filter(|_| !reached) };
            }
        }
    }
}

/// Whether a request failed before the provider looked at its credential.
fn is_on_the_way(code: FailureCode) -> bool {
    matches!(
        code,
        FailureCode::Connect
            | FailureCode::Resolve
            | FailureCode::Proxy
            | FailureCode::UnknownIssuer
            | FailureCode::CertificateExpired
            | FailureCode::CertificateName
            | FailureCode::NotTls
            | FailureCode::Tls
            | FailureCode::CaFile
            | FailureCode::Timeout
    )
}

/// What was answered the time before.
#[derive(Default)]
struct Former {
    url: Option<String>,
    username: Option<String>,
    /// Nobody has looked at it yet: it is not asked for again.
    credential: Option<Zeroizing<Vec<u8>>>,
}

/// What is made, and where.
struct Place {
    main: PathBuf,
    account: AccountName,
    provider: Arc<Provider>,
    /// Beside the main file; its own directory may not be there.
    kept: PathBuf,
}

impl Place {
    /// An error where something is there already.
    fn new(args: &InitArgs, named: Option<&Path>) -> Result<Self, Complaint> {
        let main = named.map_or_else(|| PathBuf::from(MAIN_FILE), Path::to_owned);
        if main.symlink_metadata().is_ok() {
            return Err(Complaint::invalid(format!("{} is there already", main.display()))
                .with_help("`patrold add TOKEN` adds a token to it; `--config FILE` makes another one"));
        }
        let provider = definitions::find(&Definitions::builtin(), &args.provider, definitions::Kind::Provider)?;
        let account = match &args.account {
            Some(account) => account.clone(),
            None => provider.name.as_str().parse().map_err(|_| {
                Complaint::invalid("the account cannot be called like its provider")
                    .with_help("name it: --account NAME")
            })?,
        };
        let absolute = std::path::absolute(&main)?;
        let directory = absolute.parent().filter(|directory| directory.is_dir()).ok_or_else(|| {
            Complaint::invalid(format!("the directory of {} is not there", main.display())).with_help("make it first")
        })?;
        let kept = directory.join(FOLDER).join(account.as_str());
        if kept.symlink_metadata().is_ok() {
            return Err(Complaint::invalid(format!("{} is there already", kept.display()))
                .with_help("remove it, or name the account otherwise: --account NAME"));
        }
        Ok(Self { main: absolute, account, provider, kept })
    }
}

fn gather(args: &InitArgs, former: &Former, place: &Place, ask: &mut Ask) -> Result<Answers, Complaint> {
    let provider = &place.provider;
    let url = match provider.default_url() {
        Some(_) if args.url.is_none() => None,
        _ => {
            let (question, usual) = match &former.url {
                Some(url) => ("Address of the service", Some(url.as_str())),
                None => ("Address of the service (https://…)", None),
            };
            ask.value_or("--url", question, args.url.as_deref(), usual, address)?
        }
    };
    let any = |text: &str| Ok::<_, String>(text.to_owned());
    let username = match &args.username {
        Some(username) => Some(username.clone()),
        None if former.credential.is_some() => former.username.clone(),
        None if provider.takes_username() && ask.is_terminal() && args.credential_file.is_none() => {
            match &former.username {
                Some(name) => ask.value_or("--username", "User name (- to use a token)", None, Some(name), any)?,
                None => ask.value("--username", "User name (leave empty to use a token)", None, any)?,
            }
        }
        None => None,
    };
    let username = username.filter(|username| !username.is_empty() && username != "-");
    let mut params = params::parse(provider, &args.params)?;
    let needed = provider.listing_params();
    params::ask(provider, &mut params, ask, |name| needed.contains(name))?;
    let question = if username.is_some() { "Password" } else { "Credential (a token or key of the service)" };
    let credential = if former.credential.is_some() {
        former.credential.clone()
    } else if provider.needs_credential() {
        ask.secret("--credential-file", question, args.credential_file.as_deref())?
    } else {
        None
    };
    ask.complete()?;
    Ok(Answers { url, username, params, credential })
}

fn address(text: &str) -> Result<String, &'static str> {
    match Url::parse(text) {
        Ok(url) if url.has_host() && matches!(url.scheme(), "https" | "http") => Ok(text.to_owned()),
        _ => Err("that is not a URL; write for example https://api.example.com"),
    }
}

/// Asks the provider whether it accepts the credential, and for the parameters that it tells. Nothing is written: the
/// credential is in memory only.
fn prove(
    args: &InitArgs,
    place: &Place,
    mut answers: Answers,
    ask: &mut Ask,
    console: &mut Console,
) -> Result<(Answers, String), Complaint> {
    let memory = answers.credential.as_ref().map(|credential| in_memory(credential)).transpose()?;
    let path = memory.as_ref().map(|memory| PathBuf::from(format!("/proc/self/fd/{}", memory.as_raw_fd())));
    let text = draft::inventory(&account(args, place, &answers, path.as_deref()));
    let loaded = load_text(&place.main, &text, &Environment::of_process(&place.main), SystemClock.now());
    let Some(inventory) = loaded.inventory else {
        return Err(Complaint::invalid(render_report(&loaded.report, console.err_paint).trim_end().to_owned()));
    };
    runtime()?.block_on(async {
        let (accounts, _) = credentials::accounts(&inventory, None, |_| true).await?;
        let member = accounts.get(&place.account);
        let member = member.ok_or_else(|| Complaint::failed("the account cannot be asked"))?;
        let client = member.client().map_err(|failure| Complaint::failed(failure.to_string()))?;
        Finder { client, provider: &place.provider }.find(&mut answers.params, ask).await?;
        let params: Params = answers.params.clone().into_iter().collect();
        match client.probe(&params).await {
            Outcome::Done(proof) => Ok((answers, checkup::told(proof).1)),
            Outcome::Later { failure, .. } | Outcome::Refused(failure) | Outcome::Unknown(failure) => {
                Err(Complaint::failed(format!("{}: {failure}", place.provider.name))
                    .of(failure.code)
                    .with_help("nothing was written; check address, user name and credential"))
            }
        }
    })
}

/// A file that is nowhere on a disk.
fn in_memory(content: &[u8]) -> Result<OwnedFd, Complaint> {
    let failed = |error: std::io::Error| Complaint::failed(format!("the credential cannot be held in memory: {error}"));
    let memory = memfd_create("credential", MemfdFlags::CLOEXEC).map_err(|error| failed(error.into()))?;
    let mut file = std::fs::File::from(memory);
    file.write_all(content).map_err(failed)?;
    Ok(file.into())
}

fn account<'a>(
    args: &'a InitArgs,
    place: &'a Place,
    answers: &'a Answers,
    credential: Option<&'a Path>,
) -> AccountDraft<'a> {
    AccountDraft {
        name: place.account.as_str(),
        provider: place.provider.name.as_str(),
        url: answers.url.as_deref(),
        username: answers.username.as_deref(),
        ca_file: args.ca_file.as_deref(),
        params: &answers.params,
        credential,
    }
}

/// Writes credential and inventory. The inventory comes last; where it cannot be written, nothing is left.
fn finish(
    args: &InitArgs,
    place: &Place,
    answers: &Answers,
    evidence: &str,
    console: &mut Console,
) -> Result<Exit, Complaint> {
    let folder = place.kept.parent().unwrap_or(Path::new("/"));
    let made = answers.credential.is_some() && DirBuilder::new().mode(0o700).create(folder).is_ok();
    let written = write(args, place, answers);
    if let Err(error) = &written {
        // Only what was made here.
        if error.credential_written {
            let _ = std::fs::remove_file(&place.kept);
        }
        if made {
            let _ = std::fs::remove_dir(folder);
        }
    }
    written.map_err(|error| Complaint::failed(format!("{}; nothing was written", error.cause)))?;
    let (main, account) = (place.main.display(), &place.account);
    writeln!(console.out, "{account}: {evidence}")?;
    if answers.credential.is_some() {
        writeln!(console.out, "made {} (mode 0600)", place.kept.display())?;
    }
    writeln!(console.out, "made {main}")?;
    // Standard error is not buffered.
    console.out.flush()?;
    console.note("next: `patrold add NAME` adds a token")?;
    Ok(Exit::Fine)
}

struct WriteError {
    cause: DurableError,
    credential_written: bool,
}

fn write(args: &InitArgs, place: &Place, answers: &Answers) -> Result<(), WriteError> {
    let mut credential_written = false;
    let mut each = || {
        if let Some(credential) = &answers.credential {
            create(&place.kept, credential, Attributes::PRIVATE)?;
            credential_written = true;
        }
        let text = draft::inventory(&account(args, place, answers, None));
        create(&place.main, text.as_bytes(), Attributes { mode: 0o644, ..Attributes::PRIVATE })
    };
    each().map_err(|cause| WriteError { cause, credential_written })
}

/// Writes a file that is not there.
fn create(path: &Path, content: &[u8], attributes: Attributes) -> Result<(), DurableError> {
    Target::open(path)?.replace_checked(content, attributes, |phase| match phase {
        Phase::Rename if path.symlink_metadata().is_ok() => {
            Err(Cause::Refused("somebody made it meanwhile: it is not overwritten".to_owned()))
        }
        _ => Ok(()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_name_is_asked_for_where_the_provider_takes_one() {
        let definitions = Definitions::builtin();
        for (name, expected) in
            [("awx", true), ("aap-gateway", true), ("pointone", false), ("aws-iam-access-key", true)]
        {
            assert_eq!(definitions.get(name).unwrap().takes_username(), expected, "{name}");
        }
        // An example that uses one is right.
        for provider in definitions.providers().filter(|provider| provider.example.contains("username =")) {
            assert!(provider.takes_username(), "{}", provider.name);
        }
    }
}
