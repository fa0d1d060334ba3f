//! Groups of users, and changes of who there is and who may what that are made all at once.

use std::collections::{BTreeMap, BTreeSet};

use robo_model::access::Grant;
use robo_model::name::UserName;
use robo_model::quantity::UnixMillis;
use robo_wire::api::UserKind;

use super::access::{UserRecord, columns_of, insert_user, next_grant};
use super::{Columns, Store, StoreError, Tx, at, big, commit};

/// One change of who there is, or who may what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessStep {
    /// There is this user.
    AddUser(UserName, UserKind),
    /// There is this group.
    AddGroup(UserName),
    /// Somebody comes into a group.
    Join {
        /// The group.
        group: UserName,
        /// Who.
        member: UserName,
    },
    /// A user or a group gets a role.
    Give(UserName, Grant),
    /// The role with this number goes; it was of this user or group.
    Take(u64, UserName, Grant),
    /// Somebody goes out of a group.
    Leave {
        /// The group.
        group: UserName,
        /// Who.
        member: UserName,
    },
    /// The group goes, with its roles.
    RemoveGroup(UserName),
    /// The user goes, with all roles and tokens.
    RemoveUser(UserName),
}

/// The kind under which a group stands among the users.
pub(super) const GROUP: &str = "group";

impl Store {
    /// The groups, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn groups(&self) -> Result<Vec<UserRecord>, StoreError> {
        let rows = sqlx::query("SELECT * FROM users WHERE kind = $1 ORDER BY name").bind(GROUP);
        let rows = rows.fetch_all(&self.readers).await.map_err(at("reading the groups"))?;
        rows.iter().map(super::access::user).collect()
    }

    /// Who is in which group.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn members(&self) -> Result<BTreeMap<UserName, BTreeSet<UserName>>, StoreError> {
        let rows = sqlx::query("SELECT name, member FROM group_members")
            .fetch_all(&self.readers)
            .await
            .map_err(at("reading who is in which group"))?;
        let mut all: BTreeMap<UserName, BTreeSet<UserName>> = BTreeMap::new();
        for row in &rows {
            let columns = Columns::of("a member of a group", row);
            all.entry(columns.name("name")?).or_default().insert(columns.name("member")?);
        }
        Ok(all)
    }

    /// Makes these changes in their order: all of them, or none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn change_access(&self, steps: &[AccessStep], by: &str, now: UnixMillis) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        for step in steps {
            carry_out(&mut tx, step, by, now).await?;
        }
        commit(tx).await
    }
}

async fn carry_out(tx: &mut Tx, step: &AccessStep, by: &str, now: UnixMillis) -> Result<(), StoreError> {
    match step {
        AccessStep::AddUser(name, kind) => {
            let user = UserRecord { name: name.clone(), kind: *kind, created_at: now, created_by: by.to_owned() };
            insert_user(&mut **tx, &user).await.map(drop)
        }
        AccessStep::AddGroup(name) => {
            run(
                tx,
                "INSERT INTO users (name, kind, created_at, created_by) VALUES ($1, 'group', $2, $3) \
                 ON CONFLICT (name) DO NOTHING",
                |query| query.bind(name.as_str()).bind(big(now.0)).bind(by),
            )
            .await
        }
        AccessStep::Join { group, member } => {
            run(
                tx,
                "INSERT INTO group_members (name, member) VALUES ($1, $2) ON CONFLICT (name, member) DO NOTHING",
                |query| query.bind(group.as_str()).bind(member.as_str()),
            )
            .await
        }
        AccessStep::Leave { group, member } => {
            run(tx, "DELETE FROM group_members WHERE name = $1 AND member = $2", |query| {
                query.bind(group.as_str()).bind(member.as_str())
            })
            .await
        }
        AccessStep::Give(name, grant) => {
            let id = next_grant(tx).await?;
            let (project, selector) = columns_of(grant);
            run(
                tx,
                "INSERT INTO grants (id, name, role, project, selector, granted_at, granted_by) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (name, role, project, selector) DO NOTHING",
                |query| {
                    let query = query.bind(id).bind(name.as_str()).bind(grant.role.name());
                    query.bind(project).bind(selector).bind(big(now.0)).bind(by)
                },
            )
            .await
        }
        AccessStep::Take(id, ..) => run(tx, "DELETE FROM grants WHERE id = $1", |query| query.bind(big(*id))).await,
        AccessStep::RemoveGroup(name) | AccessStep::RemoveUser(name) => remove(tx, name).await,
    }
}

/// Removes a user or a group with all that it has.
pub(super) async fn remove(tx: &mut Tx, name: &UserName) -> Result<(), StoreError> {
    for statement in [
        "DELETE FROM api_tokens WHERE name = $1",
        "DELETE FROM grants WHERE name = $1",
        "DELETE FROM identities WHERE name = $1",
        "DELETE FROM group_members WHERE name = $1 OR member = $1",
        "DELETE FROM users WHERE name = $1",
    ] {
        run(tx, statement, |query| query.bind(name.as_str())).await?;
    }
    Ok(())
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

async fn run<'q>(
    tx: &mut Tx,
    statement: &'static str,
    bind: impl FnOnce(Query<'q>) -> Query<'q>,
) -> Result<(), StoreError> {
    bind(sqlx::query(statement)).execute(&mut **tx).await.map_err(at("changing who may what")).map(drop)
}
