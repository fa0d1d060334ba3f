//! `rollout: 10% then 50% pause 1m max-failures 1 rollback;`

use robo_model::graph::{Rollout, RolloutError, RolloutErrorKind};
use robo_model::quantity::QuantityError;

use super::super::Checker;
use super::Given;
use crate::code::Code;
use crate::suggest::did_you_mean;
use crate::syntax::told;

/// Of a component, or of the application.
pub(in super::super) fn rollout(checker: &mut Checker<'_>, given: Given<'_>) -> Option<Rollout> {
    let RolloutError { range, kind } = match given.text.parse() {
        Ok(rollout) => return Some(rollout),
        Err(error) => error,
    };
    let too_long = matches!(&kind, RolloutErrorKind::Pause(QuantityError::LongDuration(_)));
    let code = if too_long { Code::DurationTooLong } else { Code::InvalidRollout };
    let help = if let RolloutErrorKind::UnknownWord(word) | RolloutErrorKind::Batch(word) = &kind {
        did_you_mean(word, Rollout::WORDS, || kind.help().to_owned())
    } else {
        kind.help().to_owned()
    };
    let message = told(&kind, given.text.get(range.clone()).unwrap_or_default());
    checker.wrong(code, given.span_at(range), message, "the rollout cannot be read from here on", help);
    None
}
