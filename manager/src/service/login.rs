//! An identity of the provider's becomes a user with a token.

use robo_model::name::UserName;
use robo_wire::api::{LoggedIn, UserKind, UserTokenRequest};
use serde_json::Value;

use super::access::{AccessError, MAX_USERS};
use super::error::ServiceError;
use super::{Service, now};
use crate::login::{Claims, LetIn, LoginConfig, Refused};
use crate::store::{BY_LOGIN, Login, UserRecord, UserTokenRecord};
use crate::token;

/// Why somebody whom the provider knows does not get in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// Nobody gets in.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// What the user would be called is no name, or is not told.
    #[error("the identity has no claim `{claim}` that is a user's name")]
    NoName {
        /// Which claim names users.
        claim: String,
    },
    /// The name is somebody else's.
    #[error("there is a user `{name}` already, whom nobody has said to be this identity")]
    NameTaken {
        /// Whose.
        name: UserName,
    },
    /// The manager fails, or a bound is met.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

impl Service {
    /// Logs somebody in whom the provider vouches for: who that is, and with which token.
    ///
    /// # Errors
    /// When the rules let them not in, they would take somebody's place, or the store fails.
    pub async fn log_in(
        &self,
        config: &LoginConfig,
        claims: &Claims,
        refresh_token: Option<String>,
    ) -> Result<LoggedIn, LoginError> {
        let subject = claims.get("sub").and_then(Value::as_str).ok_or(Refused)?;
        let let_in = match config.let_in(claims) {
            Ok(let_in) => let_in,
            Err(refused) => {
                self.shut_out(config, subject).await?;
                return Err(refused.into());
            }
        };
        // One at a time: two that come first would be two users of one name.
        let _enrolling = self.0.enrolling.lock().await;
        let name = self.name_of((config, subject), let_in.clone()).await?;
        let created_by = format!("{BY_LOGIN} {}", config.issuer);
        let user = UserRecord { name, kind: UserKind::Person, created_at: now(), created_by };
        let login = Login { issuer: &config.issuer, subject, user: &user, grants: &let_in.grants };
        let moved = self.store().log_in(&login, now()).await.map_err(ServiceError::from)?;
        if moved.has_less {
            self.move_rights();
        }
        tracing::info!(user = %user.name, subject, is_new = moved.is_new, "logged in");
        Ok(self.token_of(user.name, (config, subject), refresh_token).await?)
    }

    /// Takes away what the provider's word gave somebody whom no rule lets in any more.
    async fn shut_out(&self, config: &LoginConfig, subject: &str) -> Result<(), ServiceError> {
        if self.store().shut_out(&config.issuer, subject).await? {
            tracing::info!(subject, "let in no more");
            self.move_rights();
        }
        Ok(())
    }

    async fn name_of(&self, (config, subject): (&LoginConfig, &str), let_in: LetIn) -> Result<UserName, LoginError> {
        let known = self.store().identity(&config.issuer, subject).await.map_err(ServiceError::from)?;
        let groups = self.store().groups().await.map_err(ServiceError::from)?;
        let is_group = |name: &UserName| groups.iter().any(|group| group.name == *name);
        // Whoever wrote the rules says who somebody is; then it stays who it was. A group is nobody.
        if let Some(name) = let_in.named.or(known) {
            return if is_group(&name) { Err(LoginError::NameTaken { name }) } else { Ok(name) };
        }
        let name = let_in.claimed.ok_or_else(|| LoginError::NoName { claim: config.user_claim.clone() })?;
        let users = self.store().users().await.map_err(ServiceError::from)?;
        if users.iter().any(|user| user.name == name) || is_group(&name) {
            return Err(LoginError::NameTaken { name });
        }
        if users.len() >= MAX_USERS {
            return Err(ServiceError::from(AccessError::TooManyUsers { max: MAX_USERS }).into());
        }
        Ok(name)
    }

    async fn token_of(
        &self,
        user: UserName,
        (config, subject): (&LoginConfig, &str),
        refresh_token: Option<String>,
    ) -> Result<LoggedIn, ServiceError> {
        self.make_room(&user).await?;
        let (text, end) = (token::new_api_token()?, now().plus(config.token_lifetime));
        let note = format!("login as {subject}").chars().take(UserTokenRequest::MAX_NOTE).collect();
        let record = UserTokenRecord {
            hash: token::hash(&text),
            user: user.clone(),
            note,
            created_at: now(),
            created_by: format!("{BY_LOGIN} {}", config.issuer),
            expires_at: Some(end),
            last_used: None,
            narrowed: None,
        };
        self.store().add_user_token(&record).await?;
        Ok(LoggedIn { user, token: text, expires_at: end, refresh_token })
    }
}
