//! What is asked of a backup: by options, and by variables where a service gets its settings so.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use robo_model::quantity::{Bytes, Millis};

/// The sizes of a file: the smallest has room for the longest line, the largest is still opened by editors.
const SIZES: RangeInclusive<Bytes> = Bytes(1_000_000)..=Bytes(1_000_000_000);

/// How old a file gets.
const AGES: RangeInclusive<Millis> = Millis::from_secs(60 * 60)..=Millis::from_secs(30 * 24 * 60 * 60);

/// How many files there may be: more would make each look at the folder long.
const COUNTS: RangeInclusive<usize> = 1..=100;

/// What is used where nothing is said.
const USUAL: (Bytes, Millis, usize) = (Bytes(10_000_000), Millis::from_secs(24 * 60 * 60), 10);

/// The variable with the folder.
const FOLDER: &str = "ROBO_LOG_BACKUP";

/// The variable with the size of a file.
const SIZE: &str = "ROBO_LOG_BACKUP_SIZE";

/// The variable with the age of a file.
const EVERY: &str = "ROBO_LOG_BACKUP_EVERY";

/// The variable with the number of files.
const KEEP: &str = "ROBO_LOG_BACKUP_KEEP";

/// What options of the agent ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// Where to.
    pub folder: Option<PathBuf>,
    /// The largest file.
    pub size: Option<Bytes>,
    /// How old a file gets.
    pub every: Option<Millis>,
    /// How many files there are at most.
    pub keep: Option<usize>,
}

/// A backup that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The folder, an absolute path.
    pub folder: PathBuf,
    /// Most bytes of a file, from 1 MB to 1 GB.
    pub size: Bytes,
    /// A file is at most so old when the next one begins: from an hour to thirty days.
    pub every: Millis,
    /// How many files there are at most, from 1 to 100.
    pub keep: usize,
}

/// Why no backup can be made as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// A variable of the environment is of no use.
    #[error("{variable}: {reason}")]
    Variable {
        /// Which.
        variable: &'static str,
        /// What is allowed.
        reason: String,
    },
    /// It is said how, and not where.
    #[error(
        "there is no folder for the backup of logs: give one with --log-backup DIR, or leave the other --log-backup-… out"
    )]
    NoFolder,
}

impl Asked {
    /// What is to be made, with what the `variables` ask for; options come first. Nothing where no folder is named.
    ///
    /// # Errors
    /// When a variable is of no use, or an option is given without a folder. Variables without a folder mean nothing, and
    /// so does an empty one.
    pub fn into_options(self, variables: impl Fn(&str) -> Option<String>) -> Result<Option<Options>, OptionsError> {
        let is_alone = self.size.is_some() || self.every.is_some() || self.keep.is_some();
        let Some(folder) = or_variable(self.folder, FOLDER, &variables, folder)? else {
            return if is_alone { Err(OptionsError::NoFolder) } else { Ok(None) };
        };
        Ok(Some(Options {
            folder,
            size: or_variable(self.size, SIZE, &variables, size)?.unwrap_or(USUAL.0),
            every: or_variable(self.every, EVERY, &variables, every)?.unwrap_or(USUAL.1),
            keep: or_variable(self.keep, KEEP, &variables, keep)?.unwrap_or(USUAL.2),
        }))
    }
}

fn or_variable<T>(
    given: Option<T>,
    variable: &'static str,
    variables: impl Fn(&str) -> Option<String>,
    parse: fn(&str) -> Result<T, String>,
) -> Result<Option<T>, OptionsError> {
    if given.is_some() {
        return Ok(given);
    }
    let text = variables(variable).filter(|text| !text.trim().is_empty());
    let parsed = text.map(|text| parse(text.trim())).transpose();
    parsed.map_err(|reason| OptionsError::Variable { variable, reason })
}

/// An absolute path.
pub(crate) fn folder(text: &str) -> Result<PathBuf, String> {
    let folder = Path::new(text);
    if folder.is_absolute() {
        return Ok(folder.to_owned());
    }
    Err(format!("`{text}` is no absolute path; write one that begins with `/`, as in `/var/log/robo`"))
}

/// One of [`SIZES`].
pub(crate) fn size(text: &str) -> Result<Bytes, String> {
    let size: Bytes = text.parse().map_err(|error| format!("{error}"))?;
    let (least, most) = SIZES.into_inner();
    if (least..=most).contains(&size) { Ok(size) } else { Err(format!("`{text}` is not from {least} to {most}")) }
}

/// One of [`AGES`].
pub(crate) fn every(text: &str) -> Result<Millis, String> {
    let age: Millis = text.parse().map_err(|error| format!("{error}"))?;
    let (least, most) = AGES.into_inner();
    if (least..=most).contains(&age) { Ok(age) } else { Err(format!("`{text}` is not from {least} to {most}")) }
}

/// One of [`COUNTS`].
pub(crate) fn keep(text: &str) -> Result<usize, String> {
    let (least, most) = COUNTS.into_inner();
    let count = text.parse().ok().filter(|count| (least..=most).contains(count));
    count.ok_or_else(|| format!("`{text}` is no number of files from {least} to {most}"))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::Args;

    #[derive(Debug, clap::Parser)]
    struct Program {
        #[command(flatten)]
        args: Args,
    }

    fn options(words: &str, variables: &[(&str, &str)]) -> Result<Option<Options>, String> {
        let words = "agent --manager m".split(' ').chain(words.split_ascii_whitespace());
        let args = Program::try_parse_from(words).map_err(|error| error.to_string())?.args;
        let value = |name: &str| variables.iter().find(|(of, _)| *of == name).map(|(_, value)| (*value).to_owned());
        args.log_backup().into_options(value).map_err(|error| error.to_string())
    }

    #[test]
    fn a_backup_is_asked_for_by_options_or_variables() {
        let hours = |hours: u64| Millis::from_secs(hours * 60 * 60);
        let made = |folder: &str, size, every, keep| Options { folder: folder.into(), size: Bytes(size), every, keep };
        assert_eq!(options("", &[]), Ok(None));
        assert_eq!(options("", &[(FOLDER, " "), (SIZE, "nonsense")]), Ok(None), "it is off");
        assert_eq!(options("--log-backup /b", &[]), Ok(Some(made("/b", 10_000_000, hours(24), 10))));
        let all = "--log-backup /b --log-backup-size 1MiB --log-backup-every 72h --log-backup-keep 30";
        assert_eq!(options(all, &[]), Ok(Some(made("/b", 1 << 20, hours(72), 30))));
        let variables = [(FOLDER, "/c"), (SIZE, "1GB"), (EVERY, "30d"), (KEEP, "100")];
        assert_eq!(options("", &variables), Ok(Some(made("/c", 1_000_000_000, hours(720), 100))));
        assert_eq!(options(all, &variables), Ok(Some(made("/b", 1 << 20, hours(72), 30))), "options come first");
        assert_eq!(options("--log-backup-keep 1", &[(FOLDER, "/c")]).unwrap().unwrap().keep, 1);
    }

    #[test]
    fn what_makes_no_backup_says_what_does() {
        for (words, variable, says) in [
            ("--log-backup logs", (FOLDER, "logs"), "no absolute path"),
            ("--log-backup /b --log-backup-size 999kB", (SIZE, "999kB"), "not from 1MB to 1GB"),
            ("--log-backup /b --log-backup-size 2GB", (SIZE, "2GB"), "not from 1MB to 1GB"),
            ("--log-backup /b --log-backup-size 10M", (SIZE, "10M"), "one of `B`, `KiB`, `MiB`"),
            ("--log-backup /b --log-backup-every 59m", (EVERY, "59m"), "not from 1h to 30days"),
            ("--log-backup /b --log-backup-every 31d", (EVERY, "31d"), "not from 1h to 30days"),
            ("--log-backup /b --log-backup-every daily", (EVERY, "daily"), "not a duration"),
            ("--log-backup /b --log-backup-keep 0", (KEEP, "0"), "from 1 to 100"),
            ("--log-backup /b --log-backup-keep 101", (KEEP, "101"), "from 1 to 100"),
            ("--log-backup /b --log-backup-keep -1", (KEEP, "-1"), ""),
        ] {
            let error = options(words, &[]).unwrap_err();
            assert!(error.contains(says), "{words}: {error}");
            let error = options("", &[(FOLDER, "/b"), variable]).or_else(|_| options("", &[variable])).err();
            let error = error.or_else(|| options("", &[variable, (FOLDER, "/b")]).err()).unwrap();
            assert!(error.contains(variable.0) && error.contains(says), "{variable:?}: {error}");
        }
        assert!(options("--log-backup-keep 3", &[]).unwrap_err().contains("--log-backup DIR"));
    }
}
