//! Users, their tokens, and what they may.

use robo_model::access::{Grant, Role};
use robo_model::name::UserName;
use robo_model::quantity::UnixMillis;
use robo_wire::api::{GrantView, UserKind};
use sqlx::sqlite::SqliteRow;

use super::groups;
use super::{Columns, Store, StoreError, Tx, at, big, commit, from_json, parse, to_json};

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRecord {
    /// Its name.
    pub name: UserName,
    /// What it is.
    pub kind: UserKind,
    /// When it was made.
    pub created_at: UnixMillis,
    /// Who made it.
    pub created_by: String,
}

/// A token with which somebody is a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserTokenRecord {
    /// The SHA-256 of its text, in hexadecimal.
    pub hash: String,
    /// Whose it is.
    pub user: UserName,
    /// What it is for.
    pub note: String,
    /// When it was made.
    pub created_at: UnixMillis,
    /// Who made it.
    pub created_by: String,
    /// When it ends.
    pub expires_at: Option<UnixMillis>,
    /// When it was used last, about.
    pub last_used: Option<UnixMillis>,
    /// What it is good for at most.
    pub narrowed: Option<Grant>,
}

impl UserTokenRecord {
    /// True when its time is not over.
    #[must_use]
    pub fn is_good(&self, now: UnixMillis) -> bool {
        self.expires_at.is_none_or(|end| end > now)
    }
}

impl Store {
    /// The users, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn users(&self) -> Result<Vec<UserRecord>, StoreError> {
        let rows =
            sqlx::query("SELECT * FROM users WHERE kind <> 'group' ORDER BY name").fetch_all(&self.readers).await;
        rows.map_err(at("reading the users"))?.iter().map(user).collect()
    }

    /// Whether there is this user.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_user(&self, name: &UserName) -> Result<bool, StoreError> {
        let query =
            sqlx::query_scalar::<_, i64>("SELECT 1 FROM users WHERE name = $1 AND kind <> 'group'").bind(name.as_str());
        Ok(query.fetch_optional(&self.readers).await.map_err(at("reading a user"))?.is_some())
    }

    /// Adds a user. False when there is one of that name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn add_user(&self, user: &UserRecord) -> Result<bool, StoreError> {
        insert_user(&self.writer, user).await
    }

    /// Whether there is this user, or this group.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_holder(&self, name: &UserName) -> Result<bool, StoreError> {
        let query = sqlx::query_scalar::<_, i64>("SELECT 1 FROM users WHERE name = $1").bind(name.as_str());
        Ok(query.fetch_optional(&self.readers).await.map_err(at("reading a user"))?.is_some())
    }

    /// Removes a user with its tokens and grants. False when there is none of that name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn remove_user(&self, name: &UserName) -> Result<bool, StoreError> {
        if !self.has_user(name).await? {
            return Ok(false);
        }
        let mut tx = self.begin().await?;
        groups::remove(&mut tx, name).await?;
        commit(tx).await?;
        Ok(true)
    }

    /// Remembers a token by its hash. One that is there stays as it is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn add_user_token(&self, token: &UserTokenRecord) -> Result<(), StoreError> {
        let narrowed = token.narrowed.as_ref().map(|grant| to_json("a token's bound", grant)).transpose()?;
        sqlx::query(
            "INSERT INTO api_tokens (hash, name, created_at, note, created_by, expires_at, narrowed) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (hash) DO NOTHING",
        )
        .bind(&token.hash)
        .bind(token.user.as_str())
        .bind(big(token.created_at.0))
        .bind(&token.note)
        .bind(&token.created_by)
        .bind(token.expires_at.map(|at| big(at.0)))
        .bind(narrowed)
        .execute(&self.writer)
        .await
        .map_err(at("writing a token"))?;
        Ok(())
    }

    /// The token with this hash, whether or not its time is over.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn user_token(&self, hash: &str) -> Result<Option<UserTokenRecord>, StoreError> {
        let row =
            sqlx::query("SELECT * FROM api_tokens WHERE hash = $1").bind(hash).fetch_optional(&self.readers).await;
        row.map_err(at("reading a token"))?.as_ref().map(token).transpose()
    }

    /// The tokens, of one user or of all, the oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn user_tokens(&self, of: Option<&UserName>) -> Result<Vec<UserTokenRecord>, StoreError> {
        let rows = sqlx::query("SELECT * FROM api_tokens WHERE $1 = '' OR name = $1 ORDER BY created_at, hash")
            .bind(of.map_or("", UserName::as_str))
            .fetch_all(&self.readers)
            .await
            .map_err(at("reading the tokens"))?;
        rows.iter().map(token).collect()
    }

    /// Forgets a token. False when it is not there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn remove_user_token(&self, hash: &str) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM api_tokens WHERE hash = $1").bind(hash).execute(&self.writer).await;
        Ok(done.map_err(at("forgetting a token"))?.rows_affected() > 0)
    }

    /// Notes that a token was used.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn used_user_token(&self, hash: &str, now: UnixMillis) -> Result<(), StoreError> {
        let query = sqlx::query("UPDATE api_tokens SET last_used = $2 WHERE hash = $1").bind(hash).bind(big(now.0));
        query.execute(&self.writer).await.map_err(at("noting that a token was used")).map(drop)
    }

    /// What users may: one of them, with what is theirs by their groups, or what each user and each group was given.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn grants(&self, of: Option<&UserName>) -> Result<Vec<GrantView>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM grants WHERE $1 = '' OR name = $1 \
             OR name IN (SELECT name FROM group_members WHERE member = $1) ORDER BY name <> $1, name, id",
        )
        .bind(of.map_or("", UserName::as_str))
        .fetch_all(&self.readers)
        .await
        .map_err(at("reading the grants"))?;
        let by_group = |view: GrantView| match of {
            Some(user) if view.user != *user => GrantView { group: Some(view.user), user: user.clone(), ..view },
            Some(_) | None => view,
        };
        rows.iter().map(|row| grant(row).map(by_group)).collect()
    }

    /// Gives a user a role. Answers with the grant, which may have been there.
    ///
    /// # Errors
    /// When there is no such user, or the database fails.
    pub async fn add_grant(
        &self,
        user: &UserName,
        wanted: &Grant,
        by: &str,
        now: UnixMillis,
    ) -> Result<GrantView, StoreError> {
        let mut tx = self.begin().await?;
        let id = next_grant(&mut tx).await?;
        let (project, selector) = columns_of(wanted);
        sqlx::query(
            "INSERT INTO grants (id, name, role, project, selector, granted_at, granted_by) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (name, role, project, selector) DO NOTHING",
        )
        .bind(id)
        .bind(user.as_str())
        .bind(wanted.role.name())
        .bind(&project)
        .bind(&selector)
        .bind(big(now.0))
        .bind(by)
        .execute(&mut *tx)
        .await
        .map_err(at("writing a grant"))?;
        let row = sqlx::query("SELECT * FROM grants WHERE name = $1 AND role = $2 AND project = $3 AND selector = $4")
            .bind(user.as_str())
            .bind(wanted.role.name())
            .bind(&project)
            .bind(&selector)
            .fetch_one(&mut *tx)
            .await
            .map_err(at("reading a grant"))?;
        let grant = grant(&row)?;
        commit(tx).await?;
        Ok(grant)
    }

    /// Takes a grant away. False when it is not there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn remove_grant(&self, id: u64) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM grants WHERE id = $1").bind(big(id)).execute(&self.writer).await;
        Ok(done.map_err(at("taking a grant away"))?.rows_affected() > 0)
    }
}

pub(super) async fn insert_user<'e>(
    on: impl sqlx::Executor<'e, Database = sqlx::Sqlite>,
    user: &UserRecord,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "INSERT INTO users (name, kind, created_at, created_by) VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO NOTHING",
    )
    .bind(user.name.as_str())
    .bind(kind_name(user.kind))
    .bind(big(user.created_at.0))
    .bind(&user.created_by)
    .execute(on)
    .await
    .map_err(at("adding a user"))?;
    Ok(done.rows_affected() > 0)
}

pub(super) async fn next_grant(tx: &mut Tx) -> Result<i64, StoreError> {
    sqlx::query_scalar(
        "INSERT INTO counters (name, value) VALUES ('grants', 1) \
         ON CONFLICT (name) DO UPDATE SET value = counters.value + 1 RETURNING value",
    )
    .fetch_one(&mut **tx)
    .await
    .map_err(at("counting the grants"))
}

pub(super) fn columns_of(grant: &Grant) -> (String, String) {
    let project = grant.project.as_ref().map(ToString::to_string).unwrap_or_default();
    (project, grant.selector.as_ref().map(ToString::to_string).unwrap_or_default())
}

pub(super) fn user(row: &SqliteRow) -> Result<UserRecord, StoreError> {
    let columns = Columns::of("a user", row);
    let kind = if columns.text("kind")? == kind_name(UserKind::Machine) { UserKind::Machine } else { UserKind::Person };
    Ok(UserRecord {
        name: columns.name("name")?,
        kind,
        created_at: UnixMillis(columns.number("created_at")?),
        created_by: columns.text("created_by")?.to_owned(),
    })
}

const fn kind_name(kind: UserKind) -> &'static str {
    match kind {
        UserKind::Person => "person",
        UserKind::Machine => "machine",
    }
}

fn token(row: &SqliteRow) -> Result<UserTokenRecord, StoreError> {
    let columns = Columns::of("a token", row);
    Ok(UserTokenRecord {
        hash: columns.text("hash")?.to_owned(),
        user: columns.name("name")?,
        note: columns.text("note")?.to_owned(),
        created_at: UnixMillis(columns.number("created_at")?),
        created_by: columns.text("created_by")?.to_owned(),
        expires_at: columns.number_or_null("expires_at")?.map(UnixMillis),
        last_used: columns.number_or_null("last_used")?.map(UnixMillis),
        narrowed: columns.text_or_null("narrowed")?.map(|text| from_json("a token's bound", text)).transpose()?,
    })
}

fn grant(row: &SqliteRow) -> Result<GrantView, StoreError> {
    let columns = Columns::of("a grant", row);
    let (project, selector) = (columns.text("project")?, columns.text("selector")?);
    Ok(GrantView {
        id: columns.number("id")?,
        user: columns.name("name")?,
        group: None,
        grant: Grant {
            role: columns.name::<Role>("role")?,
            project: if project.is_empty() { None } else { Some(parse("a grant's project", project)?) },
            selector: if selector.is_empty() { None } else { Some(parse("a grant's selector", selector)?) },
        },
        granted_at: UnixMillis(columns.number("granted_at")?),
        granted_by: columns.text("granted_by")?.to_owned(),
    })
}
