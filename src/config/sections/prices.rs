//! `[[prices]]` and price files: what a seller charges for a model's tokens, as exact integers.
//!
//! It must not know which prices are shipped, nor how a cost is worked out (`accounting/` does).

use crate::config::limits;
use crate::config::values;
use toml::de::DeTable;

use crate::config::problem::Complaint;
use crate::config::problem::Problems;
use crate::config::reader::{Item, Report, Section, suggest};
use crate::config::references::References;

/// Prices of one model at one seller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price {
    /// Who sells.
    pub seller: Seller,
    /// Model name at the seller.
    pub model: String,
    /// Prices of a request of any size.
    pub rates: Rates,
    /// Prices of large requests, by rising size.
    pub tiers: Vec<Tier>,
}

/// Who charges a price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seller {
    /// The provider with this index in `Config::providers`.
    Provider(usize),
    /// Every provider of this price family.
    Family(String),
}

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

/// Prices from a size of the prompt on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tier {
    /// The whole request costs `rates` when its prompt has more tokens than this.
    pub above_tokens: u64,
    /// The prices.
    pub rates: Rates,
}

/// A price file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceFile {
    /// Its version.
    pub version: String,
    /// When its prices were noted.
    pub as_of: String,
    /// Where from.
    pub source: String,
    /// The prices.
    pub prices: Vec<Price>,
}

/// Reads a price file's text; `name_of_file` stands in the problems.
///
/// # Errors
/// Everything found wrong, in the order of the file.
pub(crate) fn parse_price_file(text: &str, name_of_file: &str) -> Result<PriceFile, Problems> {
    let report = Report::new(name_of_file, text);
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let at = error.span().map_or(0, |span| span.start);
        report.add(at, "", crate::config::load::syntax(error.message()));
    }
    let mut root = Section::root(root.get_ref(), &report);
    let mut fact = |key| {
        let remedy = "say it, so that a cost can be traced to its prices";
        root.require(key, remedy, |item| item.text().map(str::to_owned))
    };
    let facts = (fact("version"), fact("as_of"), fact("source"));
    let prices = prices(&mut root, None);
    root.finish();
    let problems = report.into_problems();
    match facts {
        (Some(version), Some(as_of), Some(source)) if problems.0.is_empty() => Ok(PriceFile {
            version,
            as_of,
            source,
            prices,
        }),
        _ => Err(problems),
    }
}

/// The file at `prices_file`.
pub(crate) fn price_file(root: &mut Section<'_>, references: &References<'_>) -> Option<PriceFile> {
    root.read("prices_file", |item| {
        let text = references.text(item.text()?)?;
        parse_price_file(&text, item.text()?).map_err(|problems| {
            Complaint::new(
                format!("the price file is wrong: {problems}"),
                "correct the file; models/prices/prices.toml shows its form",
            )
        })
    })
}

/// The sections `[[prices]]`. `providers` are the names an entry may refer to; a price file has none.
pub(crate) fn prices(root: &mut Section<'_>, providers: Option<&[String]>) -> Vec<Price> {
    let mut taken: Vec<(Seller, String)> = Vec::new();
    let mut prices = Vec::new();
    for mut section in root.sections("prices", &limits::PRICES) {
        let seller = seller(&mut section, providers);
        let model = section.require(
            "model",
            "add the model's name at the seller, e.g. `model = \"gpt-4o\"`",
            |item| values::name(item.text()?).map(str::to_owned),
        );
        let rates = rates(&mut section);
        let tiers = tiers(&mut section);
        if let (Some(seller), Some(model), Some(rates), Some(tiers)) = (seller, model, rates, tiers)
        {
            let identity = (seller.clone(), model.clone());
            if taken.contains(&identity) {
                let message = format!("the price of `{model}` at this seller is already given");
                section.complain("model", Complaint::new(message, "keep one of the two"));
            }
            taken.push(identity);
            prices.push(Price {
                seller,
                model,
                rates,
                tiers,
            });
        }
        section.finish();
    }
    prices
}

fn seller(section: &mut Section<'_>, providers: Option<&[String]>) -> Option<Seller> {
    let family = section.read("family", |item| {
        values::name(item.text()?).map(|name| Seller::Family(name.to_owned()))
    });
    let Some(providers) = providers else {
        if family.is_none() {
            let remedy = "add whose price it is, e.g. `family = \"openai\"`";
            section.complain("family", Complaint::new("missing", remedy));
        }
        return family;
    };
    let provider = section.read("provider", |item| provider(item, providers));
    let written = [section.item("provider"), section.item("family")];
    if written.iter().flatten().count() != 1 {
        section.complain(
            "provider",
            Complaint::new(
                "exactly one of `provider` and `family` says whose price it is",
                "give the name of a provider of this file, or a price family such as `openai`",
            ),
        );
        return None;
    }
    provider.or(family)
}

fn provider(item: &Item<'_>, providers: &[String]) -> Result<Seller, Complaint> {
    let name = item.text()?;
    let at = providers.iter().position(|provider| provider == name);
    at.map(Seller::Provider).ok_or_else(|| {
        let names = || providers.iter().map(String::as_str);
        Complaint::new(
            format!("there is no provider `{name}`"),
            suggest(name, names),
        )
    })
}

fn rates(section: &mut Section<'_>) -> Option<Rates> {
    let mut rate = |key| section.read(key, Item::dollars);
    let (cached_input, cache_write) = (rate("cached_input"), rate("cache_write"));
    let mut required = |key| {
        let remedy =
            "add US dollars per million tokens, e.g. 2.5; 0 where there are none to pay for";
        section.require(key, remedy, Item::dollars)
    };
    let (input, output) = (required("input"), required("output"));
    let (input, output) = (input?, output?);
    Some(Rates {
        input,
        cached_input: cached_input.unwrap_or(input),
        cache_write: cache_write.unwrap_or(input),
        output,
    })
}

/// The tiers, by rising size; `None` when one is wrong.
fn tiers(section: &mut Section<'_>) -> Option<Vec<Tier>> {
    let sections = section.sections("tiers", &limits::PRICE_TIERS);
    let mut tiers = Vec::new();
    for mut tier in sections {
        let above = tier.require(
            "above",
            "add the size of the prompt above which these prices hold, in tokens",
            |item| item.number(&limits::PRICE_TIER_TOKENS),
        );
        let rates = rates(&mut tier);
        tier.finish();
        tiers.push(Tier {
            above_tokens: above?,
            rates: rates?,
        });
    }
    tiers.sort_by_key(|tier| tier.above_tokens);
    Some(tiers)
}
