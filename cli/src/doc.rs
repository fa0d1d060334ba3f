//! A page about an application, for people: pure functions from an application to text.
//!
//! - `page`: what stands on it, as data; `settings`: the rows that say how a component is run.
//! - `html`, `markdown`: one renderer each, of the same content.
//!
//! Values stand there as the graph has them: `$(secret:NAME)` is never anything else.

mod html;
mod markdown;
mod page;
mod settings;

pub(crate) use html::html;
pub(crate) use markdown::markdown;

#[cfg(test)]
mod tests;
