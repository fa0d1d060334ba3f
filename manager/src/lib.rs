//! The manager service: what is wished, what is, and the agents that make one of the other.
//!
//! From the outside in:
//! - [`server`]: the one port; [`tls`] and [`ca`] make it safe; [`ssh`] signs certificates for devices' SSH servers.
//! - [`api`]: thin handlers over [`service`], which plans, applies and answers; [`token`] and [`files`] serve it.
//! - [`install`]: the script and the programs by which machines become devices.
//! - [`gateway`]: the agents' links; the API reaches them through [`links`]; [`acts`] keeps what is asked of them once.
//! - [`login`]: identities of an OpenID provider; [`limits`]: how often somebody may ask.
//! - [`jobs`]: commands in the background.
//! - `upgrades`: other programs for agents, over their links.
//! - [`uploads`]: files of devices that the manager keeps.
//! - [`sessions`]: terminals on devices, and who is at them.
//! - [`plan`]: pure: what an apply will do.
//! - [`watchman`]: leases, silence, and clearing away.
//! - [`relay`]: a port in the open network for a manager that nobody can reach; `heard` notices the silence of one.
//! - [`store`]: the truth, on disk; [`bus`]: the bell that says it changed.

pub mod acts;
pub mod api;
pub mod bus;
pub mod ca;
pub mod files;
pub mod gateway;
mod heard;
pub mod install;
pub mod jobs;
pub mod limits;
pub mod links;
pub mod login;
pub mod plan;
pub mod relay;
pub mod server;
pub mod service;
pub mod sessions;
pub mod ssh;
pub mod store;
mod streams;
pub mod tls;
pub mod token;
mod upgrades;
pub mod uploads;
pub mod watchman;
