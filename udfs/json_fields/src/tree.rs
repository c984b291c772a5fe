//! All paths as one tree, and the walk of a text along it: serde_json reads, and asks at every key and element whether
//! some path goes on there. If none does, the value is checked and skipped, however deep it is, without recursion.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::path::Step;

/// What is at the end of a path.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Found<'a> {
    /// Nothing, or `null`.
    Nothing,
    String(Cow<'a, str>),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Boolean(bool),
    Array,
    Object,
    /// Any value but `null`, as text.
    Json(&'a str),
}

pub(crate) struct Tree {
    nodes: Vec<Node>,
}

#[derive(Default)]
struct Node {
    children: Vec<(Step, usize)>,
    /// Fields whose path ends here.
    fields: Vec<usize>,
    /// Of these, the ones that want text.
    json_fields: Vec<usize>,
    /// Fields whose path ends here or below.
    all_fields: Vec<usize>,
}

/// The one or two nodes that a key or an index leads to: `/0` and `$['0']` may both be asked for.
type Matches = [Option<usize>; 2];

impl Tree {
    /// A tree of the fields 0, 1, ...: their paths, and whether they want a value's text.
    pub(crate) fn new<'p>(fields: impl IntoIterator<Item = (&'p [Step], bool)>) -> Tree {
        let mut tree = Tree { nodes: vec![Node::default()] };
        for (field, (path, wants_text)) in fields.into_iter().enumerate() {
            let mut node = 0;
            tree.nodes[node].all_fields.push(field);
            for step in path {
                node = tree.child(node, step);
                tree.nodes[node].all_fields.push(field);
            }
            let Node { fields, json_fields, .. } = &mut tree.nodes[node];
            if wants_text { json_fields.push(field) } else { fields.push(field) }
        }
        tree
    }

    fn child(&mut self, node: usize, step: &Step) -> usize {
        if let Some((_, child)) = self.nodes[node].children.iter().find(|(known, _)| known == step) {
            return *child;
        }
        let child = self.nodes.len();
        self.nodes.push(Node::default());
        self.nodes[node].children.push((step.clone(), child));
        child
    }

    /// Reads all of a text. `found`, all `Nothing` before, holds one for each field after.
    pub(crate) fn walk<'a>(&self, text: &'a str, found: &mut [Found<'a>]) -> Result<(), serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_str(text);
        Seed { tree: self, found, nodes: [Some(0), None] }.deserialize(&mut reader)?;
        reader.end()
    }

    fn matches(&self, node: usize, is_match: impl Fn(&Step) -> bool) -> Matches {
        let mut children = self.nodes[node].children.iter().filter(|(step, _)| is_match(step)).map(|(_, child)| *child);
        [children.next(), children.next()]
    }
}

/// Reads one value, for the nodes that it belongs to.
struct Seed<'w, 'a> {
    tree: &'w Tree,
    found: &'w mut [Found<'a>],
    nodes: Matches,
}

impl<'a> DeserializeSeed<'a> for Seed<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        let Seed { tree, found, nodes } = self;
        match nodes {
            [None, _] => IgnoredAny::deserialize(deserializer).map(drop),
            [Some(node), None] if tree.nodes[node].json_fields.is_empty() => {
                deserializer.deserialize_any(At::new(tree, found, node))
            }
            nodes => {
                let text = <&RawValue>::deserialize(deserializer)?.get();
                let at = |node| again(text, At::new(tree, found, node));
                nodes.into_iter().flatten().try_for_each(at).map_err(D::Error::custom)
            }
        }
    }
}

/// Reads a value that was read as text. Once for each path that wants text and is the beginning of another.
fn again<'a>(text: &'a str, mut at: At<'_, 'a>) -> Result<(), serde_json::Error> {
    at.put_text(text);
    if at.is_done() {
        return Ok(());
    }
    serde_json::Deserializer::from_str(text).deserialize_any(at)
}

/// A value at a node.
struct At<'w, 'a> {
    tree: &'w Tree,
    found: &'w mut [Found<'a>],
    node: usize,
}

impl<'w, 'a> At<'w, 'a> {
    // Of a key that is there twice the last one counts, for all that is below it.
    fn new(tree: &'w Tree, found: &'w mut [Found<'a>], node: usize) -> Self {
        tree.nodes[node].all_fields.iter().for_each(|field| found[*field] = Found::Nothing);
        At { tree, found, node }
    }

    fn put_text(&mut self, text: &'a str) {
        if text != "null" {
            let fields = &self.tree.nodes[self.node].json_fields;
            fields.iter().for_each(|field| self.found[*field] = Found::Json(text));
        }
    }

    fn is_done(&self) -> bool {
        let node = &self.tree.nodes[self.node];
        node.fields.is_empty() && node.children.is_empty()
    }

    fn put(&mut self, value: Found<'a>) {
        let fields = &self.tree.nodes[self.node].fields;
        fields.iter().for_each(|field| self.found[*field] = value.clone());
    }

    fn seed(&mut self, nodes: Matches) -> Seed<'_, 'a> {
        Seed { tree: self.tree, found: self.found, nodes }
    }
}

impl<'a> Visitor<'a> for At<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(mut self, value: bool) -> Result<(), E> {
        self.put(Found::Boolean(value));
        Ok(())
    }

    fn visit_i64<E>(mut self, value: i64) -> Result<(), E> {
        self.put(Found::Signed(value));
        Ok(())
    }

    fn visit_u64<E>(mut self, value: u64) -> Result<(), E> {
        self.put(Found::Unsigned(value));
        Ok(())
    }

    fn visit_f64<E>(mut self, value: f64) -> Result<(), E> {
        self.put(Found::Float(value));
        Ok(())
    }

    fn visit_borrowed_str<E>(mut self, value: &'a str) -> Result<(), E> {
        self.put(Found::String(Cow::Borrowed(value)));
        Ok(())
    }

    fn visit_str<E>(mut self, value: &str) -> Result<(), E> {
        if !self.tree.nodes[self.node].fields.is_empty() {
            self.put(Found::String(Cow::Owned(value.to_owned())));
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(mut self, mut elements: A) -> Result<(), A::Error> {
        self.put(Found::Array);
        let mut index = 0;
        loop {
            let is_match = |step: &Step| matches!(step, Step::Index(at) | Step::Either(_, at) if *at == index);
            let nodes = self.tree.matches(self.node, is_match);
            if elements.next_element_seed(self.seed(nodes))?.is_none() {
                return Ok(());
            }
            index += 1;
        }
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut entries: A) -> Result<(), A::Error> {
        self.put(Found::Object);
        while let Some(nodes) = entries.next_key_seed(Key { tree: self.tree, node: self.node })? {
            entries.next_value_seed(self.seed(nodes))?;
        }
        Ok(())
    }
}

/// Reads a key, and tells where it leads. Nothing is copied.
struct Key<'w> {
    tree: &'w Tree,
    node: usize,
}

impl<'a> DeserializeSeed<'a> for Key<'_> {
    type Value = Matches;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Matches, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Matches;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Matches, E> {
        Ok(self
            .tree
            .matches(self.node, |step| matches!(step, Step::Key(known) | Step::Either(known, _) if known == key)))
    }
}
