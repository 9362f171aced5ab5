//! Directed graphs over names: strongly connected components and shortest cycles.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Edges from each name to others; self edges are not kept.
#[derive(Default)]
pub struct Graph {
    edges: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    /// Adds an edge; an edge from a name to itself is ignored.
    pub fn add(&mut self, from: &str, to: &str) {
        if from != to {
            self.edges.entry(to.to_owned()).or_default();
            let targets = self.edges.entry(from.to_owned()).or_default();
            targets.insert(to.to_owned());
        }
    }

    /// Components of more than one name in which each reaches each; largest first, members sorted.
    pub fn cycles(&self) -> Vec<Vec<String>> {
        let mut order = Vec::new();
        let mut seen = BTreeSet::new();
        for name in self.edges.keys() {
            finish_order(&self.edges, name, &mut seen, &mut order);
        }
        let mut reversed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (from, targets) in &self.edges {
            for to in targets {
                let sources = reversed.entry(to.clone()).or_default();
                sources.insert(from.clone());
            }
        }
        let mut seen = BTreeSet::new();
        let mut components = Vec::new();
        for name in order.iter().rev() {
            let mut component = Vec::new();
            finish_order(&reversed, name, &mut seen, &mut component);
            if component.len() > 1 {
                component.sort();
                components.push(component);
            }
        }
        components.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        components
    }

    /// A shortest way from `start` back to it, `start` first and not repeated; empty when there is none.
    pub fn shortest_cycle(&self, start: &str) -> Vec<String> {
        let mut parent: BTreeMap<&str, &str> = BTreeMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(name) = queue.pop_front() {
            for next in self.edges.get(name).into_iter().flatten() {
                if next == start {
                    let mut way = vec![name.to_owned()];
                    let mut at = name;
                    while at != start {
                        at = parent[at];
                        way.push(at.to_owned());
                    }
                    way.reverse();
                    return way;
                }
                if !parent.contains_key(next.as_str()) {
                    parent.insert(next, name);
                    queue.push_back(next);
                }
            }
        }
        Vec::new()
    }
}

/// Appends the names reachable from `start` in the order in which a depth-first search leaves them.
fn finish_order(
    edges: &BTreeMap<String, BTreeSet<String>>,
    start: &str,
    seen: &mut BTreeSet<String>,
    order: &mut Vec<String>,
) {
    let mut stack = vec![(start.to_owned(), false)];
    while let Some((name, is_left)) = stack.pop() {
        if is_left {
            order.push(name);
            continue;
        }
        if !seen.insert(name.clone()) {
            continue;
        }
        stack.push((name.clone(), true));
        for next in edges.get(&name).into_iter().flatten() {
            if !seen.contains(next) {
                stack.push((next.clone(), false));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &str)]) -> Graph {
        let mut graph = Graph::default();
        for (from, to) in edges {
            graph.add(from, to);
        }
        graph
    }

    #[test]
    fn a_chain_has_no_cycle() {
        let chain = graph(&[("a", "b"), ("b", "c"), ("a", "c"), ("c", "c")]);
        assert!(chain.cycles().is_empty());
        assert!(chain.shortest_cycle("a").is_empty());
    }

    #[test]
    fn components_are_separate_and_largest_first() {
        let edges = [
            ("x", "y"),
            ("y", "x"),
            ("a", "b"),
            ("b", "c"),
            ("c", "a"),
            ("a", "x"),
        ];
        assert_eq!(
            graph(&edges).cycles(),
            [vec!["a", "b", "c"], vec!["x", "y"]]
        );
        assert_eq!(graph(&edges).shortest_cycle("b"), ["b", "c", "a"]);
    }
}
