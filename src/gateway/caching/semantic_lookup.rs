//! The semantic look-up of one request: the same question in other words.

use crate::cache::freshness::classify::Freshness;
use crate::cache::semantic::miss::SemanticMiss;
use crate::cache::semantic::tier::SemanticHit;
use crate::cache::verify::model::Verifier;
use crate::cache::verify::verify::{SIMILARITY_FLOOR, Thresholds};
use crate::config::sections::cache::{Semantic as SemanticConfig, SemanticMode};
use crate::gateway::caching::active_session::ActiveSession;
use crate::gateway::caching::hit::{Hit, SemanticScores, semantic_reason};
use crate::gateway::context::cache::ServedEntry;
use crate::gateway::context::request_context::RequestContext;
use crate::observability::metrics::cache::CacheResult;
use crate::runtime::clock;
use crate::runtime::io::before;
use std::time::Duration;

/// How long past the deadline the refusal of a look-up is waited for: the embedding pool notices the deadline itself.
const DEADLINE_SLACK: Duration = Duration::from_millis(2);

impl ActiveSession {
    /// Looks for the same question in other words; a miss when that cannot be decided in time.
    pub(crate) async fn look_up_semantic(&mut self, ctx: &mut RequestContext) -> Option<Hit> {
        if !self.uses_semantic() || self.controls.cache.no_lookup {
            return None;
        }
        let found = match self.try_semantic().await {
            Ok(found) => found?,
            Err(miss) => {
                let mut metrics = self.core.metrics.borrow_mut();
                metrics.cache.semantic_refusals.increment(miss.as_str());
                ctx.cache.refused(miss.as_str());
                return None;
            }
        };
        let served = ServedEntry {
            id: found.entry.id,
            age: found.entry.age(clock::now()),
        };
        let reason = semantic_reason(found.similarity, found.confidence);
        ctx.cache.hit(CacheResult::Semantic, reason, served);
        Some(Hit {
            entry: found.entry,
            scores: Some(SemanticScores {
                similarity: found.similarity,
                confidence: found.confidence,
                score: found.score,
            }),
        })
    }

    /// `None` when there is no semantic tier.
    async fn try_semantic(&mut self) -> Result<Option<SemanticHit>, SemanticMiss> {
        self.semantic.map_err(SemanticMiss::Request)?;
        let Some(semantic) = self.core.shared.semantic.as_ref() else {
            return Ok(None);
        };
        let question = self.key().question();
        let class = self.lookup.class;
        let class = class.unwrap_or_else(|| Freshness::of_question(question));
        let config = &self.config().semantic;
        let raised = semantic.quality().raised(self.model);
        let thresholds = self.thresholds().raised_to(raised);
        let by = clock::now() + config.deadline;
        let observes = config.mode == SemanticMode::Observe;
        let serves_class = self.terms(class).allows_semantic;
        let started = serves_class.then(|| semantic.look_up(self.key(), thresholds, by, observes));
        self.lookup.class = Some(class);
        let started = started.ok_or(SemanticMiss::Freshness(class))?;
        let look_up = started?;
        self.lookup.vector = Some(look_up.vector);
        if observes {
            self.lookup.observed = Some(look_up.result);
            return Err(SemanticMiss::Observed);
        }
        let outcome = before(by + DEADLINE_SLACK, look_up.result).await;
        let outcome = outcome.ok_or(SemanticMiss::Deadline)?;
        let outcome = outcome.map_err(|_| SemanticMiss::ModelFailed)?;
        outcome.map(Some)
    }

    /// Looks for an expired entry for the same question in other words.
    pub(crate) async fn look_up_stale_semantic(&self) -> Option<SemanticHit> {
        let config = &self.config().semantic;
        if config.mode != SemanticMode::Serve || self.semantic.is_err() {
            return None;
        }
        let thresholds = Thresholds {
            stale_for: self.stale_for,
            ..self.thresholds()
        };
        let by = clock::now() + config.deadline;
        let semantic = self.core.shared.semantic.as_ref()?;
        let look_up = semantic.look_up(self.key(), thresholds, by, false).ok()?;
        let outcome = before(by + DEADLINE_SLACK, look_up.result).await?;
        outcome.ok()?.ok()
    }

    fn thresholds(&self) -> Thresholds {
        thresholds(&self.config().semantic, self.controls.cache.similarity_min)
    }
}

/// What a candidate must reach. A client may tighten the configured similarity, never loosen it.
fn thresholds(config: &SemanticConfig, similarity_min: Option<f32>) -> Thresholds {
    let requested = similarity_min.unwrap_or(0.0);
    match config.similarity_min {
        Some(configured) => Thresholds {
            stale_for: Duration::ZERO,
            score_min: None,
            similarity_min: configured.max(requested),
            static_floor: None,
        },
        None => {
            let verifier = Verifier::shipped().ok();
            let score = verifier.and_then(|model| model.score_for(config.wrong_hit_rate_max));
            Thresholds {
                stale_for: Duration::ZERO,
                // No score was shown to keep this rate: nothing is served. The configuration refuses such a rate.
                score_min: Some(score.unwrap_or(f32::INFINITY)),
                similarity_min: requested.max(SIMILARITY_FLOOR),
                static_floor: verifier.map(|model| model.static_floor),
            }
        }
    }
}
