//! The manager service.
pub mod bus;
pub mod ca;
pub mod gateway;
pub mod plan;
