//! Paths by their levels: the filters that match a name, and the names that match a filter.
//!
//! A node stands for one level or for several of which none but the last ends a path or has two to follow
//! it: so there are at most two nodes for each path, however many levels it has. Nothing recurses, since peers
//! choose how deep paths go.

use std::hash::BuildHasher;
use std::iter;
use std::mem;

use crate::filter::{ONE, REST, level_matches, split_filter, split_level, strip_common};
use crate::index::Index;
use crate::pages::bytes;
use crate::pool::Pool;

const ROOT: u32 = 0;

/// No node, or no value.
const NONE: u32 = 0;

/// Where in the filter the next level stands, when everything from here on matches.
const WHOLE: usize = usize::MAX;

/// A walk that had to note more than this gives the memory back.
const KEEP_STACK: usize = 1024;

/// Numbers other than zero, by path.
#[derive(Debug, Default)]
pub(crate) struct Trie {
    root: Node,
    nodes: Pool<Node>,
    /// Nodes other than the root, by their parent and first level.
    children: Index,
    /// Kept between walks: what is still to be visited.
    stack: Vec<(u32, usize)>,
}

#[derive(Debug, Default)]
struct Node {
    /// The levels between the parent and here. The root has none.
    label: Box<str>,
    parent: u32,
    /// Children are a list in both directions.
    first_child: u32,
    next: u32,
    previous: u32,
    /// The path that ends here.
    value: u32,
    /// The path that ends here and then has a last level `#`.
    rest: u32,
}

/// Changes.
impl Trie {
    /// Sets the value of a filter that has none.
    pub(crate) fn insert_filter(&mut self, hasher: &impl BuildHasher, filter: &str, value: u32) {
        let (path, rest) = split_filter(filter);
        let node = self.reach(hasher, path);
        let node = self.node_mut(node);
        *(if rest {
            &mut node.rest
        } else {
            &mut node.value
        }) = value;
    }

    /// Sets the value of a name that has none.
    pub(crate) fn insert_name(&mut self, hasher: &impl BuildHasher, name: &str, value: u32) {
        let node = self.reach(hasher, Some(name));
        self.node_mut(node).value = value;
    }

    /// Removes a filter that is there.
    pub(crate) fn remove_filter(&mut self, hasher: &impl BuildHasher, filter: &str) {
        let (path, rest) = split_filter(filter);
        let id = self.find(hasher, path);
        let node = self.node_mut(id);
        *(if rest {
            &mut node.rest
        } else {
            &mut node.value
        }) = NONE;
        self.tidy(hasher, id);
    }

    /// Removes a name that is there.
    pub(crate) fn remove_name(&mut self, hasher: &impl BuildHasher, name: &str) {
        let id = self.find(hasher, Some(name));
        self.node_mut(id).value = NONE;
        self.tidy(hasher, id);
    }

    /// The node at which a path ends, made if need be.
    fn reach(&mut self, hasher: &impl BuildHasher, path: Option<&str>) -> u32 {
        let (mut at, mut ahead) = (ROOT, path);
        while let Some(path) = ahead {
            let Some(child) = self.child(hasher, at, split_level(path).0) else {
                return self.add(hasher, at, path);
            };
            let label = &self.node(child).label;
            let (label_rest, path_rest) = strip_common(label, path, |a, b| a == b);
            at = match label_rest.map(str::len) {
                Some(below) => self.split(hasher, child, below),
                None => child,
            };
            ahead = path_rest;
        }
        at
    }

    /// The node at which a path ends that was inserted.
    fn find(&self, hasher: &impl BuildHasher, path: Option<&str>) -> u32 {
        let (mut at, mut ahead) = (ROOT, path);
        while let Some(path) = ahead {
            at = self
                .child(hasher, at, split_level(path).0)
                .expect("it was inserted");
            let label = &self.node(at).label;
            ahead = strip_common(label, path, |a, b| a == b).1;
        }
        at
    }

    fn add(&mut self, hasher: &impl BuildHasher, parent: u32, label: &str) -> u32 {
        let next = self.node(parent).first_child;
        let id = self.nodes.insert(Node {
            label: label.into(),
            parent,
            next,
            ..Node::default()
        });
        let id = id.get();
        self.node_mut(parent).first_child = id;
        if next != NONE {
            self.nodes[next].previous = id;
        }
        let hash = key(hasher, parent, label);
        self.children.insert(hash, id);
        id
    }

    /// Cuts a label, of which the last `below` bytes stay with the node: the new node above it.
    fn split(&mut self, hasher: &impl BuildHasher, node: u32, below: usize) -> u32 {
        let label = mem::take(&mut self.nodes[node].label);
        let (above, below) = label.split_at(label.len() - below);
        let above = &above[..above.len() - 1];
        let upper = self.nodes.insert(Node {
            label: above.into(),
            ..Node::default()
        });
        let upper = upper.get();
        self.take_place(hasher, node, upper);
        let lower = &mut self.nodes[node];
        (lower.label, lower.parent) = (below.into(), upper);
        (lower.next, lower.previous) = (NONE, NONE);
        self.nodes[upper].first_child = node;
        let hash = key(hasher, upper, below);
        self.children.insert(hash, node);
        upper
    }

    /// Gives a node's place below its parent to another one whose label begins alike.
    fn take_place(&mut self, hasher: &impl BuildHasher, old: u32, new: u32) {
        let Node {
            parent,
            next,
            previous,
            ..
        } = self.nodes[old];
        let hash = key(hasher, parent, &self.nodes[new].label);
        self.children.replace(hash, old, new);
        let node = &mut self.nodes[new];
        (node.parent, node.next, node.previous) = (parent, next, previous);
        self.link_siblings(parent, previous, new, new, next);
    }

    /// Has the neighbours of a place, or the parent, name who lies there.
    fn link_siblings(&mut self, parent: u32, previous: u32, first: u32, last: u32, next: u32) {
        match previous {
            NONE => self.node_mut(parent).first_child = first,
            _ => self.nodes[previous].next = first,
        }
        if next != NONE {
            self.nodes[next].previous = last;
        }
    }

    /// Removes a node that stands for nothing any more, and joins what need not be apart.
    fn tidy(&mut self, hasher: &impl BuildHasher, id: u32) {
        let node = self.node(id);
        if id == ROOT || node.value != NONE || node.rest != NONE {
            return;
        }
        let (parent, child) = (node.parent, node.first_child);
        if child == NONE {
            self.remove_leaf(hasher, id);
            let above = self.node(parent);
            let only = above.first_child;
            let apart = above.value != NONE || above.rest != NONE;
            if parent != ROOT && !apart && self.nodes[only].next == NONE {
                self.join(hasher, parent, only);
            }
        } else if self.nodes[child].next == NONE {
            self.join(hasher, id, child);
        }
    }

    fn remove_leaf(&mut self, hasher: &impl BuildHasher, id: u32) {
        let node = self.nodes.remove(id);
        let hash = key(hasher, node.parent, &node.label);
        self.children.remove(hash, id);
        self.link_siblings(
            node.parent,
            node.previous,
            node.next,
            node.previous,
            node.next,
        );
    }

    /// Makes a node and its only child one.
    fn join(&mut self, hasher: &impl BuildHasher, node: u32, child: u32) {
        let below = &self.nodes[child].label;
        let hash = key(hasher, node, below);
        let label = format!("{}/{below}", self.nodes[node].label);
        self.children.remove(hash, child);
        self.nodes[child].label = label.into();
        self.take_place(hasher, node, child);
        self.nodes.remove(node);
    }
}

/// Walks.
impl Trie {
    pub(crate) fn is_empty(&self) -> bool {
        self.root.first_child == NONE && self.root.rest == NONE
    }

    /// The values of all filters that match a name. Visits the nodes whose levels the name begins with.
    pub(crate) fn filters_matching(
        &mut self,
        hasher: &impl BuildHasher,
        name: &str,
        mut found: impl FnMut(u32),
    ) {
        report(self.root.rest, &mut found);
        let mut stack = mem::take(&mut self.stack);
        self.push_fitting(hasher, ROOT, name, 0, &mut stack);
        while let Some((id, offset)) = stack.pop() {
            let node = &self.nodes[id];
            let (None, name_rest) = strip_common(&node.label, &name[offset..], level_matches)
            else {
                continue;
            };
            report(node.rest, &mut found);
            match name_rest {
                Some(rest) => {
                    self.push_fitting(hasher, id, rest, name.len() - rest.len(), &mut stack);
                }
                None => report(node.value, &mut found),
            }
        }
        self.keep(stack);
    }

    /// Notes the children of a filter's node that the next level of a name fits, to be visited at `offset`.
    fn push_fitting(
        &self,
        hasher: &impl BuildHasher,
        parent: u32,
        name: &str,
        offset: usize,
        stack: &mut Vec<(u32, usize)>,
    ) {
        if self.node(parent).first_child == NONE {
            return;
        }
        let (level, _) = split_level(name);
        let literal = (level != ONE).then(|| self.child(hasher, parent, level));
        let fitting = [literal.flatten(), self.child(hasher, parent, ONE)];
        stack.extend(fitting.into_iter().flatten().map(|id| (id, offset)));
    }

    /// The values of all names that match a filter. Visits the nodes whose levels the filter begins with.
    pub(crate) fn names_matching(
        &mut self,
        hasher: &impl BuildHasher,
        filter: &str,
        mut found: impl FnMut(u32),
    ) {
        let (path, and_rest) = split_filter(filter);
        let path = path.unwrap_or_default();
        let mut stack = mem::take(&mut self.stack);
        if filter == REST {
            self.push_children(ROOT, &mut stack);
        } else {
            self.push_next(hasher, ROOT, path, 0, &mut stack);
        }
        while let Some((id, offset)) = stack.pop() {
            let node = &self.nodes[id];
            let ahead = path.get(offset..).map(|path| {
                let name_fits = |name: &str, filter: &str| level_matches(filter, name);
                strip_common(&node.label, path, name_fits)
            });
            match ahead {
                Some((None, Some(rest))) => {
                    self.push_next(hasher, id, rest, path.len() - rest.len(), &mut stack);
                }
                Some((_, None)) if and_rest => stack.push((id, WHOLE)),
                Some((None, None)) => report(node.value, &mut found),
                Some(_) => {}
                None => {
                    report(node.value, &mut found);
                    self.push_children(id, &mut stack);
                }
            }
        }
        self.keep(stack);
    }

    /// Notes the children of a name's node that the next level of a filter fits, to be visited at `offset`.
    fn push_next(
        &self,
        hasher: &impl BuildHasher,
        parent: u32,
        filter: &str,
        offset: usize,
        stack: &mut Vec<(u32, usize)>,
    ) {
        match split_level(filter).0 {
            ONE => stack.extend(self.children_of(parent).map(|id| (id, offset))),
            level => stack.extend(self.child(hasher, parent, level).map(|id| (id, offset))),
        }
    }

    /// Notes that all below a name's node matches.
    fn push_children(&self, parent: u32, stack: &mut Vec<(u32, usize)>) {
        stack.extend(self.children_of(parent).map(|id| (id, WHOLE)));
    }

    fn children_of(&self, parent: u32) -> impl Iterator<Item = u32> {
        let existing = |id: u32| (id != NONE).then_some(id);
        let first = existing(self.node(parent).first_child);
        iter::successors(first, move |&id| existing(self.nodes[id].next))
    }

    fn child(&self, hasher: &impl BuildHasher, parent: u32, level: &str) -> Option<u32> {
        let hash = hasher.hash_one((parent, level));
        self.children.find(hash, |id| {
            let node = &self.nodes[id];
            node.parent == parent && split_level(&node.label).0 == level
        })
    }

    fn node(&self, id: u32) -> &Node {
        match id {
            ROOT => &self.root,
            _ => &self.nodes[id],
        }
    }

    fn node_mut(&mut self, id: u32) -> &mut Node {
        match id {
            ROOT => &mut self.root,
            _ => &mut self.nodes[id],
        }
    }

    fn keep(&mut self, stack: Vec<(u32, usize)>) {
        if stack.capacity() <= KEEP_STACK {
            self.stack = stack;
        }
    }

    /// Bytes of heap memory.
    pub(crate) fn memory(&self) -> usize {
        let labels = self.nodes.iter().map(|node| node.label.len());
        let nodes = self.nodes.memory() + self.children.memory();
        nodes + labels.sum::<usize>() + bytes(&self.stack)
    }

    /// How many nodes there are beside the root.
    #[cfg(test)]
    pub(crate) fn nodes(&self) -> usize {
        self.nodes.iter().count()
    }
}

/// The hash by which a child is found.
fn key(hasher: &impl BuildHasher, parent: u32, label: &str) -> u64 {
    hasher.hash_one((parent, split_level(label).0))
}

fn report(value: u32, found: &mut impl FnMut(u32)) {
    if value != NONE {
        found(value);
    }
}
