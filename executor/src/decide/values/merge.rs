//! What do several documents say together, and where did each part come from? Maps are merged,
//! everything else is replaced as a whole, so that each leaf has exactly one origin. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::SourceKind;

/// Merged documents. A map with entries is always a branch, so no leaf lies above another leaf.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Tree(pub(super) BTreeMap<String, Node>);

/// One place in merged documents.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    /// A map with entries.
    Branch(Tree),
    /// A scalar, a list, or a map without entries.
    Leaf(Value, SourceKind),
}

impl Tree {
    /// Lays `document` over what is here.
    pub(super) fn merge(&mut self, document: Map<String, Value>, origin: SourceKind) {
        for (key, value) in document {
            match (self.0.get_mut(&key), value) {
                (Some(Node::Branch(branch)), Value::Object(entries)) => {
                    branch.merge(entries, origin);
                }
                (_, value) => {
                    self.0.insert(key, Node::new(value, origin));
                }
            }
        }
    }

    /// Every leaf with the keys that lead to it, in the order of the keys.
    pub(super) fn leaves<'tree>(
        &'tree self,
        visit: &mut impl FnMut(&[&'tree str], &'tree Value, SourceKind),
    ) {
        self.visit_leaves(&mut Vec::new(), visit);
    }

    /// All of it as one document.
    pub(super) fn document(&self) -> Map<String, Value> {
        self.0
            .iter()
            .map(|(key, node)| (key.clone(), node.value()))
            .collect()
    }

    /// One line of JSON per leaf: where it is, where it came from, what it is. JSON escapes line
    /// breaks, so that different trees have different bytes.
    pub(super) fn canonical(&self) -> Vec<u8> {
        let mut lines = String::new();
        self.leaves(&mut |path, value, origin| {
            let path = Value::from(path.to_vec());
            // Writing into a String cannot fail.
            let _ = writeln!(lines, "{path} {origin} {value}");
        });
        lines.into_bytes()
    }

    fn visit_leaves<'tree>(
        &'tree self,
        path: &mut Vec<&'tree str>,
        visit: &mut impl FnMut(&[&'tree str], &'tree Value, SourceKind),
    ) {
        for (key, node) in &self.0 {
            path.push(key);
            match node {
                Node::Branch(branch) => branch.visit_leaves(path, visit),
                Node::Leaf(value, origin) => visit(path, value, *origin),
            }
            path.pop();
        }
    }
}

impl Node {
    fn new(value: Value, origin: SourceKind) -> Self {
        match value {
            Value::Object(entries) if !entries.is_empty() => {
                let mut branch = Tree::default();
                branch.merge(entries, origin);
                Self::Branch(branch)
            }
            leaf => Self::Leaf(leaf, origin),
        }
    }

    fn value(&self) -> Value {
        match self {
            Self::Branch(branch) => Value::Object(branch.document()),
            Self::Leaf(value, _) => value.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const CONFIG: SourceKind = SourceKind::ConfigMap;
    const SECRET: SourceKind = SourceKind::Secret;

    fn merged(documents: &[Value]) -> Tree {
        let mut tree = Tree::default();
        for document in documents {
            tree.merge(document.as_object().unwrap().clone(), CONFIG);
        }
        tree
    }

    #[rstest::rstest]
    #[case::maps_are_merged(&[json!({"a": {"b": 1}}), json!({"a": {"c": 2}})], json!({"a": {"b": 1, "c": 2}}))]
    #[case::later_wins(&[json!({"a": {"b": 1}}), json!({"a": {"b": 2}})], json!({"a": {"b": 2}}))]
    #[case::lists_are_replaced(&[json!({"a": [1, 2]}), json!({"a": [3]})], json!({"a": [3]}))]
    #[case::a_map_replaces_a_scalar(&[json!({"a": 1}), json!({"a": {"b": 2}})], json!({"a": {"b": 2}}))]
    #[case::a_scalar_replaces_a_map(&[json!({"a": {"b": 2}}), json!({"a": 1})], json!({"a": 1}))]
    #[case::null_replaces_a_map_and_stays(&[json!({"a": {"b": 2}}), json!({"a": null})], json!({"a": null}))]
    #[case::a_map_replaces_null(&[json!({"a": null}), json!({"a": {"b": 2}})], json!({"a": {"b": 2}}))]
    #[case::an_empty_map_takes_nothing_away(&[json!({"a": {"b": 2}}), json!({"a": {}})], json!({"a": {"b": 2}}))]
    #[case::an_empty_map_replaces_a_scalar(&[json!({"a": 1}), json!({"a": {}})], json!({"a": {}}))]
    #[case::an_empty_map_is_filled(&[json!({"a": {}}), json!({"a": {"b": {"c": 1}}})], json!({"a": {"b": {"c": 1}}}))]
    #[case::an_empty_list_replaces(&[json!({"a": [1]}), json!({"a": []})], json!({"a": []}))]
    fn a_later_document_is_laid_over_an_earlier_one(
        #[case] documents: &[Value],
        #[case] result: Value,
    ) {
        assert_eq!(Value::Object(merged(documents).document()), result);
    }

    #[test]
    fn each_leaf_knows_who_said_it_last() {
        let mut tree = merged(&[json!({"db": {"host": "a", "password": "none"}, "list": [1]})]);
        tree.merge(
            json!({"db": {"password": "x"}})
                .as_object()
                .unwrap()
                .clone(),
            SECRET,
        );
        let mut told = Vec::new();
        tree.leaves(&mut |path, _, origin| told.push((path.join("."), origin)));
        assert_eq!(
            told,
            [
                ("db.host".to_owned(), CONFIG),
                ("db.password".to_owned(), SECRET),
                ("list".to_owned(), CONFIG),
            ]
        );
    }

    #[rstest::rstest]
    #[case::value(json!({"a": 1}), json!({"a": 2}))]
    #[case::kind(json!({"a": 1}), json!({"a": "1"}))]
    #[case::float(json!({"a": 1}), json!({"a": 1.0}))]
    #[case::depth(json!({"a": {"b": 1}}), json!({"a.b": 1}))]
    #[case::line_break(json!({"a": "x\n[\"b\"] ConfigMap 1"}), json!({"a": "x", "b": 1}))]
    fn different_documents_have_different_fingerprints(#[case] one: Value, #[case] other: Value) {
        assert_ne!(merged(&[one]).canonical(), merged(&[other]).canonical());
    }

    #[test]
    fn the_origin_is_part_of_the_fingerprint() {
        let mut secret = Tree::default();
        secret.merge(json!({"a": 1}).as_object().unwrap().clone(), SECRET);
        assert_ne!(secret.canonical(), merged(&[json!({"a": 1})]).canonical());
    }
}
