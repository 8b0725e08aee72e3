//! The signals that this process passes on.

use std::io::{self, IsTerminal as _};

use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Those that are passed on. No others: a runtime sends itself some for its own purposes.
const PASSED: [Signal; 9] = [
    Signal::TERM,
    Signal::INT,
    Signal::QUIT,
    Signal::HUP,
    Signal::USR1,
    Signal::USR2,
    Signal::WINCH,
    Signal::TSTP,
    Signal::CONT,
];

/// The status of a process that `signal` ended, as shells have it.
pub fn ended_by(signal: Signal) -> u8 {
    u8::try_from(signal.as_raw()).map_or(u8::MAX, |number| number.saturating_add(128))
}

/// The signals that this process got.
#[derive(Debug)]
pub struct Signals(mpsc::UnboundedReceiver<Signal>);

impl Signals {
    /// Takes them from now on. On a terminal the program is in the foreground with this process, and gets what is typed
    /// from the terminal itself.
    pub fn new() -> io::Result<Self> {
        let (sender, got) = mpsc::unbounded_channel();
        let typed = io::stdin().is_terminal();
        for signal_number in PASSED {
            let mut stream = signal(SignalKind::from_raw(signal_number.as_raw()))?;
            let own = typed && [Signal::INT, Signal::QUIT, Signal::TSTP, Signal::WINCH].contains(&signal_number);
            let sender = sender.clone();
            tokio::spawn(async move {
                while stream.recv().await.is_some() {
                    if !own && sender.send(signal_number).is_err() {
                        return;
                    }
                }
            });
        }
        Ok(Self(got))
    }

    /// The next one.
    pub async fn next(&mut self) -> Signal {
        match self.0.recv().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }

    /// The next one that asks for the end.
    pub async fn ending(&mut self) -> Signal {
        loop {
            let signal = self.next().await;
            if [Signal::TERM, Signal::INT, Signal::QUIT].contains(&signal) {
                return signal;
            }
        }
    }
}
