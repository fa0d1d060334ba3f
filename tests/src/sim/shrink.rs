//! Makes a story that fails shorter, as long as it fails in the same way: fewer deeds, no failing steps.
//!
//! Delta debugging (Zeller, Hildebrandt: Simplifying and Isolating Failure-Inducing Input, 2002) over the list of
//! deeds. Draws do not depend on one another, so that what is left happens as before wherever nothing else moved it.

use super::{Deed, Failure, Story, run};

/// Most runs that are spent on one story: a short story of a large world is worth minutes, not hours.
const MAX_RUNS: usize = 400;

/// A story made shorter, with what still goes wrong in it.
#[derive(Debug, Clone)]
pub struct Shrunk {
    /// What is left.
    pub story: Story,
    /// How it fails.
    pub failure: Failure,
    /// How often it was told to find that out.
    pub runs: usize,
}

/// Leaves out of `story` what its failure does not need. Nothing when it does not fail at all.
#[must_use]
pub fn shrink(story: &Story) -> Option<Shrunk> {
    let failure = run(story, false).failure?;
    let mut shrinker = Shrinker { best: story.clone(), failure, runs: 1 };
    shrinker.without_weather();
    shrinker.fewer_deeds();
    shrinker.sooner();
    let Shrinker { best, failure, runs } = shrinker;
    Some(Shrunk { story: best, failure, runs })
}

struct Shrinker {
    best: Story,
    failure: Failure,
    runs: usize,
}

impl Shrinker {
    /// Keeps `story` when it fails in the same way.
    fn take(&mut self, story: Story) -> bool {
        if self.runs >= MAX_RUNS {
            return false;
        }
        self.runs += 1;
        match run(&story, false).failure {
            Some(failure) if failure.kind == self.failure.kind => {
                (self.best, self.failure) = (story, failure);
                true
            }
            Some(_) | None => false,
        }
    }

    fn without_weather(&mut self) {
        let mut story = self.best.clone();
        story.weather.steps = 0.0;
        self.take(story);
    }

    /// Leaves out ever smaller pieces.
    fn fewer_deeds(&mut self) {
        let mut piece = self.best.deeds.len().div_ceil(2);
        while piece > 0 {
            let mut at = 0;
            let mut smaller = false;
            while at < self.best.deeds.len() {
                let mut story = self.best.clone();
                let end = (at + piece).min(story.deeds.len());
                story.deeds.drain(at..end);
                if self.take(story) { smaller = true } else { at += piece }
            }
            if piece == 1 && !smaller {
                return;
            }
            piece = if piece == 1 { 1 } else { piece.div_ceil(2) };
            if self.runs >= MAX_RUNS {
                return;
            }
        }
    }

    /// Ends the weather right after the last deed.
    fn sooner(&mut self) {
        let last = self.best.deeds.last().map_or(0, |deed: &Deed| deed.at / 1_000);
        for more in [5, 60] {
            let mut story = self.best.clone();
            story.scale.seconds = last + more;
            if story.scale.seconds < self.best.scale.seconds && self.take(story) {
                return;
            }
        }
    }
}
