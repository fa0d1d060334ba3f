//! Every bound that more than one crate must agree on, with its reason.

use crate::quantity::Millis;

/// Longest name of a component, variable, instance, device, project or application, in bytes.
/// Names become folder names and parts of environment variables; 128 leaves room for both.
pub const MAX_NAME_BYTES: usize = 128;

/// Deepest nesting of instances below a root. Real trees have three levels; 32 keeps an instance
/// path far below `PATH_MAX` and recursion trivially safe.
pub const MAX_INSTANCE_DEPTH: usize = 32;

/// Largest value of an exported variable, in bytes: it ends in an environment variable, and Linux
/// limits one of those to 128 KiB.
pub const MAX_VALUE_BYTES: usize = 32 * 1024;

/// Longest time that a deadline, an interval or a lease may have, and a lifetime given on a command line. No device stays
/// a year without a visit; and sums of such times stay far from overflow.
pub const MAX_DURATION: Millis = Millis::from_secs(365 * 24 * 60 * 60);

/// Most batches of one rollout: somebody looks at what each did, and steps of 3 % are as small as anyone takes.
pub const MAX_BATCHES: usize = 32;

/// Longest name of a container image without tag and digest, in bytes, as in the reference grammar of OCI registries.
pub const MAX_IMAGE_NAME_BYTES: usize = 255;

/// Longest path in a container, in bytes: `PATH_MAX` of Linux.
pub const MAX_PATH_BYTES: usize = 4096;

/// Largest source file of a graph, in bytes. The parser is linear; this only keeps a mistaken
/// upload from filling memory.
pub const MAX_SOURCE_BYTES: usize = 256 * 1024 * 1024;

/// Most files in one application's recipes: bounds a bundle's manifest.
pub const MAX_RECIPE_FILES: usize = 10_000;

/// Most instances in one application.
pub const MAX_INSTANCES: usize = 200_000;

/// Most labels on one device.
pub const MAX_LABELS: usize = 64;

/// Last lines of a failed step that are kept with the failure.
pub const MAX_FAILURE_LINES: usize = 20;

/// Most bytes of a failed step's output that are kept with the failure.
pub const MAX_FAILURE_BYTES: usize = 4 * 1024;

/// First port that robo hands out for `random[port]`, as the original does.
pub const FIRST_RANDOM_PORT: u16 = 10_000;

/// Last port that robo hands out for `random[port]`, as the original does.
pub const LAST_RANDOM_PORT: u16 = 65_499;
