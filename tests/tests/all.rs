//! The one test binary of the workspace: see `tests/src/lib.rs`.

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod editors;
#[cfg(test)]
mod house;
#[cfg(test)]
mod program;
#[cfg(test)]
mod scenario;
#[cfg(test)]
mod sim;
