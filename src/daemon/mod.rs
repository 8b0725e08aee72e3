//! The daemon: what runs while nobody looks.

pub mod systemd;
pub mod watch;
