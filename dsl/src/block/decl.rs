//! Blocks after their own checks, before names are looked up.

use std::collections::BTreeMap;

use robo_model::graph::{Check, ImageRef, Import, MountPath, RestartPolicy, Rollout};
use robo_model::name::{ComponentName, InstanceName, NameTemplate, NetworkName, VariableName, VolumeName};
use robo_model::quantity::{Bytes, MilliCpu, Millis};

use crate::source::{Place, Spanned};

/// What one file declares.
#[derive(Debug, Default)]
pub(crate) struct Declarations {
    pub(crate) imports: Vec<Spanned<String>>,
    pub(crate) components: Vec<ComponentDecl>,
    pub(crate) facets: Vec<FacetDecl>,
    pub(crate) instances: Vec<InstanceDecl>,
    pub(crate) applications: Vec<ApplicationDecl>,
    /// The first component or facet, readable or not.
    pub(crate) graph_at: Option<Place>,
    /// The first instance, readable or not.
    pub(crate) instances_at: Option<Place>,
}

/// `NAME { … }`
#[derive(Debug)]
pub(crate) struct ComponentDecl {
    pub(crate) name: Spanned<ComponentName>,
    pub(crate) annotation: Option<String>,
    pub(crate) installer: Option<Spanned<String>>,
    /// Raw, as in the original: a blank at the end, or a list, names no component.
    pub(crate) extends: Option<Spanned<String>>,
    pub(crate) facets: Vec<Spanned<ComponentName>>,
    pub(crate) children: Vec<Spanned<ComponentName>>,
    pub(crate) exports: Vec<ExportDecl>,
    pub(crate) imports: Vec<ImportDecl>,
    pub(crate) extras: Extras,
}

/// `facet NAME { … }`
#[derive(Debug)]
pub(crate) struct FacetDecl {
    pub(crate) name: Spanned<ComponentName>,
    pub(crate) extends: Vec<Spanned<ComponentName>>,
    pub(crate) children: Vec<Spanned<ComponentName>>,
    pub(crate) exports: Vec<ExportDecl>,
}

/// One of `exports`.
#[derive(Debug, Clone)]
pub(crate) struct ExportDecl {
    /// As written: with or without a prefix.
    pub(crate) name: Spanned<VariableName>,
    /// What stands in `random[…]`.
    pub(crate) random: Option<Spanned<String>>,
    pub(crate) value: Option<Spanned<String>>,
}

/// One of `imports`.
#[derive(Debug, Clone)]
pub(crate) struct ImportDecl {
    pub(crate) import: Import,
    pub(crate) place: Place,
}

/// robo's own properties of a component.
#[derive(Debug, Default)]
pub(crate) struct Extras {
    pub(crate) run: Option<Spanned<String>>,
    pub(crate) restart: Option<Spanned<RestartPolicy>>,
    pub(crate) env: BTreeMap<String, Spanned<String>>,
    pub(crate) image: Option<Spanned<ImageRef>>,
    pub(crate) volumes: BTreeMap<VolumeName, Spanned<MountPath>>,
    pub(crate) network: Option<Spanned<NetworkName>>,
    pub(crate) check: Option<CheckDecl>,
    pub(crate) user: Option<Spanned<String>>,
    pub(crate) deploy_timeout: Option<Millis>,
    pub(crate) start_timeout: Option<Millis>,
    pub(crate) stop_timeout: Option<Millis>,
    pub(crate) lease: Option<Millis>,
    pub(crate) memory: Option<Bytes>,
    pub(crate) cpu: Option<MilliCpu>,
    pub(crate) rollout: Option<Rollout>,
}

/// `check: …;`
#[derive(Debug)]
pub(crate) struct CheckDecl {
    /// As written.
    pub(crate) text: Spanned<String>,
    pub(crate) check: Check,
}

/// `instance of NAME { … }`
#[derive(Debug)]
pub(crate) struct InstanceDecl {
    pub(crate) component: Spanned<ComponentName>,
    /// With `device` for `{device}`.
    pub(crate) name: Spanned<InstanceName>,
    /// The name with `{device}`, and where that stands.
    pub(crate) template: Option<Spanned<NameTemplate>>,
    /// The instance it stands in, by its place in [`Declarations::instances`]; always an earlier one.
    pub(crate) parent: Option<usize>,
    pub(crate) count: Option<Spanned<u32>>,
    pub(crate) channels: Vec<String>,
    pub(crate) data: BTreeMap<String, String>,
    /// Also `device`, `devices` and `target`, until the component is known.
    pub(crate) overrides: Vec<Override>,
}

/// `VARIABLE: VALUE;` in an instance.
#[derive(Debug)]
pub(crate) struct Override {
    pub(crate) key: Spanned<String>,
    pub(crate) value: Spanned<String>,
}

/// `application NAME { … }`, or a descriptor.
#[derive(Debug)]
pub(crate) struct ApplicationDecl {
    pub(crate) name: Spanned<String>,
    pub(crate) version: Option<Spanned<String>>,
    pub(crate) description: Option<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) exports_prefix: Option<Spanned<String>>,
    pub(crate) exports: Vec<AliasDecl>,
    pub(crate) rollout: Option<Rollout>,
}

/// `VARIABLE as ALIAS`
#[derive(Debug)]
pub(crate) struct AliasDecl {
    pub(crate) variable: Spanned<String>,
    pub(crate) alias: Spanned<String>,
}
