//! Logging in with an identity of somebody else's: the device authorization grant (RFC 8628), through the manager.
//!
//! The manager is the provider's client and keeps nothing between two requests: the device code and what proves that
//! this client began (PKCE, RFC 7636) stay here. So any manager process can answer, and a restart loses no login.

use robo_model::name::UserName;
use robo_model::quantity::UnixMillis;
use serde::{Deserialize, Serialize};

/// Longest code, verifier or refresh token that is passed on, in bytes: some providers' are tokens of their own.
pub const MAX_LOGIN_SECRET: usize = 16 * 1024;

/// Largest body of a request about logging in, in bytes: two secrets fit.
pub const MAX_LOGIN_BODY: usize = 64 * 1024;

/// `POST /v1/login`: asks for a code that a person confirms at the provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LoginRequest {
    /// SHA-256 of the verifier, as RFC 7636 writes it (`S256`): 43 characters.
    pub code_challenge: String,
}

/// What a person has to do, and with what the client asks whether it is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LoginCode {
    /// For the client alone.
    pub device_code: String,
    /// What the person types in.
    pub user_code: String,
    /// Where.
    pub verification_uri: String,
    /// The same, with the code in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification_uri_complete: Option<String>,
    /// Seconds until the code is worth nothing.
    pub expires_in: u64,
    /// Seconds between two questions, at least.
    pub interval: u64,
}

/// `POST /v1/login/token`: asks for a token of the manager's.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "grant", rename_all = "snake_case", deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum LoginProof {
    /// For a code that was confirmed.
    Code {
        /// As the manager gave it.
        device_code: String,
        /// What the challenge was made of.
        code_verifier: String,
    },
    /// For an earlier login that the provider lets go on.
    Refresh {
        /// As it was given last.
        refresh_token: String,
    },
}

impl std::fmt::Debug for LoginProof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Code { .. } => "LoginProof::Code",
            Self::Refresh { .. } => "LoginProof::Refresh",
        })
    }
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum LoginState {
    /// Nobody has confirmed the code yet.
    Pending,
    /// The same, and the client asks too often: five seconds more between two questions from now on.
    SlowDown,
    /// Logged in.
    Done(LoggedIn),
}

impl std::fmt::Debug for LoginState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pending => f.write_str("Pending"),
            Self::SlowDown => f.write_str("SlowDown"),
            Self::Done(done) => write!(f, "Done({})", done.user),
        }
    }
}

/// Somebody who is logged in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LoggedIn {
    /// Who, for the manager.
    pub user: UserName,
    /// The manager's token.
    pub token: String,
    /// When it ends.
    pub expires_at: UnixMillis,
    /// For another one then; nothing where the provider gives none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
}

/// `POST /v1/auth/logout`: makes the token worth nothing that the request came with.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LogoutRequest {
    /// What the provider is told to take back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_in_the_debug_form() {
        let proof = LoginProof::Refresh { refresh_token: "secret".into() };
        let done = LoginState::Done(LoggedIn {
            user: "ann".parse().unwrap(),
            token: "secret".into(),
            expires_at: UnixMillis(1),
            refresh_token: Some("secret".into()),
        });
        assert!(!format!("{proof:?} {done:?}").contains("secret"));
    }

    #[test]
    fn each_proof_is_told_by_its_grant() {
        let read = |text: &str| serde_json::from_str::<LoginProof>(text);
        assert!(read(r#"{"grant":"code","device_code":"a","code_verifier":"b"}"#).is_ok());
        assert!(read(r#"{"grant":"refresh","refresh_token":"a"}"#).is_ok());
        for bad in [r#"{"grant":"password"}"#, r#"{"grant":"refresh"}"#, r#"{"grant":"code","device_code":"a"}"#] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
