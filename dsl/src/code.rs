//! Every diagnostic's code: its number, the original's name for it, its weight, its stage and its title.
//!
//! The message and the help stand beside the check that raises it. The last two digits follow the
//! original's declaration order, so that a new one goes to the end of its range.

use std::fmt;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing is compiled.
    Error,
    /// Worth a look; the application compiles.
    Warning,
}

/// Which step of compiling raises it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Text to lines and blocks.
    Parse,
    /// Each block by itself.
    Blocks,
    /// Blocks of all files to a graph and instances.
    Conversion,
    /// The graph and the instances as a whole.
    Runtime,
    /// Folder and descriptor.
    Project,
    /// Recipes, and the properties of targets.
    Recipes,
    /// Files of commands.
    Commands,
    /// Files of rules.
    Rules,
    /// Files of measures.
    Probes,
}

/// Makes [`Code`] from the table.
macro_rules! codes {
    ($($variant:ident $number:literal $alias:expr, $severity:ident $stage:ident $title:literal;)*) => {
        /// A stable code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = $title] $variant,)*
        }

        impl Code {
            /// All codes, by number.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// `E0210`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $number),* }
            }

            /// The original's name, where the original has this mistake.
            #[must_use]
            pub const fn alias(self) -> Option<&'static str> {
                match self { $(Self::$variant => $alias),* }
            }

            /// How bad it is.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity),* }
            }

            /// Which step raises it.
            #[must_use]
            pub const fn stage(self) -> Stage {
                match self { $(Self::$variant => Stage::$stage),* }
            }

            /// What it is about, in a few words.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),* }
            }

            /// Its page as written; [`crate::explain`] reads it.
            pub(crate) const fn page(self) -> &'static str {
                match self { $(Self::$variant => include_str!(concat!("../explain/", $number, ".md"))),* }
            }
        }
    };
}

// After the macro: it is found by its place in the text.
mod table;
pub use table::Code;

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl serde::Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn numbers_and_aliases_are_unique_and_in_their_range() {
        let numbers: BTreeSet<_> = Code::ALL.iter().map(|c| c.as_str()).collect();
        let aliases: BTreeSet<_> = Code::ALL.iter().filter_map(|c| c.alias()).collect();
        assert_eq!(numbers.len(), Code::ALL.len());
        assert_eq!(aliases.len(), Code::ALL.iter().filter(|c| c.alias().is_some()).count());
        for code in Code::ALL {
            let range = match code.alias().and_then(|a| a.split('_').next()) {
                Some("P") => "E01",
                Some("PM") => "E02",
                Some("CO") => "E03",
                Some("RM") => "E04",
                Some("PROJ") => "E05",
                Some("REC") => "E06",
                Some("CMD") => "E07",
                Some("RULE") => "E08",
                _ if code.stage() == Stage::Probes => "E10",
                _ => "E09",
            };
            assert!(code.as_str().starts_with(range), "{code}");
        }
    }
}
