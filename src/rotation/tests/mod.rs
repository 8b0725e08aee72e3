//! The machine in a simulated world: providers, stores, hooks and consumers that fail in every way that the design page
//! lists, and a process that is stopped anywhere.

mod answers;
mod controls;
mod crash;
mod diagram;
mod driver;
mod exhaustive;
mod fleet;
mod forgiveness;
mod found;
mod histories;
mod ledger;
mod lies;
mod lives;
pub(crate) mod policy;
mod reissue;
mod releases;
pub(crate) mod samples;
mod stored;
mod stores;
mod torn;
mod world;
