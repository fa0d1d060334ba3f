//! The agent: runs on every machine, dials out, keeps what it was told running.
//!
//! - [`order`]: what the reconciler orders and the runtime reports.
//! - [`reconcile`]: pure: assignment, imports and observations in; orders and reports out.
//! - [`ledger`]: what must survive a crash, on disk.
//! - [`runtime`]: steps, processes, checks and files: the only part that touches the machine.

pub mod ledger;
pub mod order;
pub mod reconcile;
pub mod runtime;
