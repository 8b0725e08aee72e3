//! Output for people and programs: pure functions from inventory, journal and time to values, text and JSON.

pub mod audit;
pub mod channels;
pub mod check;
pub mod effective;
pub mod explain;
pub mod exported;
pub mod fleet;
pub mod history;
pub mod html;
pub mod leftover;
pub mod lint;
pub mod manual;
pub mod metrics;
pub mod online;
pub mod page;
pub mod plan;
pub mod provider;
pub mod readiness;
pub mod retirement;
pub mod rotated;
pub mod status;
pub mod store;
pub mod table;
pub mod timeline;
pub mod trial;
