//! The cost of tokens, in whole nano-dollars (10⁻⁹ US dollars).
//!
//! Each part (input, cached input, cache write, output) is rounded once, half up, and the total is the sum of the parts. So the
//! parts always add up to the total, and the total is off by at most two nano-dollars.

use crate::config::sections::prices::{Price, Rates};
use crate::protocols::usage::Usage;

/// The cost of one request, in nano-dollars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Prompt tokens that were neither read from the provider's cache nor written to it.
    pub input: u64,
    /// Prompt tokens read from the provider's cache.
    pub cached_input: u64,
    /// Prompt tokens written to the provider's cache.
    pub cache_write: u64,
    /// Tokens of the response, reasoning included.
    pub output: u64,
}

impl Cost {
    /// The sum, in nano-dollars.
    #[must_use]
    pub fn total(&self) -> u64 {
        let parts = self.parts().map(|(_, nanousd)| nanousd);
        parts.into_iter().fold(0, u64::saturating_add)
    }

    /// The cost of each type of token, in nano-dollars.
    #[must_use]
    pub(crate) fn parts(&self) -> [(TokenType, u64); 4] {
        [
            (TokenType::Input, self.input),
            (TokenType::CachedInput, self.cached_input),
            (TokenType::CacheWrite, self.cache_write),
            (TokenType::Output, self.output),
        ]
    }
}

/// Types of tokens that have a price of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum TokenType {
    Input,
    CachedInput,
    CacheWrite,
    Output,
}

impl TokenType {
    /// Value in metrics.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::CachedInput => "cached_input",
            Self::CacheWrite => "cache_write",
            Self::Output => "output",
        }
    }
}

/// The rates for a prompt of `prompt_tokens`.
#[must_use]
pub(crate) fn rates(price: &Price, prompt_tokens: u64) -> Rates {
    let mut tiers = price.tiers.iter().rev();
    let tier = tiers.find(|tier| prompt_tokens > tier.above_tokens);
    tier.map_or(price.rates, |tier| tier.rates)
}

/// The cost of `usage`.
#[must_use]
pub(crate) fn cost(price: &Price, usage: Usage) -> Cost {
    let rates = rates(price, usage.prompt);
    // A provider may report more cached tokens than the prompt has; the parts must not exceed the prompt.
    let cached = usage.cached.min(usage.prompt);
    let written = usage.cache_write.min(usage.prompt - cached);
    Cost {
        input: nanousd(usage.prompt - cached - written, rates.input),
        cached_input: nanousd(cached, rates.cached_input),
        cache_write: nanousd(written, rates.cache_write),
        output: nanousd(usage.completion, rates.output),
    }
}

/// `tokens` at `rate` (nano-dollars per million tokens), rounded half up.
fn nanousd(tokens: u64, rate: u64) -> u64 {
    const MILLION: u128 = 1_000_000;
    let exact = u128::from(tokens) * u128::from(rate);
    u64::try_from((exact + MILLION / 2) / MILLION).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::mix;
    use crate::config::sections::prices::{Seller, Tier};

    fn price(rates: Rates) -> Price {
        Price {
            seller: Seller::Family("f".into()),
            model: "m".into(),
            rates,
            tiers: Vec::new(),
        }
    }

    /// Nano-dollars per million tokens of a price in millionths of a dollar.
    fn micro(dollars_e6: u64) -> u64 {
        dollars_e6 * 1000
    }

    #[test]
    fn costs_follow_from_prices_and_usage() {
        let sold = price(Rates {
            input: micro(2_500_000),
            cached_input: micro(1_250_000),
            cache_write: micro(3_000_000),
            output: micro(10_000_000),
        });
        let usage = Usage {
            prompt: 1_000,
            completion: 500,
            cached: 400,
            cache_write: 100,
            reasoning: Some(450),
        };
        let cost = cost(&sold, usage);
        // 500 × 2.5, 400 × 1.25, 100 × 3 and 500 × 10 dollars per million tokens.
        assert_eq!(
            cost.parts().map(|(_, nanousd)| nanousd),
            [1_250_000, 500_000, 300_000, 5_000_000]
        );
        assert_eq!(cost.total(), 7_050_000);
    }

    #[test]
    fn parts_add_up_and_costs_are_bounded_and_grow_with_tokens() {
        for seed in 0..20_000_u64 {
            let draw = |salt: u64, below: u64| mix(seed * 16 + salt, 1) % below;
            let sold = price(Rates {
                input: draw(1, micro(100_000_000)),
                cached_input: draw(2, micro(100_000_000)),
                cache_write: draw(3, micro(100_000_000)),
                output: draw(4, micro(100_000_000)),
            });
            // More cached tokens than the prompt has too, which no provider should report.
            let usage = Usage {
                prompt: draw(5, 2_000_000),
                completion: draw(6, 200_000),
                cached: draw(7, 3_000_000),
                cache_write: draw(8, 3_000_000),
                reasoning: Some(draw(9, 400_000)),
            };
            let cost = cost(&sold, usage);
            let parts: u128 = cost.parts().iter().map(|(_, part)| u128::from(*part)).sum();
            assert_eq!(u128::from(cost.total()), parts);
            let rates = sold.rates;
            let dearest = rates.input.max(rates.cached_input).max(rates.cache_write);
            let cheapest = rates.input.min(rates.cached_input).min(rates.cache_write);
            let prompt = cost.total() - cost.output;
            let bound = |rate: u64| u128::from(usage.prompt) * u128::from(rate) / 1_000_000;
            assert!(u128::from(prompt) <= bound(dearest) + 3, "{usage:?}");
            assert!(u128::from(prompt) + 3 >= bound(cheapest), "{usage:?}");
            let more = Usage {
                completion: usage.completion + 1,
                ..usage
            };
            assert!(super::cost(&sold, more).total() >= cost.total());
        }
    }

    #[test]
    fn all_tokens_of_a_large_prompt_have_the_rate_of_its_tier() {
        let (low, high) = (
            Rates {
                input: micro(1_000_000),
                ..Rates::default()
            },
            Rates {
                input: micro(2_000_000),
                ..Rates::default()
            },
        );
        let mut sold = price(low);
        sold.tiers = [(100, low), (200, high)]
            .map(|(above_tokens, rates)| Tier {
                above_tokens,
                rates,
            })
            .to_vec();
        let of = |prompt| {
            cost(
                &sold,
                Usage {
                    prompt,
                    ..Usage::default()
                },
            )
        };
        assert_eq!(of(200).total(), 200_000);
        assert_eq!(of(201).total(), 402_000);
    }

    #[test]
    fn a_cost_that_overflows_is_the_largest_number() {
        let sold = price(Rates {
            input: u64::MAX,
            output: u64::MAX,
            ..Rates::default()
        });
        let usage = Usage {
            prompt: u64::MAX,
            completion: u64::MAX,
            ..Usage::default()
        };
        assert_eq!(cost(&sold, usage).total(), u64::MAX);
    }
}
