//! Calls about users, what they may, projects and the audit log.

use reqwest::{Method, RequestBuilder};
use robo_model::access::Decision;
use robo_model::name::{ProjectName, UserName};
use robo_wire::api::{
    AccessChange, AccessRequest, AuditEntry, AuditVerdict, CanI, GrantRequest, GrantView, GroupRequest, GroupView,
    LoginCode, LoginProof, LoginRequest, LoginState, LogoutRequest, Me, NewUserToken, ProjectRequest, ProjectView,
    QuotaRequest, UserRequest, UserTokenRequest, UserTokenView, UserView,
};

use super::{Client, ClientError, QUICK};

impl Client {
    /// A request to the manager as a whole.
    fn whole_manager(&self, method: Method, path: &str) -> RequestBuilder {
        self.raw(method, &format!("/v1/{path}")).timeout(QUICK)
    }

    /// A code to confirm a login with.
    pub(crate) async fn begin_login(&self, request: &LoginRequest) -> Result<LoginCode, ClientError> {
        self.json(self.whole_manager(Method::POST, "login").json(request)).await
    }

    /// A token for a login, where it is confirmed.
    pub(crate) async fn prove_login(&self, proof: &LoginProof) -> Result<LoginState, ClientError> {
        self.json(self.whole_manager(Method::POST, "login/token").json(proof)).await
    }

    /// Makes the token worth nothing.
    pub(crate) async fn log_out(&self, request: &LogoutRequest) -> Result<UserTokenView, ClientError> {
        self.json(self.whole_manager(Method::POST, "auth/logout").json(request)).await
    }

    /// Who asks.
    pub(crate) async fn me(&self) -> Result<Me, ClientError> {
        self.json(self.whole_manager(Method::GET, "auth/me")).await
    }

    /// Whether somebody may, and why.
    pub(crate) async fn can_i(&self, asked: &CanI) -> Result<Decision, ClientError> {
        self.json(self.whole_manager(Method::POST, "auth/can-i").json(asked)).await
    }

    /// The users.
    pub(crate) async fn users(&self) -> Result<Vec<UserView>, ClientError> {
        self.json(self.whole_manager(Method::GET, "users")).await
    }

    /// Makes a user.
    pub(crate) async fn add_user(&self, request: &UserRequest) -> Result<UserView, ClientError> {
        self.json(self.whole_manager(Method::POST, "users").json(request)).await
    }

    /// Removes a user.
    pub(crate) async fn remove_user(&self, name: &UserName) -> Result<(), ClientError> {
        self.send(self.whole_manager(Method::DELETE, &format!("users/{name}"))).await.map(drop)
    }

    /// A user's tokens.
    pub(crate) async fn user_tokens(&self, user: &UserName) -> Result<Vec<UserTokenView>, ClientError> {
        self.json(self.whole_manager(Method::GET, &format!("users/{user}/tokens"))).await
    }

    /// Makes a token for a user.
    pub(crate) async fn make_user_token(
        &self,
        user: &UserName,
        request: &UserTokenRequest,
    ) -> Result<NewUserToken, ClientError> {
        self.json(self.whole_manager(Method::POST, &format!("users/{user}/tokens")).json(request)).await
    }

    /// Revokes a user's token.
    pub(crate) async fn revoke_user_token(&self, user: &UserName, id: &str) -> Result<UserTokenView, ClientError> {
        self.json(self.whole_manager(Method::DELETE, &format!("users/{user}/tokens/{id}"))).await
    }

    /// The roles that users have.
    pub(crate) async fn grants(&self) -> Result<Vec<GrantView>, ClientError> {
        self.json(self.whole_manager(Method::GET, "grants")).await
    }

    /// Gives a user a role.
    pub(crate) async fn grant(&self, request: &GrantRequest) -> Result<GrantView, ClientError> {
        self.json(self.whole_manager(Method::POST, "grants").json(request)).await
    }

    /// Takes a role away.
    pub(crate) async fn take_away(&self, id: u64) -> Result<GrantView, ClientError> {
        self.json(self.whole_manager(Method::DELETE, &format!("grants/{id}"))).await
    }

    /// The groups.
    pub(crate) async fn groups(&self) -> Result<Vec<GroupView>, ClientError> {
        self.json(self.whole_manager(Method::GET, "groups")).await
    }

    /// Makes a group.
    pub(crate) async fn add_group(&self, request: &GroupRequest) -> Result<GroupView, ClientError> {
        self.json(self.whole_manager(Method::POST, "groups").json(request)).await
    }

    /// Removes a group.
    pub(crate) async fn remove_group(&self, name: &UserName) -> Result<GroupView, ClientError> {
        self.json(self.whole_manager(Method::DELETE, &format!("groups/{name}"))).await
    }

    /// Takes a user into a group, or out of it.
    pub(crate) async fn set_member(
        &self,
        group: &UserName,
        user: &UserName,
        is_in: bool,
    ) -> Result<GroupView, ClientError> {
        let method = if is_in { Method::PUT } else { Method::DELETE };
        self.json(self.whole_manager(method, &format!("groups/{group}/members/{user}"))).await
    }

    /// Makes users, groups and roles as a file says.
    pub(crate) async fn apply_access(&self, request: &AccessRequest) -> Result<Vec<AccessChange>, ClientError> {
        self.json(self.whole_manager(Method::POST, "access").json(request)).await
    }

    /// The projects.
    pub(crate) async fn projects(&self) -> Result<Vec<ProjectView>, ClientError> {
        self.json(self.whole_manager(Method::GET, "projects")).await
    }

    /// Makes a project.
    pub(crate) async fn add_project(&self, request: &ProjectRequest) -> Result<ProjectView, ClientError> {
        self.json(self.whole_manager(Method::POST, "projects").json(request)).await
    }

    /// Says how many devices a project may have.
    pub(crate) async fn set_quota(
        &self,
        name: &ProjectName,
        request: &QuotaRequest,
    ) -> Result<ProjectView, ClientError> {
        self.json(self.whole_manager(Method::PUT, &format!("projects/{name}/quota")).json(request)).await
    }

    /// The newest lines of the audit log: of the project, or of all there is.
    pub(crate) async fn audit(
        &self,
        everywhere: bool,
        query: &[(&str, String)],
    ) -> Result<Vec<AuditEntry>, ClientError> {
        let request =
            if everywhere { self.whole_manager(Method::GET, "audit") } else { self.request(Method::GET, "audit") };
        self.json(request.query(query)).await
    }

    /// Whether the audit log is as it was written.
    pub(crate) async fn verify_audit(&self) -> Result<AuditVerdict, ClientError> {
        self.json(self.raw(Method::GET, "/v1/audit/verify")).await
    }
}
