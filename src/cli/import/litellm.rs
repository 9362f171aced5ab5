//! LiteLLM's proxy configuration (docs.litellm.ai/docs/proxy/config_settings).
//!
//! Each key that is read is removed from its section; the remaining keys have no equivalent and are listed.

use crate::cli::import::imported::{Imported, Note};
use crate::cli::import::toml_values::{duration, quoted};
use crate::cli::import::yaml;
use crate::cli::import::yaml::Node;
use std::fmt::Write;

/// Most repeats a model may have in Ringside.
const RETRIES_MAX: f64 = 10.0;
/// Largest weight of a target in Ringside.
const WEIGHT_MAX: f64 = 1_000_000.0;

/// One provider to write.
#[derive(PartialEq)]
pub(crate) struct Provider {
    pub vendor: &'static str,
    pub keys: String,
}

/// One target to write.
#[derive(Clone)]
pub(crate) struct Target {
    pub provider: String,
    pub model: String,
    pub weight: [Option<f64>; 3],
    pub priority: u32,
}

/// One model to write.
#[derive(Clone)]
pub(crate) struct Model {
    pub name: String,
    pub targets: Vec<Target>,
    pub fallback: Vec<(&'static str, String)>,
}

#[derive(Default)]
pub(crate) struct Import<'d> {
    pub dialects: &'d [&'d str],
    pub providers: Vec<(String, Provider)>,
    pub models: Vec<Model>,
    /// Secrets that stand in the file, and the variables that are to hold them.
    pub literals: Vec<(String, String)>,
    notes: Vec<Note>,
}

/// A section whose keys are taken one by one.
pub(crate) struct Section<'n> {
    pub path: String,
    pub entries: Vec<&'n (String, Node)>,
}

impl<'n> Section<'n> {
    pub(crate) fn new(path: impl Into<String>, node: Option<&'n Node>) -> Self {
        let entries = node.map(Node::map).unwrap_or_default();
        Self {
            path: path.into(),
            entries: entries.iter().collect(),
        }
    }

    pub(crate) fn take(&mut self, key: &str) -> Option<&'n Node> {
        let index = self.entries.iter().position(|(name, _)| name == key)?;
        Some(&self.entries.remove(index).1)
    }

    pub(crate) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }
}

/// The note about a remaining key.
fn why_not(key: &str) -> &'static str {
    match key {
        "modify_params" | "additional_drop_params" => {
            "no such switch; see `unsupported_fields` in docs/configuration.md"
        }
        "database_url" | "store_model_in_db" | "database_connection_pool_limit" => {
            "there is no database. LiteLLM keeps the SHA-256 of each virtual key in the column `token` of \
             LiteLLM_VerificationToken: write a `[[keys]]` section with `name`, `sha256` and `models` for each"
        }
        "success_callback" | "failure_callback" | "callbacks" | "service_callbacks" => {
            "no callbacks; see `[log]` and the metrics of the admin API"
        }
        "redis_host" | "redis_port" | "redis_password" | "redis_url" => {
            "no Redis: each process keeps its own state"
        }
        "max_budget" | "budget_duration" => "no budgets yet",
        "input_cost_per_token" | "output_cost_per_token" => {
            "write a `[[prices]]` section, if the price table does not have it"
        }
        "allowed_fails" | "cooldown_time" => "health is judged by measurement, see docs/routing.md",
        "temperature" | "max_tokens" | "top_p" | "extra_headers" | "extra_body" => {
            "no defaults for requests: the application sets it"
        }
        "rpm" | "tpm" | "max_parallel_requests" | "global_max_parallel_requests" => {
            "no rate limits yet; a provider's own 429 sets its target aside"
        }
        "default_fallbacks" => "name the fallbacks of each model in `fallbacks`",
        "stream_timeout" => {
            "a stream has the deadline of its model and `read_timeout` of its provider"
        }
        "guardrails" => "no guardrails yet",
        _ => "nothing here is known to mean the same",
    }
}

/// Turns LiteLLM's `config.yaml` into a `ringside.toml`; `dialects` are those that can be spoken.
///
/// # Errors
/// The text is not YAML.
pub fn import(text: &str, dialects: &[&str]) -> Result<Imported, String> {
    let document = yaml::read(text)?;
    let mut import = Import {
        dialects,
        ..Import::default()
    };
    let mut root = Section::new("", Some(&document));
    let list = root.take("model_list");
    for (index, entry) in list.map(Node::list).unwrap_or_default().iter().enumerate() {
        import.deployment(&format!("model_list[{index}]"), entry);
    }
    let mut router = Section::new("router_settings", root.take("router_settings"));
    let mut settings = Section::new("litellm_settings", root.take("litellm_settings"));
    let mut general = Section::new("general_settings", root.take("general_settings"));
    let mut toml = String::from("# From a LiteLLM configuration, by `ringside import litellm`.\n");
    let cache = import.cache(&mut settings);
    let key = import.master_key(&mut general);
    import.fallbacks([&mut router, &mut settings]);
    import.aliases(&mut router);
    let shared = import.shared([&mut router, &mut settings]);
    let drops = settings.take("drop_params").is_some_and(Node::is_true);
    import.write_providers(&mut toml, drops);
    import.write_models(&mut toml, &shared);
    toml.push_str(&key);
    toml.push_str(&cache);
    for section in [root, router, settings, general] {
        import.leave(section);
    }
    import.notes.sort_by_key(|note| note.line);
    Ok(Imported {
        toml,
        notes: import.notes,
    })
}

impl<'d> Import<'d> {
    pub(crate) fn note(&mut self, node: &Node, path: &str, why: impl Into<String>) {
        self.notes.push(Note {
            line: node.line,
            path: path.to_owned(),
            why: why.into(),
        });
    }

    /// Lists what was not taken.
    pub(crate) fn leave(&mut self, section: Section<'_>) {
        for (key, node) in &section.entries {
            self.note(node, &section.path_of(key), why_not(key));
        }
    }

    fn cache(&mut self, settings: &mut Section<'_>) -> String {
        let enabled = settings.take("cache").is_some_and(Node::is_true);
        let mut params = Section::new(
            "litellm_settings.cache_params",
            settings.take("cache_params"),
        );
        let mut out = format!("\n[cache]\nenabled = {enabled}\n");
        if let Some(ttl) = params
            .take("ttl")
            .and_then(Node::number)
            .filter(|_| enabled)
        {
            let _ = writeln!(out, "ttl = {}", duration(ttl));
        }
        if let Some(store) = params.take("type")
            && store.text().is_none_or(|name| name != "local")
        {
            self.note(
                store,
                "litellm_settings.cache_params.type",
                "answers are cached in this process",
            );
        }
        self.leave(params);
        out
    }

    fn master_key(&mut self, general: &mut Section<'_>) -> String {
        if general.entries.iter().all(|(key, _)| key != "master_key") {
            return String::new();
        }
        let reference = self.reference(general, "master_key", "LITELLM_MASTER_KEY");
        format!(
            "\n# The master key, as a key for all models; it administers nothing.\n[[keys]]\nname = \"master\"\nsecret = {}\n",
            quoted(&reference)
        )
    }

    fn aliases(&mut self, router: &mut Section<'_>) {
        let aliases = router.take("model_group_alias");
        for (alias, node) in aliases.map(Node::map).unwrap_or_default() {
            let path = format!("router_settings.model_group_alias.{alias}");
            let theirs = node.text().unwrap_or_default();
            match self
                .models
                .iter()
                .find(|model| model.name == theirs)
                .cloned()
            {
                Some(model)
                    if is_name(alias) && self.models.iter().all(|model| model.name != *alias) =>
                {
                    self.models.push(Model {
                        name: alias.clone(),
                        ..model
                    });
                }
                _ => self.note(node, &path, "left out: no such model, or the name is taken"),
            }
        }
    }

    /// Fallbacks: further targets that are tried last, or the model for a kind of refusal.
    fn fallbacks(&mut self, sections: [&mut Section<'_>; 2]) {
        let before = self.models.clone();
        for section in sections {
            let kinds = [
                ("fallbacks", None),
                ("context_window_fallbacks", Some("context_length")),
                ("content_policy_fallbacks", Some("content_policy")),
            ];
            for (key, refusal) in kinds {
                let path = section.path_of(key);
                let list = section.take(key).map(Node::list).unwrap_or_default();
                for (model, others) in list.iter().flat_map(Node::map) {
                    self.fallback(&before, &path, model, others, refusal);
                }
            }
        }
    }

    fn fallback(
        &mut self,
        before: &[Model],
        path: &str,
        model: &str,
        others: &Node,
        refusal: Option<&'static str>,
    ) {
        let path = format!("{path}.{model}");
        let names: Vec<String> = others.list().iter().filter_map(Node::text).collect();
        let find = |name: &str| before.iter().find(|model| model.name == name);
        let missing = names.iter().find(|name| find(name).is_none());
        let Some(index) = self.models.iter().position(|known| known.name == model) else {
            return self.note(others, &path, "left out: the model was left out");
        };
        if let Some(missing) = missing {
            self.note(others, &path, format!("the model `{missing}` was left out"));
        }
        let mut found = names.iter().filter_map(|name| find(name));
        if let Some(kind) = refusal {
            let own = &mut self.models[index].fallback;
            own.extend(found.next().map(|other| (kind, other.name.clone())));
            if found.next().is_some() {
                self.note(
                    others,
                    &path,
                    "only the first: one model is asked after such a refusal",
                );
            }
            return;
        }
        for other in found {
            let own = &mut self.models[index].targets;
            let last = own.iter().map(|target| target.priority).max().unwrap_or(0);
            own.extend(other.targets.iter().map(|target| Target {
                priority: last + 1 + target.priority,
                ..target.clone()
            }));
        }
    }

    /// Keys that every model gets.
    fn shared(&mut self, [router, settings]: [&mut Section<'_>; 2]) -> String {
        let mut out = String::new();
        let strategy = router.take("routing_strategy");
        let policy = match strategy.and_then(Node::text).as_deref() {
            None | Some("simple-shuffle") => "weighted",
            Some("least-busy") => "least-outstanding",
            Some("latency-based-routing") => "least-latency",
            Some(_) => {
                if let Some(node) = strategy {
                    let why = "no such policy; `weighted` is used instead";
                    self.note(node, "router_settings.routing_strategy", why);
                }
                "weighted"
            }
        };
        let _ = writeln!(out, "policy = {}", quoted(policy));
        let retries = router.take("num_retries").or(settings.take("num_retries"));
        if let Some((node, count)) = retries.and_then(|node| Some((node, node.number()?))) {
            if count > RETRIES_MAX {
                self.note(node, "num_retries", "10 is the most");
            }
            let _ = writeln!(out, "retries = {}", count.clamp(0.0, RETRIES_MAX) as u32);
        }
        let timeout = router.take("timeout").or(settings.take("request_timeout"));
        if let Some((node, seconds)) = timeout.and_then(|node| Some((node, node.number()?))) {
            if seconds > 3600.0 {
                self.note(node, "timeout", "an hour is the most");
            }
            let _ = writeln!(out, "deadline = {}", duration(seconds.min(3600.0)));
        }
        out
    }

    fn write_providers(&self, out: &mut String, drops: bool) {
        for (name, provider) in &self.providers {
            let (name, keys) = (quoted(name), &provider.keys);
            let _ = write!(out, "\n[[providers]]\nname = {name}\n{keys}");
            if drops {
                out.push_str("unsupported_fields = \"drop\"\n");
            }
        }
    }

    fn write_models(&self, out: &mut String, shared: &str) {
        for model in &self.models {
            let _ = write!(
                out,
                "\n[[models]]\nname = {}\n{shared}targets = [\n",
                quoted(&model.name)
            );
            for target in &model.targets {
                // As simple-shuffle does: by weight, else by rpm, else by tpm, if all alike have one.
                let alike = |other: &&Target| other.priority == target.priority;
                let alike: Vec<&Target> = model.targets.iter().filter(alike).collect();
                let all = |kind: &usize| alike.iter().all(|target| target.weight[*kind].is_some());
                let by = (0..3).find(all);
                let weight = by.and_then(|kind| target.weight[kind]).unwrap_or(1.0);
                let weight = weight.round().clamp(1.0, WEIGHT_MAX) as u32;
                let _ = writeln!(
                    out,
                    "  {{ provider = {}, model = {}, weight = {weight}, priority = {} }},",
                    quoted(&target.provider),
                    quoted(&target.model),
                    target.priority
                );
            }
            out.push_str("]\n");
            let own = model.fallback.iter();
            let own: Vec<String> = own
                .map(|(kind, other)| format!("{kind} = {}", quoted(other)))
                .collect();
            if !own.is_empty() {
                let _ = writeln!(out, "fallback = {{ {} }}", own.join(", "));
            }
        }
    }
}

/// Whether a configuration may hold it as a model's name.
pub(crate) fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_graphic() && !"\"\\,*".contains(c);
    (1..=128).contains(&text.len()) && text.chars().all(fits)
}
