//! Digests by which both sides of a link see that they have the same, without telling it again.
//!
//! Against accidents only: a lost message, a store brought back from a backup. Whoever could forge one speaks over an
//! authenticated link anyway.

use robo_model::resolve::Provider;
use robo_model::spec::Assignment;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::frame;

/// The digest of an assignment, or of a set of providers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Digest(pub u64);

impl Digest {
    /// Of a set of providers, kept up one by one: the order in which they come does not matter.
    #[must_use]
    pub const fn with(self, provider: Self) -> Self {
        Self(self.0.wrapping_add(provider.0))
    }

    /// The set without a provider that is in it.
    #[must_use]
    pub const fn without(self, provider: Self) -> Self {
        Self(self.0.wrapping_sub(provider.0))
    }
}

/// Of everything that an assignment asks for; its generation does not count.
#[must_use]
pub fn of_assignment(assignment: &Assignment) -> Digest {
    hash(&assignment.instances)
}

/// Of one provider.
#[must_use]
pub fn of_provider(provider: &Provider) -> Digest {
    hash(provider)
}

/// Of a set of providers; that of none is the default.
pub fn of_providers<'a>(providers: impl IntoIterator<Item = &'a Provider>) -> Digest {
    providers.into_iter().map(of_provider).fold(Digest::default(), Digest::with)
}

/// The first eight bytes of SHA-256 over the CBOR that would be sent: all maps in it are ordered.
fn hash(value: &impl Serialize) -> Digest {
    // What cannot be encoded is never sent; both sides then agree on this.
    let body = frame::to_body(0, value).unwrap_or_default();
    let hash = Sha256::digest(&body);
    Digest(hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider(path: &str, value: &str) -> Provider {
        let text = format!(
            r#"{{"key": {{"application": "shop", "path": "{path}"}}, "component": "Db", "exports": {{"Db.ip": "{value}"}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_set_has_one_digest_however_it_came_about() {
        let (a, b) = (provider("/a", "1"), provider("/b", "2"));
        assert_eq!(of_providers([&a, &b]), of_providers([&b, &a]));
        assert_eq!(of_providers([&a, &b]).without(of_provider(&b)), of_providers([&a]));
        assert_ne!(of_providers([&a]), of_providers([&provider("/a", "2")]));
        assert_eq!(of_providers([]), Digest::default());
    }

    #[test]
    fn a_generation_is_no_content() {
        let spec =
            r#"{"key": {"application": "shop", "path": "/a"}, "component": "A", "installer": {"kind": "script"}}"#;
        let one = Assignment {
            generation: robo_model::spec::Generation(1),
            instances: vec![serde_json::from_str(spec).unwrap()],
        };
        let two = Assignment { generation: robo_model::spec::Generation(2), ..one.clone() };
        assert_eq!(of_assignment(&one), of_assignment(&two));
        assert_ne!(of_assignment(&one), of_assignment(&Assignment::default()));
    }
}
