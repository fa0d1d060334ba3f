//! Who an identity of the provider's is here, and what they may: pure, denied by default.

use robo_model::access::Grant;
use robo_model::name::UserName;
use serde_json::Value;

use super::config::LoginConfig;
use super::verify::Claims;

/// The claim that counts only when the provider has verified it: else anybody could take somebody's address.
const EMAIL: &str = "email";

/// Says whether it has.
const EMAIL_VERIFIED: &str = "email_verified";

/// Somebody whom a rule lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetIn {
    /// Who, where a rule names the user.
    pub named: Option<UserName>,
    /// Who by the claim that users are called by.
    pub claimed: Option<UserName>,
    /// What they may as long as the claims say so.
    pub grants: Vec<Grant>,
}

/// Nobody here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no rule of the manager lets this identity in")]
pub struct Refused;

impl LoginConfig {
    /// Who somebody with these claims is.
    ///
    /// # Errors
    /// When no rule lets them in.
    pub fn let_in(&self, claims: &Claims) -> Result<LetIn, Refused> {
        let mut met = self.rules.iter().filter(|rule| says(claims, &rule.claim, &rule.is)).peekable();
        met.peek().ok_or(Refused)?;
        let mut let_in = LetIn { named: None, claimed: self.claimed(claims), grants: Vec::new() };
        for rule in met {
            let_in.named = let_in.named.or_else(|| rule.user.clone());
            let_in.grants.extend(rule.grant().filter(|grant| !let_in.grants.contains(grant)));
        }
        Ok(let_in)
    }

    fn claimed(&self, claims: &Claims) -> Option<UserName> {
        let text = known(claims, &self.user_claim)?.as_str()?;
        UserName::new(text).ok()
    }
}

fn says(claims: &Claims, claim: &str, wanted: &str) -> bool {
    match known(claims, claim) {
        Some(Value::Array(all)) => all.iter().any(|value| is(value, wanted)),
        Some(value) => is(value, wanted),
        None => false,
    }
}

fn is(value: &Value, wanted: &str) -> bool {
    match value {
        Value::String(text) => text == wanted,
        Value::Bool(is) => (if *is { "true" } else { "false" }) == wanted,
        Value::Number(number) => number.to_string() == wanted,
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

fn known<'a>(claims: &'a Claims, name: &str) -> Option<&'a Value> {
    if name == EMAIL && !says(claims, EMAIL_VERIFIED, "true") {
        return None;
    }
    claims.get(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn let_in(rules: Value, claims: Value) -> Result<LetIn, Refused> {
        let config = json!({"issuer": "https://x", "client_id": "x", "rules": rules});
        let config: LoginConfig = serde_json::from_value(config).unwrap();
        config.let_in(claims.as_object().unwrap())
    }

    #[test]
    fn who_meets_no_rule_is_nobody() {
        let rules = json!([{"claim": "groups", "is": "robots"}, {"claim": "hd", "is": "example.org"}]);
        for claims in [
            json!({}),
            json!({"groups": []}),
            json!({"groups": "robots2"}),
            json!({"groups": ["Robots", "x"]}),
            json!({"groups": {"robots": true}}),
            json!({"groups": [["robots"]]}),
            json!({"hd": null}),
        ] {
            assert_eq!(let_in(rules.clone(), claims.clone()), Err(Refused), "{claims}");
        }
        assert!(let_in(rules.clone(), json!({"groups": ["x", "robots"]})).is_ok());
        assert!(let_in(rules, json!({"hd": "example.org"})).is_ok());
    }

    #[test]
    fn an_address_counts_when_it_is_verified() {
        let rules = json!([{"claim": "email", "is": "ann@x.org", "role": "viewer", "project": "default"}]);
        let ask = |verified: Value| let_in(rules.clone(), json!({"email": "ann@x.org", "email_verified": verified}));
        assert_eq!(ask(json!(true)).unwrap().claimed.unwrap().as_str(), "ann@x.org");
        assert!(ask(json!("true")).is_ok());
        for bad in [json!(false), Value::Null, json!("yes"), json!(1)] {
            assert_eq!(ask(bad), Err(Refused));
        }
    }

    #[test]
    fn what_all_rules_give_is_given_once() {
        let rule = |is: &str, role: &str| json!({"claim": "groups", "is": is, "role": role, "project": "default"});
        let named = json!({"claim": "sub", "is": "7", "user": "ann"});
        let rules = json!([rule("a", "viewer"), rule("b", "operator"), rule("c", "viewer"), named]);
        let told = let_in(rules, json!({"sub": "7", "groups": ["a", "b", "c"], "email": "no name here"})).unwrap();
        assert_eq!(told.grants.len(), 2);
        assert_eq!((told.named.unwrap().as_str(), told.claimed), ("ann", None));
    }
}
