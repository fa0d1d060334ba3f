//! Whether an ID token is good (OpenID Connect Core 1.0, 3.1.3.7).

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value};

/// What an ID token says, by name.
pub type Claims = Map<String, Value>;

/// How far the provider's clock may be from ours, in seconds.
const LEEWAY: u64 = 60;

/// Longest ID token that is looked at, in bytes: one with hundreds of groups fits.
const MAX_TOKEN: usize = 64 * 1024;

/// How a token may be signed: with a private key, of which we have the public one. Never `none`, and nothing where
/// the public key would be the secret.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// Why an ID token is not good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// It is no token, or signed in a way that nobody should.
    #[error("the ID token cannot be read, or is signed in a way that is not taken: {0}")]
    Form(String),
    /// The provider has no such key.
    #[error("the ID token is signed with a key that the provider does not tell of")]
    UnknownKey,
    /// It is not for us, not from the provider, too old or too new, or not signed by this key.
    #[error("the ID token is not good: {0}")]
    Refused(String),
}

/// How a token says that it is signed.
pub(super) struct Signed {
    pub(super) algorithm: Algorithm,
    pub(super) key: Option<String>,
}

/// Who must have made the token, and for whom.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) audience: &'a str,
    pub(super) client: &'a str,
    /// Now, in seconds since 1970.
    pub(super) now: u64,
}

/// Looks at how it is signed, before anything in it is believed.
pub(super) fn signed(token: &str) -> Result<Signed, TokenFault> {
    if token.len() > MAX_TOKEN {
        return Err(TokenFault::Form(format!("it has more than {MAX_TOKEN} bytes")));
    }
    let header = decode_header(token).map_err(|error| TokenFault::Form(error.to_string()))?;
    if !ALGORITHMS.contains(&header.alg) {
        return Err(TokenFault::Form(format!("`{:?}` is no signature with a public key", header.alg)));
    }
    Ok(Signed { algorithm: header.alg, key: header.kid })
}

/// What the token says, once it is known to be good.
pub(super) fn verify(token: &str, signed: &Signed, key: &Jwk, expected: &Expected<'_>) -> Result<Claims, TokenFault> {
    let refused = |error: jsonwebtoken::errors::Error| TokenFault::Refused(error.to_string());
    let key = DecodingKey::from_jwk(key).map_err(refused)?;
    let mut validation = Validation::new(signed.algorithm);
    validation.leeway = LEEWAY;
    validation.validate_nbf = true;
    validation.set_issuer(&[expected.issuer]);
    validation.set_audience(&[expected.audience]);
    validation.set_required_spec_claims(&["iss", "aud", "exp", "sub"]);
    let claims = decode::<Claims>(token, &key, &validation).map_err(refused)?.claims;
    check_rest(&claims, expected)?;
    Ok(claims)
}

/// What the crate does not look at.
fn check_rest(claims: &Claims, expected: &Expected<'_>) -> Result<(), TokenFault> {
    let refused = |why: &str| Err(TokenFault::Refused(why.to_owned()));
    let is_text = |name: &str| claims.get(name).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    if !is_text("sub") || !is_text("iss") {
        return refused("it does not say about whom it is, or from whom");
    }
    let of_many = claims.get("aud").and_then(Value::as_array).is_some_and(|all| all.len() > 1);
    match claims.get("azp") {
        Some(Value::String(party)) if party == expected.client => {}
        None if !of_many => {}
        Some(_) | None => return refused("it was made for another client"),
    }
    match claims.get("iat").and_then(Value::as_f64) {
        // Of a size where the float is exact.
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 have fewer bits than a float keeps")]
        Some(at) if at <= (expected.now + LEEWAY) as f64 => Ok(()),
        Some(_) => refused("it was made in the future"),
        None => refused("it does not say when it was made"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_secret_or_nothing_signs_is_not_looked_at() {
        // {"alg":"none"}, {"alg":"HS256"}, {"alg":"XS256"}, no JSON
        for header in ["eyJhbGciOiJub25lIn0", "eyJhbGciOiJIUzI1NiJ9", "eyJhbGciOiJYUzI1NiJ9", "AAAA", ""] {
            assert!(matches!(signed(&format!("{header}.e30.AAAA")), Err(TokenFault::Form(_))), "{header}");
        }
        for bad in ["", ".", "a.b", "a.b.c.d", &"a".repeat(MAX_TOKEN + 1)] {
            assert!(matches!(signed(bad), Err(TokenFault::Form(_))));
        }
    }

    #[test]
    fn a_token_for_many_says_who_asked() {
        let expected = Expected { issuer: "i", audience: "robo", client: "robo", now: 1000 };
        let check = |change: Value| {
            let mut claims = json!({"sub": "ann", "iss": "i", "aud": "robo", "iat": 1000});
            let change = change.as_object().unwrap().clone();
            claims.as_object_mut().unwrap().extend(change);
            check_rest(claims.as_object().unwrap(), &expected).is_ok()
        };
        assert!(check(json!({})));
        assert!(check(json!({"aud": ["robo"]})));
        assert!(check(json!({"aud": ["robo", "other"], "azp": "robo"})));
        for bad in [
            json!({"aud": ["robo", "other"]}),
            json!({"azp": "other"}),
            json!({"azp": 7}),
            json!({"sub": ""}),
            json!({"sub": 7}),
            json!({"iat": 1061}),
            json!({"iat": "1000"}),
            json!({"iat": null}),
        ] {
            assert!(!check(bad.clone()), "{bad}");
        }
    }
}
