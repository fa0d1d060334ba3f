//! Logging in with an identity of an OpenID provider, by the device authorization grant (RFC 8628).
//!
//! The manager is the provider's client: it has the secret, verifies what the provider signs, and gives a token of its
//! own that ends soon. It keeps nothing of a login that is under way.
//!
//! - `config`: whom the manager believes, and whom it lets in; denied by default.
//! - `provider`: asks the provider, with bounds on time and size, and follows it nowhere else.
//! - `keys`: the provider's keys, which it changes when it likes.
//! - `verify`: whether an ID token is good; `rules`: who that is here, and what they may.

mod config;
mod keys;
mod provider;
mod rules;
mod verify;

pub use self::config::{ConfigFault, LoginConfig, Rule};
pub use self::provider::{Granted, Provider, ProviderError};
pub use self::rules::{LetIn, Refused};
pub use self::verify::{Claims, TokenFault};
