//! Plan and apply.

use std::sync::PoisonError;

use robo_model::name::ProjectName;
use robo_wire::api::{Applied, ApplyRequest, Bundle, PlanRequest};
use robo_wire::plan::{Ground, Plan};

use super::error::ServiceError;
use super::{MAX_REMEMBERED_PLANS, Service, compile, history, moved, now, to_the_end};
use crate::bus::Ring;
use crate::plan::{self, Current, Desired, Planned, World};
use crate::store::{ApplicationRecord, Apply, Committed, Revision, Told};

/// A plan, and what it was made from.
struct Draft {
    desired: Desired,
    current: Option<ApplicationRecord>,
    planned: Planned,
}

impl Service {
    /// Says what applying the bundle would do.
    ///
    /// # Errors
    /// When files are missing, the graph has errors, or it cannot be planned.
    pub async fn plan(&self, project: &ProjectName, request: PlanRequest) -> Result<Plan, ServiceError> {
        let (bundle, desired) = self.compile(request.bundle).await?;
        let _changing = self.0.change.lock().await;
        let plan = self.draft(project, &bundle, desired, request.keep_overrides).await?.planned.plan;
        self.remember(&plan);
        Ok(plan)
    }

    /// Applies the bundle, when the plan that was agreed to still comes out.
    ///
    /// # Errors
    /// As [`Service::plan`]; when the plan has moved; when it is no rollback although it says so.
    pub async fn apply(&self, project: &ProjectName, request: ApplyRequest, by: &str) -> Result<Applied, ServiceError> {
        let (service, project, by) = (self.clone(), project.clone(), by.to_owned());
        to_the_end(async move {
            let (bundle, desired) = service.compile(request.bundle).await?;
            let _changing = service.0.change.lock().await;
            let draft = service.draft(&project, &bundle, desired, request.keep_overrides).await?;
            let plan = &draft.planned.plan;
            if plan.id != request.plan_id {
                let planned = service.remembered(&request.plan_id);
                return Err(ServiceError::PlanMoved { reason: moved::reason(planned.as_ref(), &plan.ground) });
            }
            let mut told = Told { by, note: history::note(request.note)?, ..Told::default() };
            if let Some(number) = request.rollback_of {
                service.check_rollback(&project, &draft.desired.application.name, number, &bundle).await?;
                told.rollback_of = Some(number);
            }
            service.commit(&project, bundle, draft, told).await
        })
        .await
    }

    async fn compile(&self, bundle: Bundle) -> Result<(Bundle, Desired), ServiceError> {
        let files = self.files().clone();
        let compiled = tokio::task::spawn_blocking(move || {
            let desired = compile::compile(&files, &bundle)?;
            Ok((bundle, desired))
        });
        compiled.await.unwrap_or_else(|error| Err(ServiceError::Broken(error.to_string())))
    }

    /// Plans; only while changes are held off.
    async fn draft(
        &self,
        project: &ProjectName,
        bundle: &Bundle,
        desired: Desired,
        keep_overrides: bool,
    ) -> Result<Draft, ServiceError> {
        let store = self.store();
        let devices: Vec<plan::Device> = store
            .devices(project)
            .await?
            .into_iter()
            .map(|device| plan::Device {
                id: device.id,
                name: device.name,
                labels: device.labels,
                ports_in_use: device.facts.ports,
            })
            .collect();
        let current = store.application(project, &desired.application.name).await?;
        let ports = store.ports(project).await?;
        let offers = store.offers(project).await?;
        let others = self.related(project, &desired.application.name).await?;
        let forbidden = self.0.forbidden_ports.clone();
        let planning = tokio::task::spawn_blocking(move || {
            let others: Vec<Current<'_>> = others.iter().map(ApplicationRecord::current).collect();
            let world = World {
                devices: &devices,
                current: current.as_ref().map(ApplicationRecord::current),
                others: &others,
                offers: &offers,
                ports: &ports,
                forbidden: &forbidden,
            };
            let planned = plan::plan(&desired, &world, keep_overrides)?;
            Ok(Draft { desired, current, planned })
        });
        let planned = planning.await.unwrap_or_else(|error| Err(ServiceError::Broken(error.to_string())));
        planned.map(|mut draft: Draft| {
            plan::cover(&mut draft.planned.plan, bundle);
            draft
        })
    }

    async fn commit(
        &self,
        project: &ProjectName,
        bundle: Bundle,
        draft: Draft,
        told: Told,
    ) -> Result<Applied, ServiceError> {
        let Draft { desired, current, planned } = draft;
        let application = desired.application.name.clone();
        if let Some(record) = current.as_ref().filter(|record| is_same(record, &bundle, &desired, &planned)) {
            let cursor = self.cursor(project).await?;
            return Ok(Applied { application, revision: record.revision.number, plan: planned.plan, cursor });
        }
        let number = current.map_or(0, |record| record.revision.number) + 1;
        let revision = Revision { number, bundle, desired, bindings: planned.bindings };
        let told = Told { summary: planned.plan.summary(), ..told };
        let apply = Apply {
            revision: &revision,
            told: &told,
            new_ports: &planned.new_ports,
            specs: &planned.specs,
            overrides: &planned.overrides,
        };
        let committed = self.store().apply(project, &apply, now()).await?;
        tracing::info!(%project, %application, revision = number, devices = committed.devices.len(), "applied");
        self.ring(project, &committed);
        self.bus().ring(Ring::Exports(project.clone(), application.clone()));
        let Committed { cursor, .. } = committed;
        Ok(Applied { application, revision: number, plan: planned.plan, cursor })
    }

    fn remember(&self, plan: &Plan) {
        let mut plans = self.0.plans.lock().unwrap_or_else(PoisonError::into_inner);
        plans.retain(|(id, _)| *id != plan.id);
        if plans.len() >= MAX_REMEMBERED_PLANS {
            plans.pop_front();
        }
        plans.push_back((plan.id.clone(), plan.ground.clone()));
    }

    fn remembered(&self, id: &str) -> Option<Ground> {
        let plans = self.0.plans.lock().unwrap_or_else(PoisonError::into_inner);
        plans.iter().find(|(known, _)| known == id).map(|(_, ground)| ground.clone())
    }
}

/// True when applying would write what is there already.
fn is_same(record: &ApplicationRecord, bundle: &Bundle, desired: &Desired, planned: &Planned) -> bool {
    let revision = &record.revision;
    planned.plan.is_empty()
        && record.overrides.wanted == planned.overrides
        && planned.new_ports.is_empty()
        && revision.bindings == planned.bindings
        && revision.desired == *desired
        && revision.bundle == *bundle
}
