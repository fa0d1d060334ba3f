//! Users, their tokens, and what they may: who asks, and who may let whom do what.

mod error;

use std::path::Path;

use robo_model::access::{Decision, Grant, Role, Thing, Verb, decide_named, is_allowed};
use robo_model::label::Labels;
use robo_model::name::{ProjectName, UserName};
use robo_model::quantity::{Millis, UnixMillis};
use robo_wire::api::{
    CanI, GrantRequest, GrantView, LAST_USED_STEP, NewUserToken, ProjectRequest, ProjectView, UserKind, UserRequest,
    UserTokenRequest, UserTokenView, UserView,
};

pub use self::error::AccessError;
use super::error::ServiceError;
use super::{ADMIN_TOKEN, Service, folder, now, write_private};
use crate::store::{ProjectRecord, Store, StoreError, UserRecord, UserTokenRecord};
use crate::token;

/// The user who is there from the start, and may everything: whoever can read the manager's folder is this one.
const ADMIN: &str = "admin";

/// Most users: more than anybody manages by hand.
pub(super) const MAX_USERS: usize = 100_000;

/// Most roles of one user: each request looks at all of them.
pub(super) const MAX_GRANTS: usize = 100;

/// Characters of a token's hash that name it.
const TOKEN_ID: usize = 12;

/// Somebody with a token that is good, and what they may with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Who.
    pub user: UserName,
    /// What the user may.
    pub grants: Vec<GrantView>,
    token: UserTokenRecord,
    /// The grants alone.
    plain: Vec<Grant>,
}

impl Access {
    /// Whether it is allowed.
    #[must_use]
    pub fn may(&self, verb: Verb, thing: Thing<'_>) -> bool {
        is_allowed(&self.plain, self.token.narrowed.as_ref(), verb, thing)
    }

    /// Whether it is allowed, and why.
    #[must_use]
    pub fn decide(&self, verb: Verb, thing: Thing<'_>) -> Decision {
        decide_named(&named(&self.grants), self.token.narrowed.as_ref(), verb, thing)
    }

    /// Whether a device with these labels is seen.
    #[must_use]
    pub fn sees(&self, project: &ProjectName, labels: &Labels) -> bool {
        self.may(Verb::See, Thing::Device(project, labels))
    }

    /// Names the token.
    #[must_use]
    pub fn token_id(&self) -> &str {
        token_id(&self.token.hash)
    }

    /// When the token ends.
    #[must_use]
    pub const fn ends(&self) -> Option<UnixMillis> {
        self.token.expires_at
    }

    /// The token, for people.
    #[must_use]
    pub fn token(&self) -> UserTokenView {
        view(self.token.clone())
    }
}

/// What somebody who shows a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// Nobody: there is no such token, or no longer.
    Unknown,
    /// Somebody whose token's time is over.
    Ended(UserName, UnixMillis),
    /// This one.
    Good(Box<Access>),
}

impl Service {
    /// Whose token this is, and what it is good for.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn who(&self, token: &str) -> Result<Shown, ServiceError> {
        self.who_has(&token::hash(token)).await
    }

    /// The same as [`Self::who`], now: a token may have ended since, and a role may have been taken away.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn again(&self, access: &Access) -> Result<Shown, ServiceError> {
        self.who_has(&access.token.hash).await
    }

    async fn who_has(&self, hash: &str) -> Result<Shown, ServiceError> {
        let Some(token) = self.store().user_token(hash).await? else { return Ok(Shown::Unknown) };
        let now = now();
        if !token.is_good(now) {
            return Ok(Shown::Ended(token.user, token.expires_at.unwrap_or(now)));
        }
        if token.last_used.is_none_or(|used| now.since(used) >= LAST_USED_STEP) {
            self.store().used_user_token(hash, now).await?;
        }
        let grants = self.store().grants(Some(&token.user)).await?;
        let plain = grants.iter().map(|view| view.grant.clone()).collect();
        Ok(Shown::Good(Box::new(Access { user: token.user.clone(), grants, token, plain })))
    }

    /// Whether this user may, with any token that is not narrowed.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn user_may(&self, user: &UserName, verb: Verb, thing: Thing<'_>) -> Result<Decision, ServiceError> {
        Ok(decide_named(&named(&self.store().grants(Some(user)).await?), None, verb, thing))
    }

    /// Whether somebody may, and why.
    ///
    /// # Errors
    /// When what is asked about does not exist, it is none of the asker's business, or the store fails.
    pub async fn can_i(&self, access: &Access, asked: &CanI) -> Result<Decision, ServiceError> {
        let labels = match (&asked.project, &asked.device) {
            (Some(project), Some(device)) => Some(self.record_of(project, device).await?.labels),
            (None, Some(_)) => return Err(AccessError::DeviceOfWhat.into()),
            (_, None) => None,
        };
        let thing = match (&asked.project, &labels) {
            (Some(project), Some(labels)) => Thing::Device(project, labels),
            (Some(project), None) => Thing::Project(project),
            (None, _) => Thing::Manager,
        };
        match &asked.user {
            Some(user) if *user != access.user => {
                if !access.may(Verb::ManageUsers, Thing::Manager) {
                    return Err(AccessError::OthersRights { user: user.clone() }.into());
                }
                self.check_user(user).await?;
                self.user_may(user, asked.verb, thing).await
            }
            _ => Ok(access.decide(asked.verb, thing)),
        }
    }

    /// The users.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn users(&self) -> Result<Vec<UserView>, ServiceError> {
        let (users, tokens) = (self.store().users().await?, self.store().user_tokens(None).await?);
        let (grants, now) = (self.store().grants(None).await?, now());
        let view = |user: UserRecord| {
            let own = || tokens.iter().filter(|token| token.user == user.name);
            UserView {
                kind: user.kind,
                created_at: user.created_at,
                last_used: own().filter_map(|token| token.last_used).max(),
                tokens: u32::try_from(own().filter(|token| token.is_good(now)).count()).unwrap_or(u32::MAX),
                grants: grants.iter().filter(|grant| grant.user == user.name).cloned().collect(),
                created_by: user.created_by,
                name: user.name,
            }
        };
        Ok(users.into_iter().map(view).collect())
    }

    /// Makes a user, who may nothing yet.
    ///
    /// # Errors
    /// When there are too many, or the store fails.
    pub async fn add_user(&self, request: UserRequest, by: &str) -> Result<UserView, ServiceError> {
        let UserRequest { name, kind } = request;
        let all = self.store().users().await?;
        if all.len() >= MAX_USERS && !all.iter().any(|user| user.name == name) {
            return Err(AccessError::TooManyUsers { max: MAX_USERS }.into());
        }
        if self.store().groups().await?.iter().any(|group| group.name == name) {
            return Err(AccessError::GroupsName { name }.into());
        }
        let user = UserRecord { name: name.clone(), kind, created_at: now(), created_by: by.to_owned() };
        self.store().add_user(&user).await?;
        let found = self.users().await?.into_iter().find(|user| user.name == name);
        found.ok_or_else(|| AccessError::NoUser { name }.into())
    }

    /// Removes a user: its tokens are worth nothing, and what it is at ends at once.
    ///
    /// # Errors
    /// When there is no such user, it is the one who has to stay, or the store fails.
    pub async fn remove_user(&self, name: &UserName) -> Result<(), ServiceError> {
        if name.as_str() == ADMIN {
            return Err(AccessError::TheAdmin.into());
        }
        if !self.store().remove_user(name).await? {
            return Err(AccessError::NoUser { name: name.clone() }.into());
        }
        self.move_rights();
        Ok(())
    }

    /// The tokens of a user, without their secrets.
    ///
    /// # Errors
    /// When there is no such user, or the store fails.
    pub async fn user_tokens(&self, user: &UserName) -> Result<Vec<UserTokenView>, ServiceError> {
        self.check_user(user).await?;
        Ok(self.store().user_tokens(Some(user)).await?.into_iter().map(view).collect())
    }

    /// Makes a token for a user. Who makes one for oneself gets none that is good for more, or longer, than the one
    /// at hand.
    ///
    /// # Errors
    /// When there is no such user, the request makes no sense, or the store fails.
    pub async fn make_user_token(
        &self,
        access: &Access,
        user: &UserName,
        request: UserTokenRequest,
    ) -> Result<NewUserToken, ServiceError> {
        self.check_user(user).await?;
        let UserTokenRequest { note, lifetime, mut narrowed } = request;
        let length = note.chars().count();
        if length > UserTokenRequest::MAX_NOTE {
            return Err(ServiceError::ReasonTooLong { length, max: UserTokenRequest::MAX_NOTE });
        }
        let asked = lifetime.unwrap_or(UserTokenRequest::LIFETIME);
        if asked > UserTokenRequest::MAX_LIFETIME || asked == Millis(0) {
            return Err(ServiceError::Lifetime { asked, max: UserTokenRequest::MAX_LIFETIME });
        }
        let (now, mut end) = (now(), now().plus(asked));
        if !access.may(Verb::ManageUsers, Thing::Manager) {
            end = access.ends().map_or(end, |own| own.min(end));
            narrowed = within(access.token.narrowed.as_ref(), narrowed)?;
        }
        self.make_room(user).await?;
        let text = token::new_api_token()?;
        let record = UserTokenRecord {
            hash: token::hash(&text),
            user: user.clone(),
            note,
            created_at: now,
            created_by: access.user.to_string(),
            expires_at: Some(end),
            last_used: None,
            narrowed,
        };
        self.store().add_user_token(&record).await?;
        Ok(NewUserToken { token: text, view: view(record) })
    }

    /// Forgets a user's tokens that are over, and refuses where too many are left.
    pub(super) async fn make_room(&self, user: &UserName) -> Result<(), ServiceError> {
        let (tokens, now) = (self.store().user_tokens(Some(user)).await?, now());
        for old in tokens.iter().filter(|token| !token.is_good(now)) {
            self.store().remove_user_token(&old.hash).await?;
        }
        if tokens.iter().filter(|token| token.is_good(now)).count() >= UserTokenRequest::MAX_TOKENS {
            return Err(AccessError::TooManyTokens { user: user.clone(), max: UserTokenRequest::MAX_TOKENS }.into());
        }
        Ok(())
    }

    /// Makes a token worth nothing, and ends at once what somebody is at with it.
    ///
    /// # Errors
    /// When there is no such token of the user, or the store fails.
    pub async fn revoke_user_token(&self, user: &UserName, id: &str) -> Result<UserTokenView, ServiceError> {
        let tokens = self.store().user_tokens(Some(user)).await?;
        let found = tokens.into_iter().find(|token| token_id(&token.hash) == id);
        let token = found.ok_or_else(|| AccessError::NoUserToken { user: user.clone(), id: id.to_owned() })?;
        self.store().remove_user_token(&token.hash).await?;
        self.move_rights();
        Ok(view(token))
    }

    /// What users may, as far as whoever asks may say so.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn grants(&self, access: &Access) -> Result<Vec<GrantView>, ServiceError> {
        let mut grants = self.store().grants(None).await?;
        grants.retain(|view| view.user == access.user || manages(access, &view.grant));
        Ok(grants)
    }

    /// Gives a user a role.
    ///
    /// # Errors
    /// When there is no such user or project, whoever asks may not, or the store fails.
    pub async fn grant(&self, access: &Access, request: GrantRequest) -> Result<GrantView, ServiceError> {
        let GrantRequest { user, grant } = request;
        if !manages(access, &grant) {
            return Err(AccessError::MayNotGrant { grant: grant.to_string() }.into());
        }
        if let Some(project) = &grant.project {
            self.check_project(project).await?;
        }
        if !self.store().has_holder(&user).await? {
            return Err(AccessError::NoUser { name: user }.into());
        }
        let own = self.store().grants(Some(&user)).await?.into_iter().filter(|view| view.group.is_none());
        if own.count() >= MAX_GRANTS {
            return Err(AccessError::TooManyGrants { user, max: MAX_GRANTS }.into());
        }
        Ok(self.store().add_grant(&user, &grant, access.user.as_str(), now()).await?)
    }

    /// Takes a role away: what its user is at with it ends at once.
    ///
    /// # Errors
    /// When there is no such grant, it is the one that has to stay, whoever asks may not, or the store fails.
    pub async fn take_away(&self, access: &Access, id: u64) -> Result<GrantView, ServiceError> {
        let found = self.grants(access).await?.into_iter().find(|view| view.id == id);
        let view = found.ok_or(AccessError::NoGrant { id })?;
        if !manages(access, &view.grant) {
            return Err(AccessError::MayNotGrant { grant: view.grant.to_string() }.into());
        }
        if view.user.as_str() == ADMIN && view.grant == everything() {
            return Err(AccessError::TheAdmin.into());
        }
        self.store().remove_grant(id).await?;
        self.move_rights();
        Ok(view)
    }

    /// The projects of which somebody sees anything.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn projects(&self, access: &Access) -> Result<Vec<ProjectView>, ServiceError> {
        let all = self.store().projects().await?;
        let view = |ProjectRecord { name, devices, max_devices }: ProjectRecord| {
            let may = |verb: Verb| access.may(verb, Thing::SomeDevice(&name));
            // Who sees some devices only does not hear of the others.
            let devices = access.may(Verb::See, Thing::Project(&name)).then_some(devices);
            let role = [(Role::Admin, Verb::Grant), (Role::Operator, Verb::Exec), (Role::Viewer, Verb::See)];
            let role = role.into_iter().find(|(_, verb)| may(*verb)).map(|(role, _)| role);
            role.map(|role| ProjectView { name, role, devices, max_devices })
        };
        Ok(all.into_iter().filter_map(view).collect())
    }

    /// Makes a project. The same again changes nothing.
    ///
    /// # Errors
    /// When there is one that may have another number of devices, or the store fails.
    pub async fn add_project(&self, request: ProjectRequest) -> Result<ProjectView, ServiceError> {
        let ProjectRequest { name, max_devices } = request;
        let is_new = self.store().add_project(&name, max_devices).await?;
        let view = self.project(name).await?;
        if !is_new && max_devices.is_some() && max_devices != view.max_devices {
            return Err(ServiceError::ProjectThere { name: view.name, max_devices: view.max_devices });
        }
        Ok(view)
    }

    /// Says how many devices a project may have. Those that it has stay, also where they are more.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn set_quota(&self, name: ProjectName, max_devices: Option<u32>) -> Result<ProjectView, ServiceError> {
        self.store().set_quota(&name, max_devices).await?;
        tracing::info!(project = %name, max_devices, "another quota");
        self.project(name).await
    }

    /// A project, for who may all there.
    async fn project(&self, name: ProjectName) -> Result<ProjectView, ServiceError> {
        let found = self.store().projects().await?.into_iter().find(|record| record.name == name);
        let found = found.ok_or_else(|| ServiceError::NoProject { name: name.to_string() })?;
        let (devices, max_devices) = (Some(found.devices), found.max_devices);
        Ok(ProjectView { name, role: Role::Admin, devices, max_devices })
    }

    pub(super) async fn check_user(&self, name: &UserName) -> Result<(), ServiceError> {
        if self.store().has_user(name).await? {
            return Ok(());
        }
        Err(AccessError::NoUser { name: name.clone() }.into())
    }
}

/// Whether somebody may give and take this. Who may in a project, may give all that is in it.
fn manages(access: &Access, grant: &Grant) -> bool {
    match &grant.project {
        Some(project) => access.may(Verb::Grant, Thing::Project(project)),
        None => access.may(Verb::ManageUsers, Thing::Manager),
    }
}

/// What a token is good for that is made with one that is good for `own`.
fn within(own: Option<&Grant>, wanted: Option<Grant>) -> Result<Option<Grant>, ServiceError> {
    match (own, wanted) {
        (None, wanted) => Ok(wanted),
        (Some(own), None) => Ok(Some(own.clone())),
        (Some(own), Some(wanted)) if own.covers(&wanted) => Ok(Some(wanted)),
        (Some(own), Some(_)) => Err(AccessError::MayNotGrant { grant: own.to_string() }.into()),
    }
}

/// Whether this is the user who has to stay.
pub(super) fn is_admin(name: &UserName) -> bool {
    name.as_str() == ADMIN
}

/// What reasons call each role.
fn named(grants: &[GrantView]) -> Vec<(&Grant, String)> {
    grants.iter().map(|view| (&view.grant, view.to_string())).collect()
}

pub(super) const fn everything() -> Grant {
    Grant { role: Role::Admin, project: None, selector: None }
}

fn token_id(hash: &str) -> &str {
    hash.get(..TOKEN_ID).unwrap_or(hash)
}

fn view(token: UserTokenRecord) -> UserTokenView {
    UserTokenView {
        id: token_id(&token.hash).to_owned(),
        user: token.user,
        note: token.note,
        created_at: token.created_at,
        created_by: token.created_by,
        expires_at: token.expires_at,
        last_used: token.last_used,
        narrowed: token.narrowed,
    }
}

/// Makes the administrator and its token at the first start. A file that is there counts: a crash between the two
/// writes, or a new store beside an old file, leaves it working. Where it was taken away, the tokens that stood in it
/// are worth nothing any more.
pub(super) async fn ensure_admin(store: &Store, data: &Path) -> Result<(), StoreError> {
    let path = data.join(ADMIN_TOKEN);
    let failed = |source| StoreError::Folder { path: path.clone(), source };
    let user = UserName::new(ADMIN).map_err(|error| folder(&path, error))?;
    let record =
        UserRecord { name: user.clone(), kind: UserKind::Person, created_at: now(), created_by: String::new() };
    store.add_user(&record).await?;
    store.add_grant(&user, &everything(), "", now()).await?;
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text.trim().to_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(failed(error)),
    };
    let is_new = text.is_empty();
    let text = if is_new { token::new_api_token().map_err(|error| folder(&path, error))? } else { text };
    if is_new {
        let before = store.user_tokens(Some(&user)).await?;
        for token in before.iter().filter(|token| token.created_by.is_empty()) {
            store.remove_user_token(&token.hash).await?;
        }
    }
    let token = UserTokenRecord {
        hash: token::hash(&text),
        user,
        note: format!("in the manager's folder, {ADMIN_TOKEN}"),
        created_at: now(),
        created_by: String::new(),
        expires_at: None,
        last_used: None,
        narrowed: None,
    };
    store.add_user_token(&token).await?;
    if is_new { write_private(&path, &text).map_err(failed) } else { Ok(()) }
}
