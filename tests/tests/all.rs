//! The one test binary of the workspace: see `tests/src/lib.rs`.
