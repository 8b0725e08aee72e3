//! Keeps the secrets in this process's memory out of files: a crash leaves no core dump, and no other process of the same
//! user may attach to it. Keeps the capabilities that a unit gives the daemon from the programs that it starts.

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

use rustix::thread::clear_ambient_capability_set;

use crate::event;

/// Hardens the memory of this process. Programs that it starts have what limits they had before, should they want them.
pub fn apply() {
    let limit = Rlimit { current: Some(0), maximum: getrlimit(Resource::Core).maximum };
    let results = [setrlimit(Resource::Core, limit), set_dumpable_behavior(DumpableBehavior::NotDumpable)];
    for error in results.into_iter().filter_map(Result::err) {
        tracing::warn!(
            event = event::CORE_DUMP_POSSIBLE,
            %error,
            "a crash may write secrets to a core dump: the system does not let this be ruled out"
        );
    }
}

/// Programs that this thread starts, and threads that it makes, get no capabilities.
///
/// Law: a unit that lets the daemon write to files of others does not let its hooks do so. The service manager gives
/// capabilities to a service that is not root by the ambient set, which every program that it starts inherits.
pub fn keep_capabilities() {
    // Where the kernel has no such set, nothing is inherited.
    let _ = clear_ambient_capability_set();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_core_is_dumped_of_a_hardened_process() {
        apply();
        assert_eq!(getrlimit(Resource::Core).current, Some(0));
        assert_eq!(rustix::process::dumpable_behavior(), Ok(DumpableBehavior::NotDumpable));
    }

    #[test]
    fn programs_inherit_no_capability() {
        use rustix::thread::{CapabilitySet, capabilities, capability_is_in_ambient_set};
        use rustix::thread::{configure_capability_in_ambient_set, set_capabilities};
        let chown = CapabilitySet::CHOWN;
        let mut sets = capabilities(None).unwrap();
        sets.inheritable |= chown;
        // Who is not root has nothing to give away.
        if !sets.permitted.contains(chown) || set_capabilities(None, sets).is_err() {
            return;
        }
        configure_capability_in_ambient_set(chown, true).unwrap();
        assert_eq!(capability_is_in_ambient_set(chown), Ok(true));
        keep_capabilities();
        assert_eq!(capability_is_in_ambient_set(chown), Ok(false));
        assert!(capabilities(None).unwrap().effective.contains(chown), "the daemon keeps what it was given");
    }
}
