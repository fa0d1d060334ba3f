//! Groups of users, and files that say which users, groups and roles there are.

use std::collections::{BTreeMap, BTreeSet};

use robo_model::access::{Grant, Role};
use robo_model::name::UserName;
use robo_wire::api::{
    AccessAction, AccessChange, AccessFile, AccessRequest, GrantView, GroupView, MAX_ACCESS_FILE, UserKind,
};

use super::access::{Access, AccessError, MAX_GRANTS, MAX_USERS, everything, is_admin};
use super::error::ServiceError;
use super::{Service, now};
use crate::store::{AccessStep, BY_LOGIN, UserRecord};

/// Who there is, and who may what, before a file is applied.
#[derive(Debug, Default)]
struct Before {
    users: BTreeMap<UserName, UserRecord>,
    groups: BTreeSet<UserName>,
    members: BTreeMap<UserName, BTreeSet<UserName>>,
    grants: Vec<GrantView>,
}

impl Service {
    /// The groups, by name, each with its members and what they may by it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn groups(&self) -> Result<Vec<GroupView>, ServiceError> {
        let (groups, mut members) = (self.store().groups().await?, self.store().members().await?);
        let grants = self.store().grants(None).await?;
        let view = |group: UserRecord| GroupView {
            created_at: group.created_at,
            created_by: group.created_by,
            members: members.remove(&group.name).unwrap_or_default().into_iter().collect(),
            grants: grants.iter().filter(|grant| grant.user == group.name).cloned().collect(),
            name: group.name,
        };
        Ok(groups.into_iter().map(view).collect())
    }

    /// Makes a group, with nobody in it. The same again changes nothing.
    ///
    /// # Errors
    /// When a user is called so, there are too many, or the store fails.
    pub async fn add_group(&self, name: UserName, by: &str) -> Result<GroupView, ServiceError> {
        let users = self.store().users().await?;
        if users.iter().any(|user| user.name == name) {
            return Err(AccessError::UsersName { name }.into());
        }
        if users.len() >= MAX_USERS {
            return Err(AccessError::TooManyUsers { max: MAX_USERS }.into());
        }
        self.store().change_access(&[AccessStep::AddGroup(name.clone())], by, now()).await?;
        self.group(&name).await
    }

    /// Removes a group with its roles: what its members are at by them ends at once.
    ///
    /// # Errors
    /// When there is no such group, or the store fails.
    pub async fn remove_group(&self, name: &UserName, by: &str) -> Result<GroupView, ServiceError> {
        let group = self.group(name).await?;
        self.store().change_access(&[AccessStep::RemoveGroup(name.clone())], by, now()).await?;
        self.move_rights();
        Ok(group)
    }

    /// Takes somebody into a group, or out of it; who is out has none of its rights any more, at once. The same again
    /// changes nothing.
    ///
    /// # Errors
    /// When there is no such group or user, or the store fails.
    pub async fn set_member(
        &self,
        (group, member): (&UserName, &UserName),
        is_in: bool,
        by: &str,
    ) -> Result<GroupView, ServiceError> {
        self.group(group).await?;
        if is_in {
            self.check_user(member).await?;
        }
        let (group, member) = (group.clone(), member.clone());
        let step = if is_in {
            AccessStep::Join { group: group.clone(), member }
        } else {
            AccessStep::Leave { group: group.clone(), member }
        };
        self.store().change_access(&[step], by, now()).await?;
        self.move_rights();
        self.group(&group).await
    }

    async fn group(&self, name: &UserName) -> Result<GroupView, ServiceError> {
        let found = self.groups().await?.into_iter().find(|group| group.name == *name);
        found.ok_or_else(|| AccessError::NoGroup { name: name.clone() }.into())
    }

    /// What a file changes, in the order of the changes.
    ///
    /// # Errors
    /// When the file contradicts itself or what is there, whoever asks would shut themselves out, or the store fails.
    pub async fn plan_access(&self, access: &Access, request: &AccessRequest) -> Result<Vec<AccessStep>, ServiceError> {
        let users = self.store().users().await?.into_iter().map(|user| (user.name.clone(), user)).collect();
        let groups = self.store().groups().await?.into_iter().map(|group| group.name).collect();
        let (members, grants) = (self.store().members().await?, self.store().grants(None).await?);
        let before = Before { users, groups, members, grants };
        for project in request.file.bindings.iter().filter_map(|binding| binding.project.as_ref()) {
            self.check_project(project).await?;
        }
        check(&request.file, &before)?;
        let steps = steps(&request.file, request.prune, &before);
        if !is_still_admin(&access.user, &before, &steps) {
            return Err(AccessError::ShutsOut { user: access.user.clone() }.into());
        }
        Ok(steps)
    }

    /// Makes the changes: all of them, or none. What is allowed no longer ends at once.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn change_access(&self, steps: &[AccessStep], by: &str) -> Result<(), ServiceError> {
        self.store().change_access(steps, by, now()).await?;
        self.move_rights();
        Ok(())
    }
}

/// A step, for people.
#[must_use]
pub fn told(step: &AccessStep) -> AccessChange {
    let (action, what) = match step {
        AccessStep::AddUser(name, UserKind::Person) => (AccessAction::Add, format!("user `{name}`")),
        AccessStep::AddUser(name, UserKind::Machine) => (AccessAction::Add, format!("machine `{name}`")),
        AccessStep::AddGroup(name) => (AccessAction::Add, format!("group `{name}`")),
        AccessStep::Join { group, member } => (AccessAction::Add, format!("`{member}` in group `{group}`")),
        AccessStep::Give(name, grant) => (AccessAction::Add, format!("`{name}` is {grant}")),
        AccessStep::Take(_, name, grant) => (AccessAction::Remove, format!("`{name}` is {grant}")),
        AccessStep::Leave { group, member } => (AccessAction::Remove, format!("`{member}` in group `{group}`")),
        AccessStep::RemoveGroup(name) => (AccessAction::Remove, format!("group `{name}`")),
        AccessStep::RemoveUser(name) => (AccessAction::Remove, format!("user `{name}`")),
    };
    AccessChange { action, what }
}

/// Refuses a file that contradicts itself, or what is there.
fn check(file: &AccessFile, before: &Before) -> Result<(), AccessError> {
    let wrong = |place: String, what: String| Err(AccessError::File { place, what });
    let members: usize = file.groups.iter().map(|group| group.members.len()).sum();
    if [file.users.len(), file.groups.len(), file.bindings.len(), members].iter().any(|count| *count > MAX_ACCESS_FILE)
    {
        return wrong("the file".to_owned(), format!("more than {MAX_ACCESS_FILE} of one kind"));
    }
    let mut users: BTreeSet<&UserName> = BTreeSet::new();
    for (number, user) in file.users.iter().enumerate() {
        let place = || format!("users[{number}]");
        if !users.insert(&user.name) {
            return wrong(place(), format!("`{}` is named twice", user.name));
        }
        if before.groups.contains(&user.name) {
            return wrong(place(), format!("`{}` is a group", user.name));
        }
        if before.users.get(&user.name).is_some_and(|there| there.kind != user.kind) {
            return wrong(place(), format!("`{}` is there, and of the other kind", user.name));
        }
    }
    users.extend(before.users.keys());
    let mut groups: BTreeSet<&UserName> = BTreeSet::new();
    for (number, group) in file.groups.iter().enumerate() {
        if users.contains(&group.name) {
            return wrong(format!("groups[{number}]"), format!("`{}` is a user", group.name));
        }
        if !groups.insert(&group.name) {
            return wrong(format!("groups[{number}]"), format!("`{}` is named twice", group.name));
        }
        if let Some(nobody) = group.members.iter().find(|member| !users.contains(*member)) {
            return wrong(format!("groups[{number}].members"), format!("there is no user `{nobody}`"));
        }
    }
    groups.extend(&before.groups);
    let mut counts: BTreeMap<&UserName, usize> = BTreeMap::new();
    for (number, binding) in file.bindings.iter().enumerate() {
        let place = || format!("bindings[{number}]");
        let Some((who, _)) = binding.read() else {
            let what = "it needs `user` or `group`, and `project` or `all_projects: true`, one of each";
            return wrong(place(), what.to_owned());
        };
        let (kind, known) = if binding.group.is_some() { ("group", &groups) } else { ("user", &users) };
        if !known.contains(who) {
            return wrong(place(), format!("there is no {kind} `{who}`"));
        }
        let count = counts.entry(who).or_default();
        *count += 1;
        if *count > MAX_GRANTS {
            return wrong(place(), format!("`{who}` has more than {MAX_GRANTS} roles"));
        }
    }
    Ok(())
}

/// What is to be done: what comes first, what goes behind it.
fn steps(file: &AccessFile, prune: bool, before: &Before) -> Vec<AccessStep> {
    let mut steps = Vec::new();
    let new = file.users.iter().filter(|user| !before.users.contains_key(&user.name));
    steps.extend(new.map(|user| AccessStep::AddUser(user.name.clone(), user.kind)));
    let none = BTreeSet::new();
    let mut leaving = Vec::new();
    for group in &file.groups {
        if !before.groups.contains(&group.name) {
            steps.push(AccessStep::AddGroup(group.name.clone()));
        }
        let is = before.members.get(&group.name).unwrap_or(&none);
        let wanted: BTreeSet<&UserName> = group.members.iter().collect();
        let name = || group.name.clone();
        let come = wanted.iter().filter(|member| !is.contains(**member));
        steps.extend(come.map(|member| AccessStep::Join { group: name(), member: (*member).clone() }));
        let go = is.iter().filter(|member| !wanted.contains(member));
        leaving.extend(go.map(|member| AccessStep::Leave { group: name(), member: member.clone() }));
    }
    let wanted: Vec<(&UserName, Grant)> = file.bindings.iter().filter_map(|binding| binding.read()).collect();
    for (number, (who, grant)) in wanted.iter().enumerate() {
        let is_there = before.grants.iter().any(|view| view.user == **who && view.grant == *grant);
        let is_again = wanted.iter().take(number).any(|other| other == &(*who, grant.clone()));
        if !is_there && !is_again {
            steps.push(AccessStep::Give((*who).clone(), grant.clone()));
        }
    }
    steps.append(&mut leaving);
    if prune {
        steps.extend(pruned(file, &wanted, before));
    }
    steps
}

/// What a file does not name: never the administrator, and nothing that the word of an OpenID provider gave.
fn pruned(file: &AccessFile, wanted: &[(&UserName, Grant)], before: &Before) -> Vec<AccessStep> {
    let is_ours = |user: &UserRecord| !is_admin(&user.name) && !user.created_by.starts_with(BY_LOGIN);
    let mut gone: BTreeSet<&UserName> = before
        .users
        .values()
        .filter(|user| is_ours(user) && !file.users.iter().any(|named| named.name == user.name))
        .map(|user| &user.name)
        .collect();
    let groups = before.groups.iter().filter(|group| !file.groups.iter().any(|named| named.name == **group));
    let groups: Vec<&UserName> = groups.collect();
    let users: Vec<&UserName> = gone.iter().copied().collect();
    gone.extend(&groups);
    let stays = |view: &GrantView| {
        gone.contains(&view.user)
            || view.granted_by == BY_LOGIN
            || is_admin(&view.user) && view.grant == everything()
            || wanted.iter().any(|(who, grant)| **who == view.user && *grant == view.grant)
    };
    let roles = before.grants.iter().filter(|view| !stays(view));
    let mut steps: Vec<AccessStep> =
        roles.map(|view| AccessStep::Take(view.id, view.user.clone(), view.grant.clone())).collect();
    steps.extend(groups.into_iter().cloned().map(AccessStep::RemoveGroup));
    steps.extend(users.into_iter().cloned().map(AccessStep::RemoveUser));
    steps
}

/// Whether somebody manages users after these steps, who does so before.
fn is_still_admin(user: &UserName, before: &Before, steps: &[AccessStep]) -> bool {
    let mut holders: BTreeSet<UserName> = std::iter::once(user.clone()).collect();
    holders.extend(before.members.iter().filter(|(_, members)| members.contains(user)).map(|(group, _)| group.clone()));
    let mut grants: Vec<(u64, UserName, Grant)> =
        before.grants.iter().map(|view| (view.id, view.user.clone(), view.grant.clone())).collect();
    for step in steps {
        match step {
            AccessStep::Join { group, member } if member == user => drop(holders.insert(group.clone())),
            AccessStep::Leave { group, member } if member == user => drop(holders.remove(group)),
            AccessStep::Give(who, grant) => grants.push((0, who.clone(), grant.clone())),
            AccessStep::Take(id, ..) => grants.retain(|(own, ..)| own != id),
            AccessStep::RemoveGroup(name) | AccessStep::RemoveUser(name) => drop(holders.remove(name)),
            AccessStep::AddUser(..) | AccessStep::AddGroup(_) | AccessStep::Join { .. } | AccessStep::Leave { .. } => {}
        }
    }
    let is_all = |grant: &Grant| grant.role == Role::Admin && grant.project.is_none() && grant.selector.is_none();
    grants.iter().any(|(_, who, grant)| holders.contains(who) && is_all(grant))
}
