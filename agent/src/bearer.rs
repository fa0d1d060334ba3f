//! Which device this is: what workloads are told of it, and what is noted of it for a start without the manager.

use std::path::Path;

use robo_model::name::{DeviceId, DeviceName, ProjectName};

use crate::folders::write_atomic;
use crate::identity::Enrolled;

/// A device's identity, and what it is called where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    /// Its identity; it never changes.
    pub device: DeviceId,
    /// Its name, as the manager said last.
    pub name: DeviceName,
    /// Its project, as the manager said last.
    pub project: ProjectName,
}

impl Bearer {
    /// As the manager said last, where that was noted in `file`; else as the device was enrolled.
    #[must_use]
    pub fn load(file: &Path, enrolled: &Enrolled) -> Self {
        let was =
            Self { device: enrolled.device.clone(), name: enrolled.name.clone(), project: enrolled.project.clone() };
        let noted = std::fs::read_to_string(file).ok().and_then(|text| Self::read(&text));
        // What was noted of another device, before this one was enrolled in its place, counts no more.
        noted.filter(|noted| noted.device == was.device).unwrap_or(was)
    }

    /// Notes it, for the next start. Nothing that runs depends on it.
    pub fn note(&self, file: &Path) {
        let text = format!("{}\n{}\n{}\n", self.device, self.name, self.project);
        if std::fs::read_to_string(file).is_ok_and(|noted| noted == text) {
            return;
        }
        if let Err(error) = write_atomic(file, text.as_bytes(), 0o644) {
            tracing::warn!(%error, "cannot note the device's name in {}", file.display());
        }
    }

    fn read(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let bearer = Self {
            device: lines.next()?.parse().ok()?,
            name: lines.next()?.parse().ok()?,
            project: lines.next()?.parse().ok()?,
        };
        lines.next().is_none().then_some(bearer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_manager_said_last_counts_for_this_device_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("device");
        let enrolled = |device: &str| Enrolled {
            device: device.parse().unwrap(),
            name: "old".parse().unwrap(),
            project: "default".parse().unwrap(),
            token_hash: None,
        };
        let first = Bearer::load(&file, &enrolled("a1"));
        assert_eq!((first.name.as_str(), first.project.as_str()), ("old", "default"));
        Bearer { name: "new".parse().unwrap(), project: "lab".parse().unwrap(), ..first }.note(&file);
        let known = Bearer::load(&file, &enrolled("a1"));
        assert_eq!((known.name.as_str(), known.project.as_str()), ("new", "lab"));
        assert_eq!(Bearer::load(&file, &enrolled("b2")).name.as_str(), "old", "another device");
        for broken in ["", "a1\n", "a1\nno good\nlab\n", "a1\nnew\nlab\nmore\n"] {
            std::fs::write(&file, broken).unwrap();
            assert_eq!(Bearer::load(&file, &enrolled("a1")).name.as_str(), "old", "{broken:?}");
        }
    }
}
