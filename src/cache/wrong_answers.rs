//! Questions whose stored answer was called wrong: near them, a hit by meaning needs a higher score.
//!
//! It must not know entries or who refuted them. What is remembered only ever tightens.

use crate::embedding::codes::dot as cosine;
use crate::embedding::vector::Vector;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Refuted questions held per scope; the oldest gives way.
pub(crate) const PER_SCOPE_MAX: usize = 16;
/// Refuted questions held in all, of 1.6 KiB each; the oldest gives way.
pub(crate) const REFUTED_MAX: usize = 1024;

/// Cosine from which on a question is near a refuted one. A judgement: other words for one question,
/// slips of the pen included, lie above it, and other subjects far below.
const NEAR: f32 = 0.75;
/// How much more than the refuted score is asked for: the width of five steps of the calibration.
const MARGIN: f32 = 0.025;
/// From so many refutations near one place on, nothing is served by meaning there.
const TIMES_MAX: u32 = 2;

/// The refuted questions of all scopes.
#[derive(Default)]
pub struct WrongAnswers {
    /// Read before the lock is taken: there is mostly none.
    count: AtomicUsize,
    held: Mutex<VecDeque<WrongAnswer>>,
}

struct WrongAnswer {
    scope: u128,
    vector: Vector,
    times: u32,
    /// Least score that is served near it.
    score_min: f32,
}

impl WrongAnswers {
    /// The least score that a hit for this question needs because of what was refuted near it; infinite
    /// where nothing is to be served. `None` when nothing near was refuted.
    #[must_use]
    pub fn score_min(&self, scope: u128, asked: &Vector) -> Option<f32> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let held = self.held.lock();
        let near = held.iter().filter(|one| one.is_near(scope, asked));
        near.map(|one| one.score_min).reduce(f32::max)
    }

    /// Remembers that an answer to this question was wrong. `score` is what it was served at, if that is
    /// known; `strict` the score that is known best.
    pub fn add(&self, scope: u128, vector: &Vector, score: Option<f32>, strict: f32) {
        let mut held = self.held.lock();
        let mut times = 0;
        let mut score_min = score.map_or(strict, |score| strict.max(score + MARGIN));
        // What was known near it is part of the new one, which is the youngest now.
        held.retain(|one| {
            let is_near = one.is_near(scope, vector);
            if is_near {
                times = times.max(one.times);
                score_min = score_min.max(one.score_min);
            }
            !is_near
        });
        times += 1;
        if times >= TIMES_MAX {
            score_min = f32::INFINITY;
        }
        if held.iter().filter(|one| one.scope == scope).count() >= PER_SCOPE_MAX {
            let oldest = held.iter().position(|one| one.scope == scope);
            oldest.and_then(|at| held.remove(at));
        }
        if held.len() >= REFUTED_MAX {
            held.pop_front();
        }
        held.push_back(WrongAnswer {
            scope,
            vector: Vector::clone(vector),
            times,
            score_min,
        });
        self.count.store(held.len(), Ordering::Release);
    }

    /// Forgets all.
    pub fn clear(&self) {
        let mut held = self.held.lock();
        held.clear();
        self.count.store(0, Ordering::Release);
    }

    /// Refuted questions held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// True when there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl WrongAnswer {
    fn is_near(&self, scope: u128, asked: &Vector) -> bool {
        self.scope == scope && cosine(&self.vector, asked) >= NEAR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A unit vector at an angle, in the plane of two components.
    fn at(angle: f32, plane: usize) -> Vector {
        let mut vector = vec![0.0; crate::embedding::vector::DIMENSIONS];
        vector[2 * plane] = angle.cos();
        vector[2 * plane + 1] = angle.sin();
        vector.into()
    }

    #[test]
    fn near_a_refuted_question_more_is_needed_and_after_two_nothing_serves() {
        let wrong_answers = WrongAnswers::default();
        assert_eq!(wrong_answers.score_min(1, &at(0.0, 0)), None);
        wrong_answers.add(1, &at(0.0, 0), None, 1.1);
        assert_eq!(wrong_answers.score_min(1, &at(0.5, 0)), Some(1.1));
        // Another scope, another place.
        assert_eq!(wrong_answers.score_min(2, &at(0.0, 0)), None);
        assert_eq!(wrong_answers.score_min(1, &at(1.0, 0)), None);
        // A served score above the strict one counts.
        wrong_answers.add(2, &at(0.0, 0), Some(1.2), 1.1);
        assert!(wrong_answers.score_min(2, &at(0.0, 0)).unwrap() > 1.2);
        wrong_answers.add(1, &at(0.3, 0), None, 1.1);
        assert_eq!(wrong_answers.score_min(1, &at(0.4, 0)), Some(f32::INFINITY));
        assert_eq!(wrong_answers.len(), 2);
        wrong_answers.clear();
        assert_eq!(wrong_answers.score_min(1, &at(0.4, 0)), None);
    }

    #[test]
    fn what_is_held_is_bounded_per_scope_and_in_all() {
        let wrong_answers = WrongAnswers::default();
        for plane in 0..2 * PER_SCOPE_MAX {
            wrong_answers.add(1, &at(0.0, plane), None, 1.0);
        }
        assert_eq!(wrong_answers.len(), PER_SCOPE_MAX);
        // The youngest are held.
        assert_eq!(wrong_answers.score_min(1, &at(0.0, 0)), None);
        let last = at(0.0, 2 * PER_SCOPE_MAX - 1);
        assert_eq!(wrong_answers.score_min(1, &last), Some(1.0));
        for scope in 0..2 * REFUTED_MAX as u128 {
            wrong_answers.add(scope, &at(0.0, 0), None, 1.0);
        }
        assert_eq!(wrong_answers.len(), REFUTED_MAX);
        assert_eq!(wrong_answers.score_min(0, &at(0.0, 0)), None);
    }
}
