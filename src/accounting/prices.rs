//! The price of each target: from the configuration, else from the price table.
//!
//! Prices are looked up once, when a configuration is loaded. A target without a price has an unknown cost, not a cost of zero.

use crate::accounting::cost::{Cost, cost};
use crate::base::names::Name;
use crate::config::root::Config;
use crate::config::sections::prices::{Price, PriceFile, Seller, parse_price_file};
use crate::config::sections::provider::Provider;
use crate::config::sections::target::{Target, TargetLocation};
use crate::protocols::usage::Usage;
use std::collections::HashMap;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// The price table that is part of the binary, as text.
const SHIPPED_TEXT: &str = include_str!("../../models/prices/prices.toml");

static SHIPPED: LazyLock<Result<PriceFile, String>> = LazyLock::new(|| {
    parse_price_file(SHIPPED_TEXT, "models/prices/prices.toml").map_err(|why| why.to_string())
});

/// Hosts whose prices are in the table, by family. A dialect does not determine a price: many providers have OpenAI's dialect.
const FAMILIES: [(&str, &str); 6] = [
    ("api.openai.com", "openai"),
    ("api.anthropic.com", "anthropic"),
    ("generativelanguage.googleapis.com", "gemini"),
    ("api.mistral.ai", "mistral"),
    ("api.groq.com", "groq"),
    ("api.x.ai", "xai"),
];

/// The price table that is part of the binary.
///
/// # Errors
/// The table does not parse. A test prevents that.
pub(crate) fn shipped() -> Result<&'static PriceFile, String> {
    SHIPPED.as_ref().map_err(Clone::clone)
}

/// The prices of all targets of a configuration.
pub struct PriceBook {
    /// Version of the table in use.
    pub version: String,
    /// Date of its prices.
    pub as_of: String,
    by_target: HashMap<Name, Entry>,
}

struct Entry {
    price: Option<Price>,
    /// The missing price was logged.
    is_logged: AtomicBool,
}

impl PriceBook {
    /// The prices of the targets of `config`.
    ///
    /// # Errors
    /// The table in the binary does not parse.
    pub fn new(config: &Config) -> Result<Self, String> {
        let table = match &config.price_file {
            Some(file) => file,
            None => shipped()?,
        };
        let mirrors = config
            .models
            .iter()
            .filter_map(|model| model.mirror.as_ref());
        let targets = config.models.iter().flat_map(|model| &model.targets);
        let targets = targets.chain(mirrors.map(|mirror| &mirror.target));
        let by_target = targets.map(|target| {
            let entry = Entry {
                price: price_of(target, config, table),
                is_logged: AtomicBool::new(false),
            };
            (Name::new(&config.label_of(target)), entry)
        });
        Ok(Self {
            version: table.version.clone(),
            as_of: table.as_of.clone(),
            by_target: by_target.collect(),
        })
    }

    /// The price of a target; `None` = unknown.
    #[must_use]
    pub fn price(&self, target: Name) -> Option<&Price> {
        self.by_target.get(&target)?.price.as_ref()
    }

    /// The cost of `usage` at a target; `None` = its price is unknown.
    #[must_use]
    pub fn cost(&self, target: Name, usage: Usage) -> Option<Cost> {
        self.price(target).map(|price| cost(price, usage))
    }

    /// Whether the missing price of this target is still to be logged. True only the first time, so that it is logged once.
    #[must_use]
    pub fn take_unlogged(&self, target: Name) -> bool {
        let is_logged = self.by_target.get(&target).map(|entry| &entry.is_logged);
        is_logged.is_some_and(|is_logged| {
            // The load avoids a write to a shared cache line in each request.
            !is_logged.load(Ordering::Relaxed) && !is_logged.swap(true, Ordering::Relaxed)
        })
    }
}

#[cfg(test)]
impl PriceBook {
    /// A book of one target, which has the price of `model` in `prices`.
    pub(crate) fn of_test(target: &str, prices: &[Price], model: &str) -> Self {
        let price = prices.iter().find(|price| price.model == model).cloned();
        let entry = Entry {
            price,
            is_logged: AtomicBool::new(false),
        };
        Self {
            version: String::new(),
            as_of: String::new(),
            by_target: HashMap::from([(Name::new(target), entry)]),
        }
    }
}

fn price_of(target: &Target, config: &Config, table: &PriceFile) -> Option<Price> {
    let TargetLocation::Provider(provider) = target.location else {
        // The embedding model in this process costs nothing.
        return Some(Price {
            seller: Seller::Family("local".into()),
            model: target.model.clone(),
            rates: Default::default(),
            tiers: Vec::new(),
        });
    };
    let sellers = [
        Some(Seller::Provider(provider)),
        family(config.providers.get(provider)?).map(Seller::Family),
    ];
    let names = [Some(target.model.as_str()), undated(&target.model)];
    // Precedence: the configuration before the table, the provider before its family, the exact name before the name
    // without its date.
    for prices in [&config.prices, &table.prices] {
        for seller in sellers.iter().flatten() {
            for name in names.iter().flatten() {
                let found = prices
                    .iter()
                    .find(|price| price.seller == *seller && price.model == **name);
                if found.is_some() {
                    return found.cloned();
                }
            }
        }
    }
    None
}

fn family(provider: &Provider) -> Option<String> {
    let by_host = || {
        let host = provider.base_url.host.to_ascii_lowercase();
        let found = FAMILIES.iter().find(|(name, _)| *name == host);
        found.map(|(_, family)| (*family).to_owned())
    };
    provider.price_family.clone().or_else(by_host)
}

/// A model's name without the date at its end: `-2024-11-20`, `-20241120` or `@20241120`.
fn undated(model: &str) -> Option<&str> {
    [("0000-00-00", "-"), ("00000000", "-@")]
        .into_iter()
        .find_map(|(form, marks)| {
            let name_bytes = model.len().checked_sub(form.len() + 1)?;
            let (name, rest) = model.split_at_checked(name_bytes)?;
            let (mark, date) = rest.split_at_checked(1)?;
            let has_form = form.bytes().zip(date.bytes()).all(|(form, byte)| {
                if form == b'0' {
                    byte.is_ascii_digit()
                } else {
                    byte == form
                }
            });
            let is_dated = marks.contains(mark) && date.starts_with("20") && has_form;
            (is_dated && !name.is_empty()).then_some(name)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::parse;
    use crate::config::names::KnownNames;

    fn book(text: &str) -> PriceBook {
        let known = KnownNames {
            dialects: &["openai"],
            comparable: &["openai"],
            policies: &["priority"],
            wrong_hit_rate_least: 0.005,
        };
        let config = parse(text, "t", std::path::Path::new(""), &known, &|_| None);
        PriceBook::new(&config.unwrap_or_else(|why| panic!("{why}"))).unwrap()
    }

    fn input(book: &PriceBook, target: &str) -> Option<u64> {
        book.price(Name::new(target)).map(|price| price.rates.input)
    }

    #[test]
    fn the_table_in_the_binary_is_complete() {
        let table = shipped().unwrap();
        assert!(table.prices.len() > 30 && !table.version.is_empty());
        for price in &table.prices {
            let rates = price.rates;
            assert!(rates.input > 0, "{}", price.model);
            assert!(rates.cached_input <= rates.input, "{}", price.model);
            assert!(
                rates.output > 0 || price.model.contains("embed"),
                "{}",
                price.model
            );
        }
    }

    #[test]
    fn exact_names_precede_undated_ones_and_the_configuration_precedes_the_table() {
        let book = book(
            r#"
            [[providers]]
            name = "openai"
            base_url = "https://api.openai.com/v1"
            [[providers]]
            name = "proxy"
            base_url = "http://10.0.0.1/v1"
            price_family = "openai"
            [[providers]]
            name = "vllm"
            base_url = "http://10.0.0.2/v1"
            [[models]]
            name = "m"
            targets = [
              { provider = "openai", model = "gpt-4o-2024-05-13" },
              { provider = "openai", model = "gpt-4o-2024-11-20" },
              { provider = "openai", model = "gpt-4o-mini-audio" },
              { provider = "proxy", model = "gpt-4o" },
              { provider = "proxy", model = "gpt-4.1" },
              { provider = "vllm", model = "gpt-4o" },
              { provider = "vllm", model = "own" },
              { provider = "local" },
            ]
            [[prices]]
            family = "openai"
            model = "gpt-4.1"
            input = 1
            output = 2
            [[prices]]
            provider = "proxy"
            model = "gpt-4o"
            input = 0.000000001
            output = 2.000000001
            "#,
        );
        let nano = 1_000_000_000;
        assert_eq!(input(&book, "openai/gpt-4o-2024-05-13"), Some(5 * nano));
        assert_eq!(
            input(&book, "openai/gpt-4o-2024-11-20"),
            Some(2_500_000_000)
        );
        assert_eq!(input(&book, "openai/gpt-4o-mini-audio"), None);
        assert_eq!(input(&book, "proxy/gpt-4o"), Some(1));
        assert_eq!(input(&book, "proxy/gpt-4.1"), Some(nano));
        assert_eq!(input(&book, "vllm/gpt-4o"), None);
        assert_eq!(input(&book, "local/all-MiniLM-L6-v2"), Some(0));
        let unknown = Name::new("vllm/own");
        assert_eq!(
            [0; 3].map(|_| book.take_unlogged(unknown)),
            [true, false, false]
        );
    }

    #[test]
    fn only_complete_dates_are_removed() {
        assert_eq!(undated("gpt-4o-2024-11-20"), Some("gpt-4o"));
        assert_eq!(undated("claude-sonnet-4-20250514"), Some("claude-sonnet-4"));
        assert_eq!(undated("m-20250514"), Some("m"));
        assert_eq!(undated("claude-sonnet-4@20250514"), Some("claude-sonnet-4"));
        for other in [
            "gpt-4o",
            "gpt-3.5-turbo-0125",
            "m-12345678",
            "-20250514",
            "é20250514",
        ] {
            assert_eq!(undated(other), None, "{other}");
        }
    }
}
