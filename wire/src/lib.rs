//! What crosses a process boundary in robo, and how it is written there. No I/O, no clock.
//!
//! - [`api`]: bodies of the manager's HTTPS API; [`plan`]: the plan in it; [`event`]: the history.
//! - [`problem`]: error bodies and their stable codes.
//! - [`frame`]: the length-prefixed frames of link and streams, and their bounds.
//! - [`link`]: control messages between agent and manager; [`session`]: the two state machines that speak them.
//! - [`digest`]: by which both sides see that they have the same.
//! - [`stream`]: exec and logs, on a stream of their own; [`shell`]: shells, whose sessions outlive their streams;
//!   [`job`]: commands that do too; [`backlog`]: the last of what was said, which both sides keep for who comes back.
//! - [`call`]: commands in the foreground whose caller comes back to another manager process.
//! - [`forward`]: connections through a device; [`tail`]: logs, [`log_files`]: their files; [`collect`]: all that helps to find a fault;
//!   [`health`]: how a device is; [`ssh`]: who may log in there by SSH; [`upgrade`]: another program for its agent;
//!   [`upload`]: files of devices that the manager keeps.
//! - [`thrift`]: what an idle link does not send; [`backoff`]: when who was cut off dials again.
//! - [`code`]: what can be wrong on a device.
//! - [`relay`]: between a manager and the relay that it dials.
//!
//! Everything is append-only: a field is added with `#[serde(default)]` and never changes its meaning; an
//! unknown field is skipped, a frame of an unknown kind too. `tests` holds golden bytes of each message.

pub mod api;
pub mod backlog;
pub mod backoff;
pub mod call;
pub mod code;
pub mod collect;
pub mod copy;
pub mod digest;
pub mod event;
pub mod forward;
pub mod frame;
pub mod health;
pub mod job;
pub mod link;
pub mod log_files;
mod nesting;
pub mod plan;
pub mod problem;
pub mod relay;
pub mod session;
pub mod shell;
pub mod ssh;
pub mod stream;
pub mod switch;
pub mod tail;
pub mod thrift;
pub mod upgrade;
pub mod upload;

/// The name in the manager's certificate. Clients and agents check this name against the pinned CA and not the
/// host they dial: the CA signs server certificates for nobody else, and a device may reach its manager by any
/// address, forwarded port or relay.
pub const SERVER_NAME: &str = "robo-manager";

/// ALPN protocol of the agents' link; `h2` and `http/1.1` on the same port are the API.
pub const ALPN_LINK: &[u8] = b"robo/1";

/// The port a manager listens on where none is given.
pub const DEFAULT_PORT: u16 = 7626;
