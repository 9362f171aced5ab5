//! The routes of the admin API. How to add one: write its handler and its entry here; dispatch, `allow`, the OpenAPI
//! document and docs/operations.md follow.

use crate::admin::metrics_page::page;
use crate::admin::response::{ok, text, with_content_type};
use crate::admin::route::{AdminRoute, Permission, QueryParameter};
use crate::admin::{cache_page, experiments_page, explain_page, health, openapi, targets_page};
use hyper::{Method, StatusCode};

const JSON: &str = "application/json";
const TEXT: &str = "text/plain";
const PROMETHEUS: &str = "text/plain; version=0.0.4";

pub(crate) const ROUTES: &[AdminRoute] = &[
    AdminRoute {
        method: Method::GET,
        path: "/livez",
        permission: Permission::Probe,
        query: &[],
        body: None,
        content_type: TEXT,
        doc: "200 while the control plane runs.",
        handler: |_| Box::pin(async { health::live() }),
    },
    AdminRoute {
        method: Method::GET,
        path: "/readyz",
        permission: Permission::Probe,
        query: &[],
        body: None,
        content_type: TEXT,
        doc: "200, or 503 `draining`. It does not wait for the embedding model or a provider.",
        handler: |request| Box::pin(async move { health::ready(request.plane) }),
    },
    AdminRoute {
        method: Method::GET,
        path: "/metrics",
        permission: Permission::Probe,
        query: &[],
        body: None,
        content_type: PROMETHEUS,
        doc: "Metrics in the Prometheus text format.",
        handler: |request| {
            Box::pin(async move {
                let page = text(StatusCode::OK, &page::page(request.plane).await);
                with_content_type(page, PROMETHEUS)
            })
        },
    },
    AdminRoute {
        method: Method::GET,
        path: "/admin/v1/openapi.json",
        permission: Permission::View,
        query: &[],
        body: None,
        content_type: JSON,
        doc: "This API as an OpenAPI 3.1 document.",
        handler: |request| Box::pin(async move { ok(&openapi::document(request.routes)) }),
    },
    AdminRoute {
        method: Method::GET,
        path: "/admin/v1/info",
        permission: Permission::View,
        query: &[],
        body: None,
        content_type: JSON,
        doc: "Version, driver, cores, addresses, state of the embedding model, models, configuration (path, generation, why the last reload was refused), limits.",
        handler: |request| Box::pin(async move { health::info(request.plane) }),
    },
    AdminRoute {
        method: Method::POST,
        path: "/admin/v1/explain",
        permission: Permission::View,
        query: &[],
        body: Some("A chat request, up to 20 MiB."),
        content_type: JSON,
        doc: "What each core would do with the chat request in the body, and why; see [routing.md](routing.md).",
        handler: |request| Box::pin(explain_page::explain_request(request.plane, request.body)),
    },
    AdminRoute {
        method: Method::GET,
        path: "/admin/v1/experiments",
        permission: Permission::View,
        query: &[],
        body: None,
        content_type: JSON,
        doc: "Arms with share, outcomes, latencies, cost and ratings, and why a canary was rolled back; see [routing.md](routing.md#experiments).",
        handler: |request| Box::pin(experiments_page::experiments(request.plane)),
    },
    AdminRoute {
        method: Method::POST,
        path: "/admin/v1/experiments/reset",
        permission: Permission::Operate,
        query: &[QueryParameter {
            name: "model",
            doc: "Only the experiment of this model.",
        }],
        body: None,
        content_type: JSON,
        doc: "Gives canaries that were rolled back their share again.",
        handler: |request| {
            Box::pin(async move { experiments_page::reset(request.plane, &request.query) })
        },
    },
    AdminRoute {
        method: Method::POST,
        path: "/admin/v1/targets/reset",
        permission: Permission::Operate,
        query: &[QueryParameter {
            name: "target",
            doc: "Only this target, as `provider/model`.",
        }],
        body: None,
        content_type: JSON,
        doc: "Ends cooldowns of targets and their keys, and closes nothing: open targets get requests again; see [routing.md](routing.md#rate-limits-and-keys).",
        handler: |request| Box::pin(targets_page::reset(request.plane, request.query)),
    },
    AdminRoute {
        method: Method::DELETE,
        path: "/admin/v1/cache",
        permission: Permission::Operate,
        query: &[
            QueryParameter {
                name: "model",
                doc: "Only entries of this model.",
            },
            QueryParameter {
                name: "key",
                doc: "Only entries of this key.",
            },
        ],
        body: None,
        content_type: JSON,
        doc: "Removes entries.",
        handler: |request| Box::pin(cache_page::delete_matching(request.plane, request.query)),
    },
    AdminRoute {
        method: Method::DELETE,
        path: "/admin/v1/cache/entries/{id}",
        permission: Permission::Operate,
        query: &[],
        body: None,
        content_type: JSON,
        doc: "Removes one entry.",
        handler: |request| Box::pin(cache_page::delete_entry(request.plane, request.id)),
    },
    AdminRoute {
        method: Method::POST,
        path: "/admin/v1/cache/entries/{id}/wrong",
        permission: Permission::Operate,
        query: &[],
        body: None,
        content_type: JSON,
        doc: "Marks an answer as wrong: removes the entry with its aliases, and asks a higher score of hits near it; see [cache.md](cache.md#undo).",
        handler: |request| Box::pin(cache_page::mark_wrong(request.plane, request.id)),
    },
    AdminRoute {
        method: Method::GET,
        path: "/admin/v1/cache/quality",
        permission: Permission::View,
        query: &[],
        body: None,
        content_type: JSON,
        doc: "Estimated rate of wrong semantic hits by model with its interval, labels, samples; see [cache.md](cache.md#comparing-hits-with-fresh-responses).",
        handler: |request| Box::pin(async move { cache_page::quality(request.plane) }),
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::route::{Match, PREFIX, find};
    use std::collections::BTreeSet;

    #[test]
    fn the_openapi_document_has_the_routes_of_the_table_and_no_others() {
        let document = openapi::document(ROUTES);
        let mut documented = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for method in methods.as_object().unwrap().keys() {
                documented.insert(format!("{} {path}", method.to_uppercase()));
            }
        }
        let routes: BTreeSet<_> = ROUTES
            .iter()
            .map(|route| format!("{} {}", route.method, route.path))
            .collect();
        assert_eq!(documented, routes);
        assert_eq!(routes.len(), ROUTES.len());
        let entry = &document["paths"]["/admin/v1/cache/entries/{id}"]["delete"];
        assert_eq!(entry["parameters"][0]["in"], "path");
    }

    #[test]
    fn every_route_is_found_by_its_path_and_other_methods_are_refused() {
        for route in ROUTES {
            let path = route.path.replace("{id}", "0f");
            let expected = if route.path == path { "" } else { "0f" };
            match find(ROUTES, &route.method, &path) {
                Match::Route { route: found, id } => {
                    assert_eq!((found.path, id), (route.path, expected));
                }
                _ => panic!("{path} is not found"),
            }
            let refused = find(ROUTES, &Method::PATCH, &path);
            assert!(matches!(refused, Match::OtherMethod(_)), "{path}");
        }
    }

    #[test]
    fn an_old_path_names_its_new_one() {
        for path in ["/info", "/cache/entries/0f/wrong", "/experiments/reset"] {
            match find(ROUTES, &Method::GET, path) {
                Match::Unknown { moved_to } => {
                    assert_eq!(moved_to, Some(format!("{PREFIX}{path}")));
                }
                _ => panic!("{path} is found"),
            }
        }
        let unknown = find(ROUTES, &Method::GET, "/cache/entries/");
        assert!(matches!(unknown, Match::Unknown { moved_to: None }));
    }
}
