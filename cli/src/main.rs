//! robo.
fn main() {}
