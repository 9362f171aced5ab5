//! Questions whose stored answer was marked wrong: a semantic hit for a similar question needs a higher score.
//!
//! It must not know entries or who marked them. A remembered question only raises the score that is needed.

use crate::embedding::codes::dot as cosine;
use crate::embedding::vector::Vector;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Questions remembered per scope; a further one replaces the oldest.
const PER_SCOPE_MAX: usize = 16;
/// Questions remembered in all, of 1.6 KiB each; a further one replaces the oldest.
pub(crate) const WRONG_ANSWERS_MAX: usize = 1024;

/// Cosine from which a question is similar to a remembered one. Chosen by hand: paraphrases, spelling mistakes
/// included, lie above it, and other subjects far below.
const SIMILAR_FROM: f32 = 0.75;
/// How much higher than the score of the wrong hit the needed score is: five steps of the calibration.
const MARGIN: f32 = 0.025;
/// From this many wrong answers to similar questions, such questions get no semantic hits.
const TIMES_MAX: u32 = 2;

/// The remembered questions of all scopes, the oldest first.
#[derive(Default)]
pub(crate) struct WrongAnswers {
    /// Read before the lock is taken, because there is mostly no question.
    count: AtomicUsize,
    questions: Mutex<VecDeque<WrongAnswer>>,
}

struct WrongAnswer {
    scope: u128,
    vector: Vector,
    times: u32,
    /// Least score that a hit for a similar question needs.
    score_min: f32,
}

impl WrongAnswers {
    /// The least score that a hit for this question needs because of wrong answers to similar questions;
    /// infinite when no hit may be served. `None` when no similar question is remembered.
    #[must_use]
    pub(crate) fn score_min(&self, scope: u128, query: &Vector) -> Option<f32> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let questions = self.questions.lock();
        let similar = questions
            .iter()
            .filter(|question| question.is_similar(scope, query));
        similar.map(|question| question.score_min).reduce(f32::max)
    }

    /// Remembers that an answer to this question was wrong. `score` is the score at which it was served, if
    /// it is known; `strictest` is the strictest score of the calibration.
    pub(crate) fn add(&self, scope: u128, vector: &Vector, score: Option<f32>, strictest: f32) {
        let mut questions = self.questions.lock();
        let mut times = 0;
        let mut score_min = score.map_or(strictest, |score| strictest.max(score + MARGIN));
        // Similar questions are merged into the new one, which becomes the youngest.
        questions.retain(|question| {
            let is_similar = question.is_similar(scope, vector);
            if is_similar {
                times = times.max(question.times);
                score_min = score_min.max(question.score_min);
            }
            !is_similar
        });
        times += 1;
        if times >= TIMES_MAX {
            score_min = f32::INFINITY;
        }
        let is_in_scope = |question: &WrongAnswer| question.scope == scope;
        if questions
            .iter()
            .filter(|question| is_in_scope(question))
            .count()
            >= PER_SCOPE_MAX
        {
            let oldest = questions.iter().position(is_in_scope);
            oldest.and_then(|position| questions.remove(position));
        }
        if questions.len() >= WRONG_ANSWERS_MAX {
            questions.pop_front();
        }
        questions.push_back(WrongAnswer {
            scope,
            vector: Vector::clone(vector),
            times,
            score_min,
        });
        self.count.store(questions.len(), Ordering::Release);
    }

    pub(crate) fn clear(&self) {
        let mut questions = self.questions.lock();
        questions.clear();
        self.count.store(0, Ordering::Release);
    }

    /// Questions remembered.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }
}

impl WrongAnswer {
    fn is_similar(&self, scope: u128, query: &Vector) -> bool {
        self.scope == scope && cosine(&self.vector, query) >= SIMILAR_FROM
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
    fn a_wrong_answer_raises_the_score_for_similar_questions_and_two_end_their_hits() {
        let wrong_answers = WrongAnswers::default();
        assert_eq!(wrong_answers.score_min(1, &at(0.0, 0)), None);
        wrong_answers.add(1, &at(0.0, 0), None, 1.1);
        assert_eq!(wrong_answers.score_min(1, &at(0.5, 0)), Some(1.1));
        // Another scope, another question.
        assert_eq!(wrong_answers.score_min(2, &at(0.0, 0)), None);
        assert_eq!(wrong_answers.score_min(1, &at(1.0, 0)), None);
        // A score of the wrong hit above the strictest one counts.
        wrong_answers.add(2, &at(0.0, 0), Some(1.2), 1.1);
        assert!(wrong_answers.score_min(2, &at(0.0, 0)).unwrap() > 1.2);
        wrong_answers.add(1, &at(0.3, 0), None, 1.1);
        assert_eq!(wrong_answers.score_min(1, &at(0.4, 0)), Some(f32::INFINITY));
        assert_eq!(wrong_answers.len(), 2);
        wrong_answers.clear();
        assert_eq!(wrong_answers.score_min(1, &at(0.4, 0)), None);
    }

    #[test]
    fn remembered_questions_are_bounded_per_scope_and_in_all() {
        let wrong_answers = WrongAnswers::default();
        for plane in 0..2 * PER_SCOPE_MAX {
            wrong_answers.add(1, &at(0.0, plane), None, 1.0);
        }
        assert_eq!(wrong_answers.len(), PER_SCOPE_MAX);
        // The youngest stay.
        assert_eq!(wrong_answers.score_min(1, &at(0.0, 0)), None);
        let last = at(0.0, 2 * PER_SCOPE_MAX - 1);
        assert_eq!(wrong_answers.score_min(1, &last), Some(1.0));
        for scope in 0..2 * WRONG_ANSWERS_MAX as u128 {
            wrong_answers.add(scope, &at(0.0, 0), None, 1.0);
        }
        assert_eq!(wrong_answers.len(), WRONG_ANSWERS_MAX);
        assert_eq!(wrong_answers.score_min(0, &at(0.0, 0)), None);
    }
}
