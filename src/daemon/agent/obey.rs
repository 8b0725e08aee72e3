//! What an agent does for an errand. Its own file says what it lets itself be told; what is not allowed is refused, and
//! said to whoever asked.

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::clock::Time;
use crate::hook::{HookEvent, HookRunner, Occasion};
use crate::inventory::{AgentSettings, HookPolicy, HostFile, OnFailure, Pace, number_of_group, number_of_user};
use crate::journal::fleet::agent::Post;
use crate::journal::fleet::errand::{Came, Content, Deed, Errand, ErrandId};
use crate::names::StoreKey;
use crate::outcome::{Failure, FailureCode, Outcome};
use crate::secret::keyring::Keyring;
use crate::secret::{Fingerprinter, SecretParts};
use crate::store::disk::Slot;
use crate::store::{self, Erased, Found};

use super::done::{Age, Log};

/// Permissions of a file that holds a secret: no bit beyond them makes sense.
const PERMISSIONS: u32 = 0o777;

/// What errands are done with.
#[derive(Debug)]
pub struct Hand {
    pub settings: AgentSettings,
    pub post: Post,
    pub log: Mutex<Log>,
    pub hooks: HookRunner,
    /// What is struck out of what hooks say.
    pub keyring: Arc<Keyring>,
    pub fingerprints: Fingerprinter,
}

impl Hand {
    /// Does an errand that was left at `revision`. `None`: it cannot be read.
    pub async fn obey(&self, id: &ErrandId, revision: i64, errand: Option<&Errand>) -> Came {
        let Some(errand) = errand else {
            let what =
                format!("patrold {} on this host does not understand what it is asked", env!("CARGO_PKG_VERSION"));
            return Came::Refused(Failure::new(FailureCode::StoreRefused, what));
        };
        let (store, file) = match &errand.deed {
            Deed::Write { store, file, .. }
            | Deed::Look { store, file }
            | Deed::Rehearse { store, file }
            | Deed::Erase { store, file, .. } => (store, file),
            Deed::Run { .. } => return self.run(errand).await,
        };
        let slot = match self.slot(store, file).await {
            Ok(slot) => slot,
            Err(failure) => return Came::Refused(failure),
        };
        match &errand.deed {
            Deed::Write { secret, .. } => {
                let secret = match self.post.seal().open_errand(id, &errand.token, secret) {
                    Ok(secret) => secret,
                    Err(failure) => return Came::Refused(failure),
                };
                // Struck out of what hooks say.
                let fingerprint = self.fingerprints.of(&secret);
                self.keyring.note(&format!("token {}", errand.token), &fingerprint, &SecretParts::new(secret.clone()));
                let age = self.log.lock().await.age(id, revision);
                if age == Age::Older {
                    let what = "the data of the fleet's engine ran back: this host has a newer secret, and keeps it";
                    return Came::Refused(Failure::new(FailureCode::StoreRefused, what));
                }
                if age == Age::Same
                    && !matches!(store::look_at_file(slot.clone()).await, Ok(look) if is_gone(&look.found))
                {
                    return Came::Done;
                }
                let written = came(store::write_file(slot, secret).await);
                if written != Came::Done {
                    return written;
                }
                match self.log.lock().await.note(id, revision).await {
                    Ok(()) => Came::Done,
                    Err(error) => {
                        let what =
                            format!("what was done cannot be written down in the agent's state directory: {error}");
                        Came::Later(Failure::new(FailureCode::StoreUnwritable, what))
                    }
                }
            }
            Deed::Look { .. } => match store::look_at_file(slot).await {
                Ok(look) => match self.content(id, errand, look.found) {
                    Ok(content) => Came::Holds { content, attributes_ok: look.attributes_ok },
                    Err(failure) => Came::Later(failure),
                },
                Err(failure) => Came::Later(failure),
            },
            Deed::Rehearse { .. } => match store::rehearse_file(slot).await {
                Ok(()) => Came::Done,
                Err(failure) => Came::Later(failure),
            },
            Deed::Erase { secret, .. } => {
                let secret = match self.post.seal().open_errand(id, &errand.token, secret) {
                    Ok(secret) => secret,
                    Err(failure) => return Came::Refused(failure),
                };
                match store::erase_from_file(slot, &secret, self.fingerprints.clone()).await {
                    Ok(Erased::Gone) => Came::Done,
                    Ok(Erased::Stays(why)) => Came::Stays(why),
                    Err(failure) => Came::Later(failure),
                }
            }
            Deed::Run { .. } => self.run(errand).await,
        }
    }

    /// Runs a hook, where it may be run.
    async fn run(&self, errand: &Errand) -> Came {
        let Deed::Run { hook, run, timeout, rotation, attempt, rolled_back } = &errand.deed else { return Came::Done };
        if let Err(why) = self.settings.permits_command(&run.command()) {
            return Came::Refused(Failure::new(FailureCode::HookFailed, format!("the agent {why}")));
        }
        let policy = HookPolicy {
            key: hook.clone(),
            kind: run.kind(),
            timeout: *timeout,
            on_failure: OnFailure::Retry,
            pace: Pace::default(),
            host: None,
        };
        let occasion = Occasion {
            token: errand.token.clone(),
            account: errand.account.clone(),
            // All are alike here.
            deadline: Time::MAX_UTC,
            rotation: *rotation,
            attempt: *attempt,
            event: if *rolled_back { HookEvent::RolledBack } else { HookEvent::Delivered },
            secrets: Arc::<Keyring>::clone(&self.keyring),
        };
        came(self.hooks.run(&policy, occasion).await)
    }

    /// The slot that is meant, where it may be.
    async fn slot(&self, store: &StoreKey, file: &HostFile) -> Result<Slot, Failure> {
        let refused = |why: String| Failure::new(FailureCode::StoreRefused, why);
        self.settings.permits(&file.path).map_err(|why| refused(format!("the agent {why}")))?;
        if file.mode.is_some_and(|mode| mode & !PERMISSIONS != 0) {
            return Err(refused("the agent sets no mode beyond 0777".to_owned()));
        }
        let (key, named) = (store.clone(), file.clone());
        // Names may be looked up in a directory service.
        let found = tokio::task::spawn_blocking(move || named.on_this_machine(number_of_user, number_of_group)).await;
        let file = found.map_err(|error| refused(error.to_string()))?.map_err(refused)?;
        Ok(Slot { key, file })
    }

    fn content(&self, id: &ErrandId, errand: &Errand, found: Found) -> Result<Content, Failure> {
        Ok(match found {
            Found::Absent => Content::Nothing,
            Found::Value(secret) => Content::Value(self.post.seal().seal_answer(id, &errand.token, &secret)?),
            Found::Other | Found::Hidden(_) | Found::Blind => Content::Other,
        })
    }
}

fn is_gone(found: &Found) -> bool {
    matches!(found, Found::Absent)
}

fn came(outcome: Outcome<()>) -> Came {
    match outcome {
        Outcome::Done(()) => Came::Done,
        Outcome::Later { failure, .. } => Came::Later(failure),
        Outcome::Refused(failure) => Came::Refused(failure),
        Outcome::Unknown(failure) => Came::Unknown(failure),
    }
}
