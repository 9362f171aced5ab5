//! Rules: the first that a request meets decides its targets, arm and policy; answers do not cross from one to
//! another; `explain` says which applied, and why the others did not.

use crate::harness::*;
use serde_json::{Value, json};

const KEYS: &str = "[[keys]]\nname = \"one\"\nteam = \"payments\"\nsha256 = \"7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed\"\n\
                    [[keys]]\nname = \"two\"\nsha256 = \"3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3\"\n";

/// A provider that answers with its own name.
fn named(name: &'static str) -> Upstream {
    Upstream::start(move |_, stream| write_json(stream, 200, &chat_response(name)))
}

/// A model `m` at a, b and c in this order, with rules.
fn config(ups: &[Upstream; 3], more: &str) -> String {
    let [a, b, c] = ups;
    format!(
        "{}{}{}{}experiment = {{ name = \"e\", arms = [{{ name = \"x\", targets = [\"a\", \"b\"] }}, {{ name = \"y\", targets = [\"c\"], weight = 0 }}] }}\n\
         rules = [\n\
         {{ name = \"tools\", when = {{ tools = true }}, targets = [\"b\"] }},\n\
         {{ name = \"team\", when = {{ teams = [\"payments\"], headers = [\"x-tier: gold\"] }}, targets = [\"a\", \"b\"], policy = \"cheapest\" }},\n\
         {{ name = \"app\", when = {{ metadata = [\"app: search\"], stream = false }}, arm = \"y\" }},\n\
         {{ name = \"long\", when = {{ prompt_tokens_min = 1000 }}, targets = [\"b\"] }},\n\
         {{ name = \"eu\", when = {{ regions = [\"eu\"] }}, targets = [\"b\"] }},\n\
         ]\n[[prices]]\nprovider = \"b\"\nmodel = \"m-at-b\"\ninput = 1\noutput = 1\n{KEYS}{more}",
        a.provider("a"),
        provider("b", &b.address.to_string(), "region = \"eu\""),
        c.provider("c"),
        model("m", &["a", "b", "c"]),
    )
}

fn post(gateway: &Gateway, secret: &str, headers: &[(&str, &str)], body: &Value) -> Response {
    let bearer = format!("Bearer {secret}");
    let mut all = vec![("authorization", bearer.as_str())];
    all.extend_from_slice(headers);
    let reply = gateway.post_with("/v1/chat/completions", &all, body);
    assert_eq!(reply.status, 200, "{reply:?}");
    reply
}

#[test]
fn the_first_rule_that_applies_decides() {
    on_both_drivers(|driver| {
        let ups = [named("a"), named("b"), named("c")];
        let gateway = Setup::new(driver, config(&ups, "")).start();
        let tool = json!([{"type": "function", "function": {"name": "f", "parameters": {}}}]);
        let search = json!({"app": "search"});
        type Case<'c> = (&'c str, &'c [(&'c str, &'c str)], Value, &'c str, &'c str);
        let cases: [Case<'_>; 8] = [
            ("one", &[], ask("q"), "a", "arm=e/x"),
            (
                "one",
                &[],
                with(ask("q"), "tools", tool.clone()),
                "b",
                "rule=tools; arm=e/x",
            ),
            // By price, though it comes second among the targets.
            (
                "one",
                &[("x-tier", "gold")],
                ask("q"),
                "b",
                "rule=team; arm=e/x",
            ),
            ("two", &[("x-tier", "gold")], ask("q"), "a", "arm=e/x"),
            ("one", &[("X-Tier", "lead")], ask("q"), "a", "arm=e/x"),
            (
                "two",
                &[],
                with(ask("q"), "metadata", search),
                "c",
                "rule=app; arm=e/y",
            ),
            (
                "two",
                &[],
                ask(&"word ".repeat(1000)),
                "b",
                "rule=long; arm=e/x",
            ),
            (
                "two",
                &[("x-ringside-region", "eu")],
                ask("q"),
                "b",
                "rule=eu; arm=e/x",
            ),
        ];
        for (secret, headers, body, who, route) in cases {
            let reply = post(&gateway, secret, headers, &body);
            // Nobody gets an answer that another rule's targets gave.
            assert_eq!(
                (reply.content().as_str(), reply.header("x-ringside-route")),
                (who, Some(route))
            );
        }
        let line = gateway.wait_for_log(|line| line["rule"] == "app");
        assert_eq!(line["arm"], "e/y");
        // A rule is no chance: the arm's numbers leave such requests out.
        let counted = "ringside_experiment_arm_requests_total{gen_ai_request_model=\"m\",experiment=\"e\",arm=\"y\",outcome=\"ok\"}";
        assert_eq!(gateway.metric(counted), 0.0);
    });
}

#[test]
fn a_rule_is_not_got_around_and_explain_says_why_it_applies() {
    on_both_drivers(|driver| {
        let ups = [named("a"), named("b"), named("c")];
        let gateway = Setup::new(driver, config(&ups, "")).start();
        let headers = [
            ("authorization", "Bearer one"),
            ("x-tier", "gold"),
            ("x-ringside-route", "c"),
        ];
        let refused = gateway.post_with("/v1/chat/completions", &headers, &ask("q"));
        assert_eq!(
            (refused.status, refused.error().0.as_str()),
            (400, "no_eligible_target")
        );
        let reported = refused.error().1;
        assert!(reported.contains("c/m-at-c (rule)"), "{reported}");
        let question = json!({"key": "one", "headers": {"x-tier": "gold"}, "body": ask("q")});
        let reported = Client::connect(&gateway.admin)
            .post("/admin/v1/explain", &[], &question)
            .json();
        let model = &reported["cores"][0]["models"][0];
        let rules = json!([{"rule": "tools", "unmet": "tools"}, {"rule": "team", "unmet": null}]);
        assert_eq!(model["rules"], rules, "{reported}");
        assert_eq!(
            (&model["policy"], &model["policy_from"]),
            (&"cheapest".into(), &"rule".into())
        );
        assert_eq!(model["candidates"][2]["excluded"], "rule");
        assert_eq!(model["order"], json!(["b/m-at-b", "a/m-at-a"]));
    });
}
