//! The signals that people send to programs, by their names.

use rustix::process::Signal;

const NAMES: [(&str, Signal); 14] = [
    ("TERM", Signal::TERM),
    ("INT", Signal::INT),
    ("QUIT", Signal::QUIT),
    ("HUP", Signal::HUP),
    ("USR1", Signal::USR1),
    ("USR2", Signal::USR2),
    ("WINCH", Signal::WINCH),
    ("TSTP", Signal::TSTP),
    ("CONT", Signal::CONT),
    ("KILL", Signal::KILL),
    ("ALRM", Signal::ALARM),
    ("ABRT", Signal::ABORT),
    ("TTIN", Signal::TTIN),
    ("TTOU", Signal::TTOU),
];

/// The signal called `name`, with or without `SIG`.
pub fn parse(name: &str) -> Result<Signal, String> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    let known = NAMES.iter().find(|(known, _)| *known == bare);
    known.map(|(_, signal)| *signal).ok_or_else(|| {
        let names: Vec<_> = NAMES.iter().map(|(name, _)| *name).collect();
        format!("\"{name}\" is not a signal that can be sent; valid: {}", names.join(", "))
    })
}

/// The name of a signal.
pub fn word(signal: Signal) -> &'static str {
    NAMES.iter().find(|(_, known)| *known == signal).map_or("?", |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_named_with_and_without_their_prefix() {
        assert_eq!(parse("hup"), Ok(Signal::HUP));
        assert_eq!(parse("SIGUSR1"), Ok(Signal::USR1));
        assert!(parse("NOPE").unwrap_err().contains("valid: TERM"));
        assert_eq!(word(Signal::HUP), "HUP");
    }
}
