//! `patrold agent`: the program on a host of consumers that writes what a fleet has for them. It asks no provider, and
//! knows no secret but those of its host.
//!
//! Law: it obeys its own file. Whoever writes the engine of the fleet has no more power here than that file gives.

mod done;
mod errands;
mod obey;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, sleep, timeout};

use crate::clock::{Clock, SystemClock};
use crate::endpoint::Workshop;
use crate::endpoint::limits::Limits;
use crate::endpoint::single::Caller;
use crate::event;
use crate::hook::HookRunner;
use crate::inventory::AgentSettings;
use crate::journal::archive::{Archive, OpenError};
use crate::journal::fleet::agent::{News, Post, Posted};
use crate::journal::fleet::errand::{Answer, Came, Deed, Errand, ErrandId};
use crate::journal::fleet::hosts::Agent;
use crate::journal::fleet::{EngineError, FleetError, boot};
use crate::outcome::{Failure, FailureCode};
use crate::secret::keyring::Keyring;
use crate::secret::{Fingerprinter, random, source};

use self::done::Log;
use self::errands::{Ended, Errands, Task};
use self::obey::Hand;
use super::serve::Signals;
use super::systemd::Systemd;

/// How long it is waited before an engine that is away is asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// How often everything is read anew that the watch tells: a connection that died in silence tells nothing.
const FOLLOWED: Duration = Duration::from_secs(30);

/// How often it is noted that the agent was seen.
const SEEN_EVERY: Duration = Duration::from_secs(30);

/// Errands that are done at once.
const AT_ONCE: usize = 16;

/// How long what is under way may take when the agent ends.
const LAST_ERRANDS: Duration = Duration::from_secs(30);

/// Why an agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error(transparent)]
    Fleet(#[from] FleetError),
    #[error("the key of the host: {0}")]
    Key(Failure),
    /// Another process has the state directory.
    #[error(transparent)]
    State(OpenError),
    #[error("an agent of host {host} lives already, started at {since}")]
    Taken { host: String, since: crate::clock::Time },
    #[error("{0}")]
    Refused(EngineError),
    #[error("{0}")]
    System(#[from] std::io::Error),
}

impl AgentError {
    /// How to go on, where the message itself does not say so.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Fleet(error) => error.help(),
            Self::Key(_) => {
                Some("`patrold fleet host-key HOST` on a replica prints it; put it into the file that `key` names")
            }
            Self::State(error) => error.help(),
            Self::Taken { .. } => Some("give each host its own `host` in [agent], and run one agent on each"),
            Self::Refused(_) | Self::System(_) => None,
        }
    }
}

/// Runs the agent until a signal ends it.
pub async fn serve(settings: AgentSettings) -> Result<(), AgentError> {
    super::hardening::apply();
    let systemd = Systemd::of_process();
    // Before anything slow, so that no signal is lost.
    let mut signals = Signals::new()?;
    let work = async {
        let (place, now) = (Archive::of(&settings.state_dir), SystemClock.now());
        let locked = tokio::task::spawn_blocking(move || place.lock(now)).await.map_err(std::io::Error::other)?;
        let lock = locked.map_err(AgentError::State)?;
        let key = source::read(&settings.key).await.map_err(AgentError::Key)?;
        let post = open(&settings, &key).await?;
        let (log, problem) = Log::open(&settings.state_dir, post.incarnation()).await;
        if let Some(problem) = problem {
            tracing::warn!(event = event::AGENT_STATE_UNREADABLE, "{problem}; it is set aside, and begun anew");
        }
        let host = settings.host.clone();
        let hand = Arc::new(hand(settings, post, log));
        take_post(&hand, true).await?;
        tracing::info!(
            event = event::AGENT_STARTED,
            %host,
            fleet = %hand.settings.fleet,
            "patrold {} writes what the fleet has for this host",
            env!("CARGO_PKG_VERSION")
        );
        systemd.ready(&format!("agent of host {host}"));
        Ok::<_, AgentError>((hand, lock))
    };
    let (hand, _lock) = tokio::select! {
        biased;
        signal = signals.stop() => {
            tracing::info!(event = event::STOPPED, signal, drained = true, "stopped before the start was over");
            return Ok(());
        }
        begun = work => begun?,
    };
    let mut errands = Errands::default();
    let signal = tokio::select! {
        biased;
        signal = signals.stop() => signal,
        () = live(&hand) => "",
        () = follow(&hand, &mut errands) => "",
    };
    tracing::info!(event = event::STOPPING, signal, "stopping: errands under way are done");
    systemd.stopping(LAST_ERRANDS);
    let drained = timeout(LAST_ERRANDS, errands.finish()).await.is_ok();
    hand.hooks.close(Duration::from_secs(1)).await;
    // Where the engine does not hear of it, the lease ends by itself.
    let _ = timeout(Duration::from_secs(2), async {
        let _ = hand.post.tell_seen(SystemClock.now()).await;
        hand.post.leave().await
    })
    .await;
    tracing::info!(event = event::STOPPED, drained, "stopped");
    Ok(())
}

/// What errands are done with. Keys of this process alone: nothing that they make outlives it.
fn hand(settings: AgentSettings, post: Post, log: Log) -> Hand {
    let (fingerprints, keyring) = (Fingerprinter::new(&random::bytes::<32>()), Arc::<Keyring>::default());
    let workshop = Workshop::new(fingerprints.clone(), Limits::forgetful());
    let caller = Caller { workshop, fingerprinter: fingerprints.clone(), keyring: Arc::clone(&keyring) };
    Hand { settings, post, log: Mutex::new(log), hooks: HookRunner::new(caller), keyring, fingerprints }
}

/// Finds the fleet: where the engine is away, it is waited for.
async fn open(settings: &AgentSettings, key: &crate::secret::Secret) -> Result<Post, FleetError> {
    let mut told = false;
    loop {
        match Post::open(settings, key).await {
            Err(error) if error.passes() => {
                if !std::mem::replace(&mut told, true) {
                    tracing::error!(event = event::FLEET_AWAY, %error, "waiting for the engine of the fleet");
                }
                sleep(PAUSE).await;
            }
            opened => return opened,
        }
    }
}

/// Takes the place of this host in its fleet. `first`: an agent that lives already is a reason to give up; whoever was
/// killed lives on for the length of a lease, which is waited for.
async fn take_post(hand: &Hand, first: bool) -> Result<(), AgentError> {
    let agent = Agent { version: env!("CARGO_PKG_VERSION").to_owned(), started: SystemClock.now() };
    let patience = Instant::now() + hand.post.lease().ttl() + Duration::from_secs(2);
    let mut told = false;
    loop {
        match hand.post.join(&agent, SystemClock.now()).await {
            Ok(Posted::Yes) => return Ok(()),
            Ok(Posted::Taken(other)) if first && Instant::now() > patience => {
                return Err(AgentError::Taken { host: hand.settings.host.to_string(), since: other.started });
            }
            Ok(Posted::Taken(other)) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(
                        event = event::AGENT_NAME_TAKEN,
                        host = %hand.settings.host,
                        "an agent of this host lives already, started at {}; this one waits for the end of its lease",
                        other.started
                    );
                }
            }
            Err(error @ EngineError::Refused(_)) if first => return Err(AgentError::Refused(error)),
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::error!(event = event::FLEET_AWAY, %error, "the engine of the fleet does not take the agent");
                }
            }
        }
        sleep(PAUSE).await;
    }
}

/// Keeps the agent alive, and takes its post again where that was lost. Never returns.
async fn live(hand: &Hand) {
    let third = hand.post.lease().ttl() / 3;
    let (mut seen, mut told) = (Instant::now(), false);
    loop {
        sleep(third).await;
        match hand.post.keep_alive(third.min(Duration::from_millis(1500))).await {
            Ok(true) => {
                if std::mem::take(&mut told) {
                    tracing::info!(event = event::FLEET_JOINED, "the engine answers again");
                }
                if seen.elapsed() >= SEEN_EVERY {
                    seen = Instant::now();
                    // Noted again half a minute later.
                    let _ = hand.post.tell_seen(SystemClock.now()).await;
                }
            }
            Ok(false) => {
                tracing::info!(event = event::FLEET_LEASE_LOST, "the lease has ended; a new one is taken");
                // It does not give up.
                let _ = take_post(hand, false).await;
            }
            Err(error) => {
                if !told && hand.post.lease().left(boot()).is_none() {
                    told = true;
                    tracing::error!(event = event::FLEET_AWAY, %error, "the engine does not answer; consumers keep what they have");
                }
                sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

/// Follows what is asked, and does it. Never returns.
async fn follow(hand: &Arc<Hand>, errands: &mut Errands) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let work = |id: ErrandId, (revision, errand): Task| {
        let (hand, places) = (Arc::clone(hand), Arc::clone(&places));
        async move {
            // It is never closed.
            let _place = places.acquire().await;
            run(&hand, &id, revision, errand.as_deref()).await;
        }
    };
    let take = |errands: &mut Errands, news: Vec<News>, whole: bool| {
        for question in errands.take(news, whole) {
            let hand = Arc::clone(hand);
            // Whoever asked has removed the answer, too, unless it is gone itself.
            tokio::spawn(async move { hand.post.withdraw(&question).await });
        }
        errands.begin(work);
    };
    loop {
        let begun = async {
            let (news, moment) = hand.post.errands().await?;
            Ok::<_, EngineError>((news, hand.post.follow(moment).await?))
        };
        let (news, mut following) = match begun.await {
            Ok(begun) => begun,
            Err(error) => {
                tracing::debug!(event = event::FLEET_AWAY, %error, "the engine cannot be followed; tried again");
                sleep(PAUSE).await;
                continue;
            }
        };
        take(errands, news, true);
        let fresh_until = Instant::now() + FOLLOWED;
        while Instant::now() < fresh_until {
            tokio::select! {
                news = hand.post.next(&mut following) => match news {
                    Some(news) => take(errands, news, false),
                    None => break,
                },
                Some(ended) = errands.ended() => {
                    if ended == Ended::Abnormally {
                        tracing::error!(event = event::TASK_DIED, "an errand ended abnormally");
                    }
                    errands.begin(work);
                }
                () = tokio::time::sleep_until(fresh_until) => {}
            }
        }
    }
}

/// Does one errand, and answers.
async fn run(hand: &Hand, id: &ErrandId, revision: i64, errand: Option<&Errand>) {
    let came = whatever_happens(hand.obey(id, revision, errand)).await;
    if let Some(errand) = errand {
        let (token, subject) = (&errand.token, errand.deed.subject());
        match &came {
            Came::Done if matches!(errand.deed, Deed::Run { .. }) => {
                tracing::info!(event = event::AGENT_RAN, %token, hook = subject, "the hook has succeeded");
            }
            Came::Done if !id.is_question() => {
                tracing::info!(event = event::AGENT_WROTE, %token, store = subject, "the store has what the fleet has for it");
            }
            Came::Refused(failure) => {
                tracing::warn!(event = event::AGENT_REFUSED, %token, what = subject, code = failure.code.code(), "refused: {failure}");
            }
            Came::Later(failure) | Came::Unknown(failure) => {
                tracing::warn!(event = event::AGENT_FAILED, %token, what = subject, code = failure.code.code(), "not done: {failure}");
            }
            Came::Done if matches!(errand.deed, Deed::Erase { .. }) => {
                tracing::info!(event = event::AGENT_ERASED, %token, store = subject, "the store has left the inventory; its secret is taken out");
            }
            Came::Done | Came::Stays(_) | Came::Holds { .. } => {}
        }
    }
    let answer = Answer { to: revision, came };
    let mut told = false;
    // Whoever asks waits for ten seconds, and hears it later; an errand that was replaced needs no answer.
    while let Err(error) = hand.post.answer(id, &answer).await {
        if !std::mem::replace(&mut told, true) {
            tracing::warn!(event = event::FLEET_AWAY, %error, "an answer is on its way; tried again");
        }
        if id.is_question() {
            return;
        }
        sleep(PAUSE).await;
    }
}

/// What came of an errand. Whoever asked hears also of one that panicked: it may have been done.
async fn whatever_happens(work: impl Future<Output = Came>) -> Came {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| {
        let what = "the agent panicked over it: the line `panicked` in its log says where";
        Came::Unknown(Failure::new(FailureCode::Stopped, what))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_asked_hears_of_an_errand_that_panicked() {
        assert_eq!(whatever_happens(async { Came::Done }).await, Came::Done);
        let came = whatever_happens(async { panic!("the secret is 4711") }).await;
        assert!(matches!(&came, Came::Unknown(failure) if !failure.to_string().contains("4711")), "{came:?}");
    }
}
