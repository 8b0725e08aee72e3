//! The machine in a simulated world: providers, stores, hooks and consumers that fail in every way that the design page
//! lists, and a process that is stopped anywhere.

mod answers;
mod crash;
mod diagram;
mod driver;
mod exhaustive;
mod fleet;
mod forgiveness;
mod ledger;
mod lives;
pub(crate) mod policy;
mod properties;
mod reissue;
mod releases;
pub(crate) mod samples;
mod stored;
mod stores;
mod torn;
mod world;
