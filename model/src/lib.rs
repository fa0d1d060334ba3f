//! The words of robo as types; one meaning per word.
//!
//! Nothing here reads a file, a clock, the network or the environment, and nothing here is random:
//! every other crate may depend on this one, and this one depends on none of ours.
//!
//! - [`name`]: validated names and paths; what was once checked stays checked.
//! - [`quantity`]: durations, sizes, shares and points in time as written and as sent.
//! - [`graph`]: an application after all inheritance is resolved: components, instances, exports, imports.
//! - [`label`]: labels of devices, and the selectors that pick devices by them.
//! - [`query`]: questions about devices: labels, facts and state, compared and joined.
//! - [`spec`]: what one device should run: instance specifications, assignments, generations.
//! - [`state`]: the life cycle's states, and what an agent reports of an instance.
//! - [`resolve`]: which provider satisfies which import; when an instance has all it needs.
//! - [`lifecycle`]: every way from one state to another.
//! - [`release`]: consumers stop before what they need.
//! - [`effect`]: what a changed specification, or changed imports, do to a running instance.
//! - [`template`]: `$(name)` and `$(secret:name)` in values.
//! - [`limits`]: every bound, named, with its reason.

pub mod access;
pub mod effect;
pub mod graph;
pub mod label;
pub mod lifecycle;
pub mod limits;
pub mod name;
pub mod quantity;
pub mod query;
pub mod release;
pub mod resolve;
pub mod spec;
pub mod state;
pub mod template;
