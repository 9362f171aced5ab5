//! `model_list`: LiteLLM's deployments as providers and targets.

use crate::cli::import::litellm::{Import, Model, Provider, Section, Target, is_name};
use crate::cli::import::toml_values::{duration, name, quoted};
use crate::cli::import::vendors;
use crate::cli::import::vendors::{Api, Vendor};
use crate::cli::import::yaml::Node;
use crate::config::provider_family::{Kind, family};
use std::fmt::Write;

impl Import<'_> {
    /// One entry of `model_list`.
    pub(crate) fn deployment(&mut self, path: &str, entry: &Node) {
        let mut section = Section::new(path, Some(entry));
        let requested = section.take("model_name").and_then(Node::text);
        let params_path = section.path_of("litellm_params");
        let mut params = Section::new(&params_path, section.take("litellm_params"));
        // Costs and modes for LiteLLM; Ringside needs none of them.
        section.take("model_info");
        let model = params.take("model").and_then(Node::text);
        let (Some(requested), Some(model)) = (requested, model) else {
            return self.note(
                entry,
                path,
                "left out: `model_name` or `litellm_params.model` is missing",
            );
        };
        let named = params.take("custom_llm_provider").and_then(Node::text);
        let (prefix, model) = match (named, model.split_once('/')) {
            (Some(prefix), _) => (prefix, model),
            (None, Some((prefix, rest))) => (prefix.to_owned(), rest.to_owned()),
            (None, None) => (guessed(&model).to_owned(), model),
        };
        let is_claude = prefix == "vertex_ai" && model.starts_with("claude");
        let vendor_name = if is_claude {
            "vertex_ai_anthropic"
        } else {
            prefix.as_str()
        };
        let Some(vendor) = vendors::find(vendor_name) else {
            let why = format!("left out: there is no provider `{prefix}` in the table");
            return self.note(entry, path, why);
        };
        if !is_name(&requested) || !is_name(&model) {
            return self.note(
                entry,
                path,
                "left out: no wildcards, and a name is 1 to 128 visible ASCII characters",
            );
        }
        let weights = ["weight", "rpm", "tpm"].map(|key| (key, params.take(key)));
        for (key, limit) in &weights[1..] {
            if let Some(limit) = limit {
                let why = "its share of the traffic, if no `weight` is given; no rate limits yet";
                self.note(limit, &format!("{params_path}.{key}"), why);
            }
        }
        let weight = weights.map(|(_, node)| node.and_then(Node::number));
        let order = params.take("order").and_then(Node::number).unwrap_or(1.0);
        let Some(provider) = self.provider(entry, path, vendor, &mut params) else {
            return;
        };
        self.leave(params);
        self.leave(section);
        let target = Target {
            provider,
            model,
            weight,
            priority: order.clamp(0.0, 500.0) as u32,
        };
        match self.models.iter_mut().find(|model| model.name == requested) {
            Some(known) => known.targets.push(target),
            None => self.models.push(Model {
                name: requested,
                targets: vec![target],
                fallback: Vec::new(),
            }),
        }
    }

    /// The name of the provider that a deployment is at, made if it is new.
    fn provider(
        &mut self,
        entry: &Node,
        path: &str,
        vendor: &'static Vendor,
        params: &mut Section<'_>,
    ) -> Option<String> {
        let known = |api: &&Api| self.dialects.contains(&api.dialect);
        let best = vendor.apis[0].dialect;
        let Some(api) = vendor.apis.iter().find(known).copied() else {
            let why = format!("left out: the dialect `{best}` is not supported yet");
            self.note(entry, path, why);
            return None;
        };
        if api.dialect != best {
            let why = format!(
                "`{}` is reached by its OpenAI-compatible API",
                vendor.prefix
            );
            self.note(entry, path, why);
        }
        let version = params.entries.iter().find(|(key, _)| key == "api_version");
        let version = version.and_then(|(_, node)| node.text());
        let url = self.base_url(entry, path, vendor, api, params)?;
        let mut keys = location(vendor.prefix, api.dialect, &url);
        if let (Some(version), "azure") = (version, api.dialect) {
            let _ = writeln!(keys, "api_version = {}", quoted(&version));
        }
        keys.push_str(&self.proof(vendor, params));
        if let Some(seconds) = params.take("timeout").and_then(Node::number) {
            let _ = writeln!(keys, "first_byte_timeout = {}", duration(seconds));
        }
        Some(self.provider_name(Provider {
            vendor: vendor.prefix,
            keys,
        }))
    }

    /// The base URL, that of `api` unless the file has another; `None` when there is none, which is noted.
    fn base_url(
        &mut self,
        entry: &Node,
        path: &str,
        vendor: &Vendor,
        api: Api,
        params: &mut Section<'_>,
    ) -> Option<String> {
        let base = params.take("api_base").or(params.take("base_url"));
        let base = base.and_then(|node| Some((node, node.text()?)));
        if let Some((node, text)) = &base
            && text.starts_with("os.environ/")
        {
            let why = "left out: a URL cannot come from the environment; write it here";
            self.note(node, &params.path_of("api_base"), why);
            return None;
        }
        let mut url = base.map_or_else(|| api.base_url.to_owned(), |(_, text)| text);
        url.truncate(url.trim_end_matches('/').len());
        match vendor.prefix {
            "azure" => {
                params.take("api_version");
                if api.dialect != "azure" && !url.is_empty() && !url.ends_with("/openai/v1") {
                    url.push_str("/openai/v1");
                }
            }
            "ollama" | "ollama_chat" if !url.ends_with("/v1") => url.push_str("/v1"),
            "bedrock" if url.is_empty() => {
                let region = params
                    .entries
                    .iter()
                    .find(|(key, _)| key == "aws_region_name");
                let region = region.and_then(|(_, node)| node.text());
                let region = region.filter(|region| !region.contains('/'))?;
                url = format!("https://bedrock-runtime.{region}.amazonaws.com");
            }
            "vertex_ai" | "vertex_ai_anthropic" => {
                let found = vertex_url(params);
                if url.is_empty() {
                    let Some(found) = found else {
                        self.note(entry, path, "left out: `vertex_project` is missing");
                        return None;
                    };
                    url = found;
                }
            }
            _ => {}
        }
        if url.is_empty() {
            self.note(entry, path, "left out: `api_base` is missing");
            return None;
        }
        Some(url)
    }

    /// `api_keys` or `auth`.
    fn proof(&mut self, vendor: &Vendor, params: &mut Section<'_>) -> String {
        if vendor.prefix == "bedrock" {
            let mut fields = String::from("kind = \"aws\"");
            let region = params.take("aws_region_name").and_then(Node::text);
            let _ = write!(fields, ", region = {}", quoted(&region.unwrap_or_default()));
            let secrets = [
                ("access_key_id", "aws_access_key_id", "AWS_ACCESS_KEY_ID"),
                (
                    "secret_access_key",
                    "aws_secret_access_key",
                    "AWS_SECRET_ACCESS_KEY",
                ),
            ];
            for (key, theirs, variable) in secrets {
                let reference = self.reference(params, theirs, variable);
                let _ = write!(fields, ", {key} = {}", quoted(&reference));
            }
            return format!("auth = {{ {fields} }}\n");
        }
        if vendor.prefix.starts_with("vertex_ai") {
            let account = self.service_account(params);
            let account = quoted(&account);
            return format!("auth = {{ kind = \"google\", service_account = {account} }}\n");
        }
        let is_given = params.entries.iter().any(|(key, _)| key == "api_key");
        if !is_given && vendor.key.is_empty() {
            return String::new();
        }
        let made_up = format!("{}_API_KEY", vendor.prefix.to_uppercase());
        let variable = if vendor.key.is_empty() {
            &made_up
        } else {
            vendor.key
        };
        let reference = self.reference(params, "api_key", variable);
        format!("api_keys = [{}]\n", quoted(&reference))
    }

    /// A reference to the key file of a service account.
    fn service_account(&mut self, params: &mut Section<'_>) -> String {
        let node = params.take("vertex_credentials");
        let Some((node, text)) = node.and_then(|node| Some((node, node.text()?))) else {
            return "file:service-account.json".to_owned();
        };
        if let Some(variable) = text.strip_prefix("os.environ/") {
            return format!("env:{variable}");
        }
        if text.trim_start().starts_with('{') {
            let why =
                "a key stands in the file: put it into service-account.json beside ringside.toml";
            self.note(node, &params.path_of("vertex_credentials"), why);
            return "file:service-account.json".to_owned();
        }
        format!("file:{text}")
    }

    /// A reference to the secret in `key`; `variable` holds it if nothing else is said.
    pub(crate) fn reference(
        &mut self,
        section: &mut Section<'_>,
        key: &str,
        variable: &str,
    ) -> String {
        let node = section.take(key);
        let Some((node, text)) = node.and_then(|node| Some((node, node.text()?))) else {
            return format!("env:{variable}");
        };
        if let Some(theirs) = text.strip_prefix("os.environ/") {
            return format!("env:{theirs}");
        }
        let known = self.literals.iter().find(|(secret, _)| *secret == text);
        let variable = known
            .map(|(_, variable)| variable.clone())
            .unwrap_or_else(|| {
                let taken = |name: &str| self.literals.iter().any(|(_, other)| other == name);
                let numbered = (2..).map(|nth| format!("{variable}_{nth}"));
                let mut names = std::iter::once(variable.to_owned()).chain(numbered);
                names.find(|name| !taken(name)).unwrap_or_default()
            });
        let why =
            format!("a secret stands in the file: put it into the environment variable {variable}");
        self.note(node, &section.path_of(key), why);
        self.literals.push((text, variable.clone()));
        format!("env:{variable}")
    }

    fn provider_name(&mut self, provider: Provider) -> String {
        if let Some((name, _)) = self.providers.iter().find(|(_, known)| *known == provider) {
            return name.clone();
        }
        let taken = |name: &str| self.providers.iter().any(|(other, _)| other == name);
        let first = name(provider.vendor);
        let numbered = (2..).map(|nth| format!("{first}-{nth}"));
        let mut names = std::iter::once(first.clone()).chain(numbered);
        let name = names.find(|name| !taken(name)).unwrap_or_default();
        self.providers.push((name.clone(), provider));
        name
    }
}

/// Where LiteLLM asks if no location is given.
const VERTEX_LOCATION: &str = "us-central1";

/// The base URL of Vertex AI's models; `None` without a project.
fn vertex_url(params: &mut Section<'_>) -> Option<String> {
    let mut named = |key| {
        let value = params.take(key).and_then(Node::text);
        value.filter(|value| is_name(value) && !value.contains('/'))
    };
    let (project, location) = (named("vertex_project"), named("vertex_location"));
    let location = location.unwrap_or_else(|| VERTEX_LOCATION.to_owned());
    let host = match location.as_str() {
        "global" => "aiplatform.googleapis.com".to_owned(),
        location => format!("{location}-aiplatform.googleapis.com"),
    };
    let project = project?;
    Some(format!(
        "https://{host}/v1/projects/{project}/locations/{location}"
    ))
}

/// The keys that locate a provider: its line in the table of compatible providers, if it has one.
fn location(prefix: &str, dialect: &str, url: &str) -> String {
    let is_it =
        |kind: &&Kind| kind.dialect == dialect && kind.litellm.iter().any(|known| known == prefix);
    let Some(kind) = family().iter().find(is_it) else {
        return format!(
            "dialect = {}\nbase_url = {}\n",
            quoted(dialect),
            quoted(url)
        );
    };
    let mut keys = format!("kind = {}\n", quoted(&kind.name));
    if kind.base_url.as_deref() != Some(url) {
        let _ = writeln!(keys, "base_url = {}", quoted(url));
    }
    keys
}

/// The prefix of a model that is written without one.
fn guessed(model: &str) -> &'static str {
    let begins = |names: &[&str]| names.iter().any(|name| model.starts_with(name));
    if begins(&["gpt-", "o1", "o3", "o4", "chatgpt-", "text-embedding-"]) {
        "openai"
    } else if begins(&["claude-"]) {
        "anthropic"
    } else {
        "(none given)"
    }
}
