//! Logging in to this device by SSH: who may, with which keys, and by whose certificates.
//!
//! - [`keys`]: keys in users' `authorized_keys`, for the manager; [`mod@file`]: the process that touches such a file, as its user.
//! - [`trust`]: has the machine's SSH server know the manager's certificates, when its administrator says so.

pub mod file;
pub mod keys;
pub mod trust;
