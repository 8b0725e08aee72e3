//! Keeps the secrets in this process's memory out of files: a crash leaves no core dump, and no other process of the same
//! user may attach to it.

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_core_is_dumped_of_a_hardened_process() {
        apply();
        assert_eq!(getrlimit(Resource::Core).current, Some(0));
        assert_eq!(rustix::process::dumpable_behavior(), Ok(DumpableBehavior::NotDumpable));
    }
}
