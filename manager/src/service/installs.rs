//! Machines on their way to become devices: what the script that installs the agent tells of them.

use robo_model::name::ProjectName;
use robo_wire::api::{InstallReport, InstallStage, InstallView, MAX_HOST, MAX_INSTALL_DETAIL};
use robo_wire::code::Code;

use super::identity::token_id;
use super::{Service, ServiceError, now};
use crate::bus::Ring;
use crate::store::InstallRecord;

/// All of it is done.
const DONE: u8 = 100;

impl Service {
    /// Looks whether reports with this token's hash are taken: it uses nothing up.
    ///
    /// # Errors
    /// When there is no such token, its time is over, or as many devices came with it as may; or the store fails.
    pub async fn check_reporter(&self, token_hash: &str) -> Result<(), ServiceError> {
        let token = self.good_token(token_hash).await?;
        if token.used >= token.uses {
            return Err(ServiceError::TokenUsed(token.used_by.filter(|_| token.uses == 1)));
        }
        Ok(())
    }

    /// Remembers how far a machine is. One that is done is forgotten: it is a device.
    ///
    /// # Errors
    /// When the report breaks its bounds, the token is not good any more, or the store fails.
    pub async fn report_install(&self, mut report: InstallReport) -> Result<(), ServiceError> {
        check(&report)?;
        self.check_reporter(&report.token_hash).await?;
        report.detail = report.detail.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if report.stage == InstallStage::Online && report.code.is_none() && report.percent == DONE {
            self.store().forget_install(&report.token_hash, &report.host).await?;
        } else if !self.store().report_install(&report, now()).await? {
            return Err(ServiceError::TokenUsed(None));
        }
        if let Some(token) = self.store().enroll_token(&report.token_hash).await? {
            self.bus().ring(Ring::Devices(token.project));
        }
        Ok(())
    }

    /// The machines of the project that are on their way, or failed on it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn installs(&self, project: &ProjectName) -> Result<Vec<InstallView>, ServiceError> {
        let devices = self.store().devices(project).await?;
        let mut installs = self.store().installs(project, now()).await?;
        // The last word of one that came with a token for many may have been lost.
        installs.retain(|install| {
            let came = devices
                .iter()
                .any(|device| device.facts.hostname == install.host && device.enrolled_at >= install.token.created_at);
            install.code.is_some() || !came
        });
        Ok(installs.into_iter().map(view).collect())
    }
}

fn check(report: &InstallReport) -> Result<(), ServiceError> {
    let is_of_a_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let host = &report.host;
    if host.is_empty() || host.len() > MAX_HOST || !host.bytes().all(is_of_a_host) {
        return Err(ServiceError::InstallReport(format!(
            "`host` must be 1 to {MAX_HOST} letters, digits, `.`, `-`, `_`"
        )));
    }
    if report.percent > DONE {
        return Err(ServiceError::InstallReport(format!("`percent` is {}, at most {DONE}", report.percent)));
    }
    if report.detail.chars().count() > MAX_INSTALL_DETAIL {
        return Err(ServiceError::InstallReport(format!("`detail` has more than {MAX_INSTALL_DETAIL} characters")));
    }
    match &report.code {
        Some(code) if Code::named(code).is_none() => {
            Err(ServiceError::InstallReport(format!("`{code}` is no code of docs/agent-codes.md")))
        }
        Some(_) | None => Ok(()),
    }
}

fn view(record: InstallRecord) -> InstallView {
    let code = record.code.as_deref().and_then(Code::named);
    InstallView {
        name: record.token.name.map_or_else(|| record.host.clone(), |name| name.to_string()),
        token: token_id(&record.token_hash).to_owned(),
        host: record.host,
        labels: record.token.labels,
        stage: record.stage,
        percent: record.percent,
        code: record.code,
        cause: code.map(|code| code.cause().to_owned()),
        remedy: code.map(|code| code.remedy().to_owned()),
        detail: record.detail,
        at: record.at,
    }
}
