//! `patrold demo`: the real daemon against the loopback provider, consumers that never take their eyes off their
//! files, a live view, and a verdict.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::termios::tcgetwinsize;

use crate::clock::{Clock, Span, SystemClock, Time};
use crate::daemon::control::Socket;
use crate::daemon::http::Front;
use crate::daemon::{self, Running, StartError};
use crate::names::TokenName;
use crate::outcome::one_line;
use crate::secret::Fingerprinter;

use super::consumer::{LOST_RENEWAL_GAP, RENEWAL_GAP};
use super::entry::LedgerEntry;
use super::judge::Summary;
use super::{Consumer, Fault, Loopback, Service, Vault, Verdict, stage};

/// How often consumers look at their files.
const WATCH_EVERY: Duration = Duration::from_millis(5);

/// How often the live view is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(250);

/// The share of requests that go wrong with `--faults`.
const FAULT_RATE: f64 = 0.08;

/// What to show.
#[derive(Clone, Copy, Debug, Default)]
pub struct Play {
    /// None: until Ctrl-C.
    pub duration: Option<Duration>,
    /// The provider misbehaves.
    pub faults: bool,
    /// Decides which requests go wrong.
    pub seed: u64,
    /// Where to serve the status page.
    pub listen: Option<SocketAddr>,
}

/// Why a demo could not be shown.
#[derive(Debug, thiserror::Error)]
pub enum ShowError {
    /// The daemon.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Directories, ports, the terminal.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Shows the demo; true where every guarantee held.
pub async fn show(play: Play, out: &mut (impl Write + IsTerminal + AsFd)) -> Result<bool, ShowError> {
    let directory = tempfile::Builder::new().prefix("patrold-demo-").tempdir()?;
    let loopback = Loopback::start(SystemClock, stage::services()).await?;
    let vault = Vault::start(stage::VAULT_TOKEN).await?;
    let config = stage::set(directory.path(), &loopback, &vault, play.listen)?;
    if play.faults {
        let menu = Fault::menu().into_iter().chain(Fault::lies()).collect();
        loopback.faults().random_of(play.seed, FAULT_RATE, menu);
    }
    let daemon = Arc::new(daemon::start(&config, SystemClock).await?);
    let socket = Socket::bind(&daemon.core.inventory().daemon.control).await?;
    let server = tokio::spawn(socket.serve(Arc::clone(&daemon)));
    let front = Front::start(Arc::clone(&daemon));
    let live = out.is_terminal();
    writeln!(
        out,
        "patrold demo: three kinds of provider and a Vault on loopback, the real daemon, one consumer for each store."
    )?;
    writeln!(out, "{}", announcement(&play, directory.path()))?;
    if play.listen.is_some() {
        let mut bound = front.handle().bound();
        let address = tokio::time::timeout(Duration::from_secs(5), bound.wait_for(Option::is_some)).await;
        let address = address.ok().and_then(|address| address.ok().and_then(|address| *address));
        let address =
            address.ok_or_else(|| io::Error::other("cannot listen where --listen says; is the port taken?"))?;
        writeln!(out, "Status page: http://{address}/\n")?;
    }
    let gap = if play.faults { LOST_RENEWAL_GAP } else { RENEWAL_GAP };
    let mut stage = Stage::new(Arc::clone(&daemon), &loopback, &vault, directory.path(), gap);
    let end = play.duration.and_then(|duration| Span::from_std(duration).ok()).map(|span| SystemClock.now() + span);
    stage.watch(out, live, end).await?;

    loopback.faults().stop();
    drop(front);
    server.abort();
    // A renewal under way reaches its consumers before the daemon stops: judged in mid-air, they would hold a dead secret.
    let drained = daemon.stop(Duration::from_secs(10)).await;
    let summary = stage.verdict();
    stage.summarise(out, &summary, drained)?;
    Ok(summary.holds() && drained && stage.rotations() > 0)
}

fn announcement(play: &Play, directory: &Path) -> String {
    let length = play
        .duration
        .map_or_else(|| "until Ctrl-C".to_owned(), |duration| format!("for {}", humantime::format_duration(duration)));
    let faults = if play.faults {
        "lost answers, 429, 5xx, garbage and redirects on the way"
    } else {
        "no faults (try --faults)"
    };
    let config = directory.join("patrold.toml");
    format!(
        "Runs {length}; {faults}.\nMeanwhile, from another terminal: patrold --config {} status\n",
        config.display()
    )
}

/// Everybody who takes part.
struct Stage<'a> {
    daemon: Arc<Running<SystemClock>>,
    consumers: Vec<Consumer>,
    loopback: &'a Loopback,
    /// The longest gap of a renewal in place that is no breach.
    gap: Span,
    began: Time,
    /// What was said of each token last, for plain output.
    said: BTreeMap<TokenName, String>,
    /// Lines of the live view that are on the screen.
    drawn: usize,
    checks: u64,
}

impl<'a> Stage<'a> {
    fn new(
        daemon: Arc<Running<SystemClock>>,
        loopback: &'a Loopback,
        vault: &Vault,
        directory: &Path,
        gap: Span,
    ) -> Self {
        let fingerprints = Fingerprinter::new(&[7; 32]);
        let consumers = stage::consumers(directory, loopback, vault.shelf(), &fingerprints);
        let (said, began) = (BTreeMap::new(), SystemClock.now());
        Self { daemon, consumers, loopback, gap, began, said, drawn: 0, checks: 0 }
    }

    /// Lets the consumers look until `end`, or until Ctrl-C.
    async fn watch(&mut self, out: &mut (impl Write + AsFd), live: bool, end: Option<Time>) -> io::Result<()> {
        let mut look = tokio::time::interval(WATCH_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut draw = tokio::time::interval(DRAW_EVERY);
        loop {
            tokio::select! {
                _ = look.tick() => {
                    let now = SystemClock.now();
                    self.checks += 1;
                    for consumer in &mut self.consumers {
                        // Findings stay with the consumer.
                        let _: Verdict = consumer.check(now);
                    }
                    if end.is_some_and(|end| now >= end) {
                        return self.draw(out, live);
                    }
                }
                _ = draw.tick() => self.draw(out, live)?,
                interrupted = tokio::signal::ctrl_c() => {
                    interrupted?;
                    return self.draw(out, live);
                }
            }
        }
    }

    fn draw(&mut self, out: &mut (impl Write + AsFd), live: bool) -> io::Result<()> {
        let now = SystemClock.now();
        let tokens = self.daemon.core.tokens.all();
        if !live {
            for (name, token) in tokens {
                let view = token.view();
                let Some(current) = view.state.phase.current() else { continue };
                let line =
                    format!("generation {}.{} is current", current.generation.number, current.generation.revision);
                if self.said.get(&name) != Some(&line) {
                    writeln!(out, "{:>7.1}s  {name:<16} {line}", seconds(now - self.began))?;
                    self.said.insert(name, line);
                }
            }
            return out.flush();
        }
        if self.drawn > 0 {
            // Back to the first line of the view.
            write!(out, "\x1b[{}A", self.drawn)?;
        }
        let lines = self.lines(now);
        // A line that wraps would take two, and the way back to the first one would be wrong.
        let width = tcgetwinsize(&*out).map_or(80, |size| usize::from(size.ws_col.max(20)));
        for (line, why) in &lines {
            writeln!(out, "\x1b[2K{}", fitted(line, why, width))?;
        }
        self.drawn = lines.len();
        out.flush()
    }

    /// The live view: one line for each token, with the reason for what comes next, and one about all consumers.
    fn lines(&self, now: Time) -> Vec<(String, String)> {
        let head = format!(
            "{:<16} {:<10} {:<8} {:>10} {:>8}  {}",
            "TOKEN", "PROVIDER", "STATE", "GENERATION", "EXPIRES", "NEXT"
        );
        let mut lines = vec![(head, String::new())];
        for token in self.daemon.status().tokens {
            let provider = token.provider.as_ref().map(ToString::to_string).unwrap_or_default();
            let current = token.current.as_ref();
            let number = current.map_or_else(String::new, |it| format!("{}.{}", it.number, it.revision));
            let expires = current.and_then(|it| it.expires.here());
            let expires = expires.map_or_else(|| "-".to_owned(), |expires| left(expires - now));
            let next = match token.next.at.map(|at| at - now).filter(|span| *span > Span::zero()) {
                Some(span) => format!("{} in {}", token.next.action.word(), left(span)),
                None => token.next.action.word().to_owned(),
            };
            let (name, state) = (&token.name, token.condition.word());
            let line = format!("{name:<16} {provider:<10} {state:<8} {number:>10} {expires:>8}  {next}");
            lines.push((line, one_line(&format!(": {}", token.next.why), 100)));
        }
        let uses: u64 = self.consumers.iter().map(Consumer::uses).sum();
        let findings = self.consumers.iter().flat_map(Consumer::findings);
        let dead: u64 = findings.filter(|finding| !finding.is_gap(self.gap)).map(|finding| finding.times).sum();
        let (seconds, consumers) = (seconds(now - self.began), self.consumers.len());
        let uses = format!("{seconds:.1} s: {consumers} consumers read a secret {uses} times, {dead} times a dead one");
        lines.push((uses, String::new()));
        lines
    }

    fn verdict(&mut self) -> Summary {
        let tokens = self.daemon.core.tokens.all();
        let states: Vec<_> = tokens.iter().map(|(_, token)| token.view().state).collect();
        let known: HashSet<&str> = states.iter().flat_map(|state| state.markers()).collect();
        let accounted = |entry: &LedgerEntry| known.contains(entry.name.as_str());
        let now = SystemClock.now();
        Summary::allowing(self.gap, &mut self.consumers, self.loopback.ledger(), accounted, now)
    }

    /// Generations that were handed over after the first.
    fn rotations(&self) -> u32 {
        let tokens = self.generations();
        tokens.iter().map(|(number, _)| number.saturating_sub(1)).sum()
    }

    /// Number and revision of every current generation.
    fn generations(&self) -> Vec<(u32, u32)> {
        let tokens = self.daemon.core.tokens.all();
        let views = tokens.iter().map(|(_, token)| token.view().state);
        views
            .filter_map(|state| state.phase.current().map(|it| (it.generation.number.0, it.generation.revision)))
            .collect()
    }

    fn summarise(&self, out: &mut impl Write, summary: &Summary, drained: bool) -> io::Result<()> {
        let ledger = self.loopback.ledger();
        writeln!(out)?;
        for service in Service::ALL {
            let counters = ledger.counters(service);
            writeln!(
                out,
                "{service:<10} {:>4} minted {:>4} renewed {:>4} revoked",
                counters.minted, counters.renewed, counters.revoked
            )?;
        }
        let requests = self.loopback.requests();
        let faults = requests.iter().filter(|request| request.fault.is_some()).count();
        writeln!(out, "{} requests, {faults} of them went wrong on purpose", requests.len())?;
        writeln!(out, "{summary}")?;
        let mark = |held: bool| if held { "held  " } else { "BROKEN" };
        writeln!(out, "{} no consumer held a dead token", mark(summary.dead.is_empty()))?;
        writeln!(out, "{} every consumer holds a live token", mark(summary.without.is_empty()))?;
        writeln!(out, "{} every live token is known to the journal", mark(summary.unaccounted.is_empty()))?;
        writeln!(out, "{} the daemon stopped in good order", mark(drained))?;
        out.flush()
    }
}

/// The first `width` characters of a line.
fn cut(line: &str, width: usize) -> &str {
    line.char_indices().nth(width).map_or(line, |(at, _)| &line[..at])
}

/// A line with its reason, or without it where both do not fit: half a sentence tells nobody anything.
fn fitted(line: &str, why: &str, width: usize) -> String {
    let whole = format!("{line}{why}");
    if whole.chars().count() <= width { whole } else { cut(line, width).to_owned() }
}

fn seconds(span: Span) -> f64 {
    span.as_seconds_f64()
}

/// A span in the largest unit that leaves a number above one.
fn left(span: Span) -> String {
    let days = span.num_days();
    match days {
        365.. => format!("{} y", days / 365),
        2.. => format!("{days} d"),
        _ => format!("{:.1} s", seconds(span)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_told_whole_or_not_at_all() {
        for (width, expected) in [(40, "rotate in 3 s: it is due"), (23, "rotate in 3 s"), (6, "rotate")] {
            assert_eq!(fitted("rotate in 3 s", ": it is due", width), expected);
        }
    }
}
