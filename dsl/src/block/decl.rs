//! Blocks after their own checks, before names are looked up.

use std::collections::{BTreeMap, HashSet};

use robo_model::graph::{Check, Drift, ImageRef, Import, MountPath, RestartPolicy, Rollout};
use robo_model::limits::MAX_NAME_BYTES;
use robo_model::name::{ComponentName, InstanceName, NameTemplate, NetworkName, VariableName, VolumeName};
use robo_model::quantity::{Bytes, MilliCpu, Millis};

use crate::source::{Place, Spanned};

/// How far the name of a definition can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Named {
    Well,
    /// It was reported; what stands here is what was most probably meant.
    Guessed,
    /// It was reported, and no name can be told: nothing can refer to it.
    Not,
}

/// A name that is used.
#[derive(Debug, Clone)]
pub(crate) struct Reference {
    /// As written, or what was most probably meant.
    pub(crate) name: Spanned<ComponentName>,
    /// It was reported: that nothing defines it is no second mistake.
    pub(crate) reported: bool,
}

/// A part of a block that may be unreadable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Installer,
    Extends,
    Facets,
    Children,
    Exports,
    Imports,
    /// robo's own properties.
    Extras,
}

/// The parts of a block that could not be read, which was reported. Nothing is concluded from what is missing there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Unread(u8);

impl Unread {
    pub(crate) const fn mark(&mut self, part: Part) {
        self.0 |= 1 << part as u8;
    }

    pub(crate) const fn mark_all(&mut self) {
        self.0 = u8::MAX;
    }

    /// Also what may be missing in something else.
    pub(crate) const fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub(crate) const fn has(self, part: Part) -> bool {
        self.0 & (1 << part as u8) != 0
    }
}

/// What no declaration came of, although something stands there.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    /// A file could not be read, or is not there: any name may be in it.
    pub(crate) files: bool,
    /// Something could not be read at all.
    pub(crate) any: bool,
    /// The words of lines that could not be read.
    words: HashSet<String>,
}

/// Most words of unreadable lines that are kept: whoever has more of them has no graph.
const MAX_WORDS: usize = 10_000;

impl Gaps {
    /// Keeps the words of an unreadable text.
    pub(crate) fn add(&mut self, text: &str) {
        self.any = true;
        for word in text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))) {
            if self.words.len() >= MAX_WORDS {
                self.files = true;
                return;
            }
            let word = word.trim_matches(['-', '.']);
            if !word.is_empty() && word.len() <= MAX_NAME_BYTES && !self.words.contains(word) {
                self.words.insert(word.to_owned());
            }
        }
    }

    /// Something that could not be read may be about this name.
    pub(crate) fn mention(&self, name: &str) -> bool {
        self.files || self.words.contains(name)
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.files |= other.files;
        self.any |= other.any;
        self.words.extend(other.words);
    }
}

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
    pub(crate) gaps: Gaps,
}

/// `NAME { … }`
#[derive(Debug)]
pub(crate) struct ComponentDecl {
    pub(crate) name: Spanned<ComponentName>,
    pub(crate) named: Named,
    pub(crate) unread: Unread,
    pub(crate) annotation: Option<String>,
    pub(crate) installer: Option<Spanned<String>>,
    /// Raw, as in the original: a blank at the end, or a list, names no component.
    pub(crate) extends: Option<Spanned<String>>,
    pub(crate) facets: Vec<Reference>,
    pub(crate) children: Vec<Reference>,
    pub(crate) exports: Vec<ExportDecl>,
    pub(crate) imports: Vec<ImportDecl>,
    pub(crate) extras: Extras,
}

/// `facet NAME { … }`
#[derive(Debug)]
pub(crate) struct FacetDecl {
    pub(crate) name: Spanned<ComponentName>,
    pub(crate) named: Named,
    pub(crate) unread: Unread,
    pub(crate) extends: Vec<Reference>,
    pub(crate) children: Vec<Reference>,
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
    pub(crate) drift: Option<Drift>,
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
    /// Nothing, and reported, where it has no name at all.
    pub(crate) component: Option<Reference>,
    /// Where it stands, for what is said of it as a whole.
    pub(crate) place: Place,
    /// Its own name, or what was most probably meant; with `device` for `{device}`.
    pub(crate) name: Spanned<InstanceName>,
    /// The name with `{device}`, and where that stands.
    pub(crate) template: Option<Spanned<NameTemplate>>,
    /// Its own name is right.
    pub(crate) named: bool,
    /// A line of it could not be read.
    pub(crate) unread: bool,
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
    /// A line of it could not be read.
    pub(crate) unread: bool,
    pub(crate) exports: Vec<AliasDecl>,
    pub(crate) rollout: Option<Rollout>,
}

/// `VARIABLE as ALIAS`
#[derive(Debug)]
pub(crate) struct AliasDecl {
    pub(crate) variable: Spanned<String>,
    pub(crate) alias: Spanned<String>,
}
