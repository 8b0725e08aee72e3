//! The daemon: what runs while nobody looks.

pub mod watch;
