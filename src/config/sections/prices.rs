//! `[[prices]]` and price files: what a seller charges for a model's tokens, as exact integers.
//!
//! It must not know which prices are shipped, nor how a cost is computed (`accounting/` does).

use crate::config::context::{Context, Seen};
use crate::config::documentation::KeyDoc;
use crate::config::key::{Field, key};
use crate::config::limits::Bounds;
use crate::config::names::{FileNames, KnownNames};
use crate::config::notation::{Notation, dollars, name, number, read_name, written};
use crate::config::problem::{Complaint, Problems};
use crate::config::reader::{Item, Section};
use crate::config::references::References;
use crate::config::report::Report;
use crate::config::settings::{Settings, flattened, sections, settings};
use crate::config::suggest::suggest;
use std::path::Path;

settings! {
    /// Prices of one model at one seller.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Price checked by check_price {
        /// Who charges it.
        pub seller: Seller = SellerKeys;
        /// model name at the seller
        pub model: String = key("model", name())
            .required("add the model's name at the seller, e.g. `model = \"gpt-4o\"`");
        /// Prices of a request of any size.
        pub rates: Rates = flattened::<WrittenRates>();
        /// prices of requests with large prompts
        pub tiers: Vec<Tier> = sections("tiers", Bounds::new("PRICE_TIERS", 1, 8));
    }
}

settings! {
    /// Prices from a size of the prompt on.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Tier {
        /// the whole request costs the prices of this tier when its prompt has more tokens than this
        pub above_tokens: u64 = key("above", number(Bounds::new("PRICE_TIER_TOKENS", 1, 1_000_000_000)))
            .required("add the size of the prompt above which these prices hold, in tokens");
        /// The prices.
        pub rates: Rates = flattened::<WrittenRates>();
    }
}

settings! {
    /// Prices as written.
    pub(crate) struct WrittenRates {
        /// prompt tokens read from the seller's prompt cache
        cached_input: Option<u64> = key("cached_input", dollars()).optional("as `input`");
        /// prompt tokens written into it
        cache_write: Option<u64> = key("cache_write", dollars()).optional("as `input`");
        /// prompt tokens
        input: u64 = key("input", dollars()).required(DOLLARS);
        /// tokens of the answer, reasoning included
        output: u64 = key("output", dollars()).required(DOLLARS);
    }
}

const DOLLARS: &str =
    "add US dollars per million tokens, e.g. 2.5; 0 where there are none to pay for";

/// What tokens cost, in nano-dollars (10⁻⁹ US dollars) per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rates {
    /// Prompt tokens.
    pub input: u64,
    /// Prompt tokens read from the seller's prompt cache.
    pub cached_input: u64,
    /// Prompt tokens written into it.
    pub cache_write: u64,
    /// Tokens of the answer, those of reasoning included.
    pub output: u64,
}

impl From<WrittenRates> for Rates {
    fn from(written: WrittenRates) -> Self {
        Self {
            input: written.input,
            cached_input: written.cached_input.unwrap_or(written.input),
            cache_write: written.cache_write.unwrap_or(written.input),
            output: written.output,
        }
    }
}

/// Who charges a price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seller {
    /// The provider with this index in `Config::providers`.
    Provider(usize),
    /// Every provider of this price family.
    Family(String),
}

/// A price file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceFile {
    /// Its version.
    pub version: String,
    /// The day on which its prices were read.
    pub as_of: String,
    /// Where they were read.
    pub source: String,
    /// The prices.
    pub prices: Vec<Price>,
}

settings! {
    /// The keys of a price file.
    struct PriceFileKeys {
        /// its version
        version: String = key("version", text()).required(SOURCE);
        /// the day on which its prices were read
        as_of: String = key("as_of", text()).required(SOURCE);
        /// where they were read
        source: String = key("source", text()).required(SOURCE);
        /// The prices.
        prices: Vec<Price> = sections("prices", PRICES);
    }
}

const SOURCE: &str = "add it, so that a cost can be traced to its prices";

/// Entries of `[[prices]]`, also in a price file.
pub(crate) const PRICES: Bounds<usize> = Bounds::new("PRICES", 0, 10_000);

/// Reads a price file's text; `name_of_file` stands in the problems.
///
/// # Errors
/// Everything found wrong, in the order of the file.
pub(crate) fn parse_price_file(text: &str, name_of_file: &str) -> Result<PriceFile, Problems> {
    let report = Report::new(name_of_file, text);
    let root = report.parse();
    let mut root = Section::root(root.get_ref(), &report);
    let no_names = FileNames::default();
    let context = Context {
        known: &KnownNames {
            dialects: &[],
            comparable: &[],
            policies: &[],
            wrong_hit_rate_least: 0.0,
        },
        references: &References {
            base_dir: Path::new(""),
            env: &|_| None,
        },
        names: &no_names,
        seen: &Seen::default(),
        model: 0,
        is_price_file: true,
    };
    let keys = PriceFileKeys::read(&mut root, &context);
    root.finish();
    match keys {
        Some(keys) if report.is_empty() => Ok(PriceFile {
            version: keys.version,
            as_of: keys.as_of,
            source: keys.source,
            prices: keys.prices,
        }),
        _ => Err(report.into_problems()),
    }
}

/// A reference to a price file.
pub(crate) fn price_file() -> Notation<PriceFile> {
    written("reference `file:PATH`", |item, context| {
        let text = context.references.text(item.text()?)?;
        parse_price_file(&text, item.text()?).map_err(|problems| {
            Complaint::new(
                format!("the price file is wrong: {problems}"),
                "correct the file; models/prices/prices.toml shows its form",
            )
        })
    })
}

fn text() -> Notation<String> {
    written("text", |item, _| item.text().map(str::to_owned))
}

/// Sorts the tiers and refuses a second price of one model.
fn check_price(price: &mut Price, section: &Section<'_>, context: &Context<'_>) {
    price.tiers.sort_by_key(|tier| tier.above_tokens);
    let list = format!("prices of {:?}", price.seller);
    let Some(item) = section.peek("model") else {
        return;
    };
    if context.seen.earlier(&list, &price.model, &item).is_some() {
        let message = format!(
            "the price of `{}` at this seller is already given",
            price.model
        );
        item.complain(Complaint::new(message, "keep one of the two"));
    }
}

/// Exactly one of `provider` and `family`; in a price file, which knows no providers, `family`.
struct SellerKeys;

impl Field<Seller> for SellerKeys {
    fn read(&self, section: &mut Section<'_>, context: &Context<'_>) -> Option<Seller> {
        let family = section.read("family", |item| read_name(item).map(Seller::Family));
        if context.is_price_file {
            if section.peek("family").is_none() {
                let remedy = "add whose price it is, e.g. `family = \"openai\"`";
                section.complain("family", Complaint::new("missing", remedy));
            }
            return family;
        }
        let provider = section.read("provider", |item| provider(item, context));
        let written = ["provider", "family"].map(|key| section.peek(key));
        if written.iter().flatten().count() != 1 {
            section.complain(
                "provider",
                Complaint::new(
                    "exactly one of `provider` and `family` says whose price it is",
                    "give the name of a provider of this file, or a price family such as `openai`",
                ),
            );
        }
        provider.or(family)
    }

    fn document(&self, _: &str, prefix: &str, _: &KnownNames<'_>, keys: &mut Vec<KeyDoc>) {
        let document = |name: &str, bounds: &str, meaning: &str| KeyDoc {
            path: format!("{prefix}{name}"),
            kind: None,
            default: "–".into(),
            bounds: bounds.into(),
            needs_restart: false,
            meaning: meaning.into(),
        };
        let meaning = "whose price it is; exactly one of `provider` and `family`";
        keys.push(document("provider", "a provider's `name`", meaning));
        keys.push(document("family", "name", "a `price_family` of providers"));
    }

    fn restarts(&self, _: &Seller, _: &Seller, _: &str, _: &mut Vec<String>) {}
}

fn provider(item: &Item<'_>, context: &Context<'_>) -> Result<Seller, Complaint> {
    let name = item.text()?;
    let index = context.names.provider(name);
    index.map(Seller::Provider).ok_or_else(|| {
        Complaint::new(
            format!("there is no provider `{name}`"),
            suggest(name, || context.names.provider_names()),
        )
    })
}
