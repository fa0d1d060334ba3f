//! `image: IMAGE;`, `volume.NAME: /path;`, `network: NAME;`

use robo_model::graph::{ImageError, ImageRef, MountPath, MountPathError};
use robo_model::name::{NetworkName, VolumeName};

use super::super::raw::RawProperty;
use super::super::{Checker, Extras};
use super::Given;
use crate::code::Code;
use crate::source::Spanned;
use crate::syntax::short;

pub(super) fn image(checker: &mut Checker<'_>, given: Given<'_>) -> Option<Spanned<ImageRef>> {
    let ImageError { range, kind } = match given.text.parse() {
        Ok(image) => return Some(checker.spanned(image, given.span())),
        Err(error) => error,
    };
    let message = format!("`{}` is not a container image", short(given.text));
    // What is missing has no bytes to point at.
    let span = if range.is_empty() { given.span() } else { given.span_at(range) };
    checker.wrong(Code::InvalidImage, span, message, &kind.to_string(), kind.help());
    None
}

pub(super) fn volume(checker: &mut Checker<'_>, extras: &mut Extras, property: &RawProperty<'_>, key: &str) {
    let given = Given::new(property);
    let path = MountPath::new(given.text);
    if let Err(error) = &path {
        let message = format!("`{}` is not where a volume can be seen in a container", short(given.text));
        checker.wrong(Code::InvalidVolume, given.span(), message, &error.to_string(), path_help(*error));
    }
    match (VolumeName::new(key), path) {
        (Ok(name), Ok(path)) => {
            extras.volumes.insert(name, checker.spanned(path, given.span()));
        }
        (Ok(_), Err(_)) => {}
        (Err(error), _) => {
            let message = match key {
                "" => "`volume` does not say which volume".to_owned(),
                _ => error.to_string(),
            };
            let span = property.name.span_of(if key.is_empty() { property.name.as_str() } else { key });
            let help = "write it as in `volume.data: /var/lib/data;`";
            checker.wrong(Code::InvalidVolume, span, message, "not a volume's name", help);
        }
    }
}

const fn path_help(error: MountPathError) -> &'static str {
    match error {
        MountPathError::Relative | MountPathError::Root => {
            "write a path in the container, as in `volume.data: /var/lib/data;`"
        }
        MountPathError::Part => "write the path in its shortest form",
        MountPathError::Character => "volumes have no options: write the path alone",
        MountPathError::TooLong => "choose a shorter path",
    }
}

pub(super) fn network(checker: &mut Checker<'_>, given: Given<'_>) -> Option<Spanned<NetworkName>> {
    match NetworkName::new(given.text) {
        Ok(name) => Some(checker.spanned(name, given.span())),
        Err(error) => {
            let help = "write the name of one network of the machine's container engine, as in `network: host;`";
            checker.wrong(Code::InvalidNetwork, given.span(), error.to_string(), "not a network's name", help);
            None
        }
    }
}
