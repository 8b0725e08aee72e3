//! Notices to the service manager: readiness, reloads, status lines, the watchdog.
//!
//! Where the process was not started by one, every notice is silently nothing. A notice that cannot be sent is logged
//! and never stops the daemon: tokens matter more than their status line. The wording of the notices is that of
//! `sd_notify(3)`. `sd-notify` itself sends only to the socket of the environment, and not to an abstract one, as some
//! container managers use it; the few lines that send are therefore here.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, warn};

use crate::event;

/// How long a notice may wait for room in the manager's queue.
const PATIENCE: Duration = Duration::from_secs(1);

/// Added to the time that a stop asks for: exiting itself takes a moment.
const MARGIN: Duration = Duration::from_secs(10);

/// The service manager, if there is one.
#[derive(Clone, Debug, Default)]
pub struct Systemd {
    socket: Option<SocketAddr>,
    /// The manager restarts the service when it hears nothing for this long.
    watchdog: Option<Duration>,
}

impl Systemd {
    /// What `$NOTIFY_SOCKET`, `$WATCHDOG_USEC` and `$WATCHDOG_PID` say.
    pub fn of_process() -> Self {
        Self::from_variables(|name| env::var_os(name), process::id())
    }

    /// The same from the environment variables that `get` gives, for the process `pid`.
    pub fn from_variables(get: impl Fn(&str) -> Option<OsString>, pid: u32) -> Self {
        let number = |name| get(name)?.to_str()?.parse::<u64>().ok();
        // Meant for another process, which passed its environment on.
        let ours = number("WATCHDOG_PID").is_none_or(|owner| owner == u64::from(pid));
        let watchdog = number("WATCHDOG_USEC").filter(|usec| ours && *usec > 0).map(Duration::from_micros);
        let socket = get("NOTIFY_SOCKET").and_then(|name| {
            let address = address(&name);
            if let Err(error) = &address {
                debug!(
                    event = event::NOTICE_UNSENT,
                    "no notices to the service manager: $NOTIFY_SOCKET cannot be used: {error}"
                );
            }
            address.ok()
        });
        Self { socket, watchdog }
    }

    /// The daemon serves; also the end of a reload.
    pub fn ready(&self, status: &str) {
        self.send(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
    }

    /// A reload begins. [`Systemd::ready`] must follow, whatever comes of it.
    pub fn reloading(&self) {
        // Both in one datagram: a manager from version 253 on fails a reload without the time.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.send(&[NotifyState::Reloading, now]),
            Err(error) => warn!(event = event::NOTICE_UNSENT, %error, "the service manager was not told of the reload"),
        }
    }

    /// One line for `systemctl status`.
    pub fn status(&self, status: &str) {
        self.send(&[NotifyState::Status(&one_line(status))]);
    }

    /// The daemon stops, and needs up to `drain` for the steps under way.
    pub fn stopping(&self, drain: Duration) {
        let usec = u32::try_from(drain.saturating_add(MARGIN).as_micros()).unwrap_or(u32::MAX);
        self.send(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(usec)]);
    }

    /// Pings the watchdog twice per interval for as long as `alive`, which gets the time that it may take, says that the
    /// daemon makes progress. Returns at once where the manager asked for no pings, else never.
    pub async fn watchdog<B: Future<Output = bool>>(&self, mut alive: impl FnMut(Duration) -> B) {
        let Some(limit) = self.watchdog.filter(|_| self.socket.is_some()) else { return };
        let mut ticks = interval((limit / 2).max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stuck = false;
        loop {
            ticks.tick().await;
            if alive(limit / 4).await {
                stuck = false;
                self.send(&[NotifyState::Watchdog]);
            } else if !stuck {
                stuck = true;
                warn!(
                    event = event::WATCHDOG_SILENT,
                    "no progress: the watchdog gets no ping, and the service manager will restart the daemon"
                );
            }
        }
    }

    fn send(&self, notices: &[NotifyState<'_>]) {
        let Some(socket) = &self.socket else { return };
        let mut message = String::new();
        for notice in notices {
            // Writing to a string cannot fail.
            let _ = writeln!(message, "{notice}");
        }
        if let Err(error) = deliver(socket, message.as_bytes()) {
            let notice = message.trim_end().replace('\n', " ");
            warn!(event = event::NOTICE_UNSENT, notice, %error, "the service manager was not told something");
        }
    }
}

fn deliver(socket: &SocketAddr, message: &[u8]) -> io::Result<()> {
    let sender = UnixDatagram::unbound()?;
    sender.set_write_timeout(Some(PATIENCE))?;
    // A datagram goes whole or not at all.
    sender.send_to_addr(message, socket).map(drop)
}

/// A path, or an abstract name after `@`.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(name),
        _ => Err(io::Error::new(io::ErrorKind::Unsupported, "neither a path nor an abstract name")),
    }
}

/// A line break would begin another notice.
fn one_line(text: &str) -> String {
    text.split(char::is_control).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const FAILURE: Duration = Duration::from_secs(30);

    /// Plays the service manager.
    struct Manager {
        _directory: tempfile::TempDir,
        socket: UnixDatagram,
        path: std::path::PathBuf,
    }

    impl Manager {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("notify");
            let socket = UnixDatagram::bind(&path).unwrap();
            socket.set_read_timeout(Some(FAILURE)).unwrap();
            Self { _directory: directory, socket, path }
        }

        fn next(&self) -> String {
            receive(&self.socket)
        }
    }

    fn receive(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).expect("a notice");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    fn systemd(socket: &Path, watchdog: &str) -> Systemd {
        Systemd::from_variables(
            |name| match name {
                "NOTIFY_SOCKET" => Some(socket.into()),
                "WATCHDOG_USEC" if !watchdog.is_empty() => Some(watchdog.into()),
                _ => None,
            },
            1,
        )
    }

    #[test]
    fn notices_arrive_as_the_manager_wants_them() {
        let manager = Manager::new();
        let systemd = systemd(&manager.path, "");
        systemd.ready("12 tokens");
        assert_eq!(manager.next(), "READY=1\nSTATUS=12 tokens\n");
        systemd.status("invalid inventory:\npatrold.toml:3:1\r\n");
        assert_eq!(manager.next(), "STATUS=invalid inventory: patrold.toml:3:1\n");
        systemd.stopping(Duration::from_secs(20));
        assert_eq!(manager.next(), "STOPPING=1\nEXTEND_TIMEOUT_USEC=30000000\n");
        systemd.reloading();
        let notice = manager.next();
        let usec = notice.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").and_then(|rest| rest.strip_suffix('\n'));
        assert!(usec.is_some_and(|usec| usec.parse::<u64>().is_ok_and(|usec| usec > 0)), "{notice}");
    }

    #[test]
    fn an_abstract_socket_is_served_too() {
        let name = format!("patrold-test-{}", process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        socket.set_read_timeout(Some(FAILURE)).unwrap();
        systemd(Path::new(&format!("@{name}")), "").status("here");
        assert_eq!(receive(&socket), "STATUS=here\n");
    }

    #[test]
    fn without_a_manager_nothing_happens() {
        Systemd::default().ready("");
        systemd(Path::new("vsock:2:1"), "").ready("");
        systemd(Path::new("/nonexistent/notify"), "").ready("");
    }

    #[test]
    fn the_watchdog_of_another_process_is_not_ours() {
        let check = |sentence: &str, usec: &str, pid: Option<&str>, expected: Option<Duration>| {
            let get = |name: &str| match name {
                "WATCHDOG_USEC" => Some(usec.into()),
                "WATCHDOG_PID" => pid.map(Into::into),
                _ => None,
            };
            assert_eq!(Systemd::from_variables(get, 7).watchdog, expected, "{sentence}");
        };
        let second = Some(Duration::from_secs(1));
        check("it names us", "1000000", Some("7"), second);
        check("it names nobody", "1000000", None, second);
        check("it names another", "1000000", Some("8"), None);
        check("it is off", "0", Some("7"), None);
        check("it is no number", "soon", Some("7"), None);
    }

    #[tokio::test]
    async fn pings_stop_while_there_is_no_progress() {
        let manager = Manager::new();
        let systemd = systemd(&manager.path, "4000");
        let mut asked = 0;
        let pings = tokio::spawn({
            let systemd = systemd.clone();
            async move {
                let alive = |_| {
                    asked += 1;
                    if asked == 4 {
                        systemd.status("asked four times");
                    }
                    std::future::ready(!(2..=4).contains(&asked))
                };
                systemd.clone().watchdog(alive).await;
            }
        });
        let heard =
            tokio::task::spawn_blocking(move || [manager.next(), manager.next(), manager.next()]).await.unwrap();
        pings.abort();
        assert_eq!(heard, ["WATCHDOG=1\n", "STATUS=asked four times\n", "WATCHDOG=1\n"]);
    }

    #[tokio::test]
    async fn without_a_watchdog_nobody_is_asked() {
        let manager = Manager::new();
        let asked = |_| -> std::future::Ready<bool> { panic!("asked") };
        systemd(&manager.path, "").watchdog(asked).await;
        Systemd::default().watchdog(asked).await;
    }
}
