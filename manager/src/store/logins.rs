//! Identities of OpenID providers: which user each is, and the roles that follow what the provider says.

use robo_model::access::Grant;
use robo_model::name::UserName;
use robo_model::quantity::UnixMillis;
use sqlx::Row as _;

use super::access::{UserRecord, columns_of, insert_user, next_grant};
use super::{Store, StoreError, Tx, at, big, commit, parse};

/// Who grants what follows a claim: no user can be called so.
pub const BY_LOGIN: &str = "(login)";

/// Somebody who logs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login<'a> {
    /// The provider.
    pub issuer: &'a str,
    /// Whom it means: never anybody else's.
    pub subject: &'a str,
    /// Who that is here.
    pub user: &'a UserRecord,
    /// What the provider's word gives.
    pub grants: &'a [Grant],
}

/// What a login changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginMoved {
    /// A user was made.
    pub is_new: bool,
    /// A role was taken away that the provider's word gave before.
    pub has_less: bool,
}

impl Store {
    /// Which user an identity is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn identity(&self, issuer: &str, subject: &str) -> Result<Option<UserName>, StoreError> {
        let query = sqlx::query_scalar::<_, String>("SELECT name FROM identities WHERE issuer = $1 AND subject = $2");
        let name = query.bind(issuer).bind(subject).fetch_optional(&self.readers).await;
        name.map_err(at("reading an identity"))?.map(|name| parse("an identity's user", &name)).transpose()
    }

    /// Ties an identity to its user, who is made where there is none, and gives and takes what follows the claims.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn log_in(&self, login: &Login<'_>, now: UnixMillis) -> Result<LoginMoved, StoreError> {
        let mut tx = self.begin().await?;
        let is_new = insert_user(&mut *tx, login.user).await?;
        sqlx::query(
            "INSERT INTO identities (issuer, subject, name, tied_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (issuer, subject) DO UPDATE SET name = excluded.name",
        )
        .bind(login.issuer)
        .bind(login.subject)
        .bind(login.user.name.as_str())
        .bind(big(now.0))
        .execute(&mut *tx)
        .await
        .map_err(at("writing an identity"))?;
        let has_less = take_others(&mut tx, login).await?;
        for grant in login.grants {
            give(&mut tx, &login.user.name, grant, now).await?;
        }
        commit(tx).await?;
        Ok(LoginMoved { is_new, has_less })
    }

    /// Takes away the roles and tokens that an identity had by the provider's word. False when it had none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn shut_out(&self, issuer: &str, subject: &str) -> Result<bool, StoreError> {
        let Some(name) = self.identity(issuer, subject).await? else { return Ok(false) };
        let mut tx = self.begin().await?;
        let mut gone = 0;
        let tokens_of = format!("{BY_LOGIN} {issuer}");
        for (statement, by) in [
            ("DELETE FROM grants WHERE name = $1 AND granted_by = $2", BY_LOGIN),
            ("DELETE FROM api_tokens WHERE name = $1 AND created_by = $2", &tokens_of),
        ] {
            let done = sqlx::query(statement).bind(name.as_str()).bind(by).execute(&mut *tx).await;
            gone += done.map_err(at("shutting an identity out"))?.rows_affected();
        }
        commit(tx).await?;
        Ok(gone > 0)
    }
}

/// Takes away what another login gave and this one does not.
async fn take_others(tx: &mut Tx, login: &Login<'_>) -> Result<bool, StoreError> {
    let rows = sqlx::query("SELECT id, role, project, selector FROM grants WHERE name = $1 AND granted_by = $2")
        .bind(login.user.name.as_str())
        .bind(BY_LOGIN)
        .fetch_all(&mut **tx)
        .await
        .map_err(at("reading the grants"))?;
    let mut has_less = false;
    for row in rows {
        let had: (String, String, String) = (row.get("role"), row.get("project"), row.get("selector"));
        let is_wanted = |grant: &Grant| {
            let (project, selector) = columns_of(grant);
            had == (grant.role.name().to_owned(), project, selector)
        };
        if !login.grants.iter().any(is_wanted) {
            let id: i64 = row.get("id");
            let done = sqlx::query("DELETE FROM grants WHERE id = $1").bind(id).execute(&mut **tx).await;
            done.map_err(at("taking a grant away"))?;
            has_less = true;
        }
    }
    Ok(has_less)
}

/// Gives a role; one that somebody gave by hand stays theirs.
async fn give(tx: &mut Tx, user: &UserName, grant: &Grant, now: UnixMillis) -> Result<(), StoreError> {
    let (project, selector) = columns_of(grant);
    let id = next_grant(tx).await?;
    sqlx::query(
        "INSERT INTO grants (id, name, role, project, selector, granted_at, granted_by) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (name, role, project, selector) DO NOTHING",
    )
    .bind(id)
    .bind(user.as_str())
    .bind(grant.role.name())
    .bind(project)
    .bind(selector)
    .bind(big(now.0))
    .bind(BY_LOGIN)
    .execute(&mut **tx)
    .await
    .map_err(at("writing a grant"))
    .map(drop)
}
