//! The paths that a source file names, resolved as far as the file alone tells.

use std::collections::HashMap;

use super::tokens::Token;

/// A path in the code.
pub(super) struct PathRef {
    pub(super) segments: Vec<String>,
    pub(super) line: usize,
    /// Stands in a `use` declaration, where a single segment already names a crate.
    pub(super) imported: bool,
}

/// All paths in the tokens of the file at `path`.
pub(super) fn collect(path: &str, tokens: &[Token]) -> Vec<PathRef> {
    let mut paths = Paths {
        tokens,
        at: 0,
        module: module_of(path),
        names: HashMap::new(),
        found: Vec::new(),
    };
    // Imports first: a name may be used above the line that imports it.
    paths.each(Paths::read_use);
    paths.each(Paths::read_path);
    paths.found
}

struct Paths<'t> {
    tokens: &'t [Token],
    at: usize,
    module: Vec<String>,
    /// What the names that `use` brings into scope stand for.
    names: HashMap<String, Vec<String>>,
    found: Vec<PathRef>,
}

impl<'t> Paths<'t> {
    fn each(&mut self, mut read: impl FnMut(&mut Self)) {
        self.at = 0;
        while self.at < self.tokens.len() {
            read(self);
            self.at += 1;
        }
    }

    fn text(&self, ahead: usize) -> &'t str {
        self.tokens
            .get(self.at + ahead)
            .map_or("", |token| &token.text)
    }

    /// At a `use` declaration: all paths of its tree. `use<'a>` is a bound, not an import.
    fn read_use(&mut self) {
        if self.text(0) == "use" && self.text(1) != "<" {
            self.at += 1;
            self.read_tree(&[]);
        } else if self.text(0) == "extern" && self.text(1) == "crate" {
            self.at += 2;
            self.read_tree(&[]);
        }
    }

    fn read_tree(&mut self, prefix: &[String]) {
        let line = self.tokens.get(self.at).map_or(0, |token| token.line);
        let mut segments = prefix.to_vec();
        loop {
            match self.text(0) {
                "{" => {
                    self.at += 1;
                    while !matches!(self.text(0), "}" | "") {
                        self.read_tree(&segments);
                        self.at += usize::from(self.text(0) == ",");
                    }
                    self.at += 1;
                    return;
                }
                "::" => self.at += 1,
                ";" | "," | "}" | "as" | "" => break,
                // `a::{self}` is `a`.
                "self" if !segments.is_empty() => self.at += 1,
                segment => {
                    segments.push(segment.to_owned());
                    self.at += 1;
                }
            }
        }
        let mut name = segments.last().cloned().unwrap_or_default();
        if self.text(0) == "as" {
            name = self.text(1).to_owned();
            self.at += 2;
        }
        if segments.is_empty() {
            return;
        }
        let segments = self.resolve(segments);
        self.names.insert(name, segments.clone());
        self.found.push(PathRef {
            segments,
            line,
            imported: true,
        });
    }

    /// At an identifier: the path that starts here, with its first name replaced by what it
    /// stands for.
    fn read_path(&mut self) {
        if self.text(0) == "use" && self.text(1) != "<" {
            while !matches!(self.text(0), ";" | "") {
                self.at += 1;
            }
            return;
        }
        let token = &self.tokens[self.at];
        if !token.is_identifier() {
            return;
        }
        let mut segments = vec![token.text.clone()];
        while self.text(1) == "::"
            && self
                .tokens
                .get(self.at + 2)
                .is_some_and(Token::is_identifier)
        {
            segments.push(self.text(2).to_owned());
            self.at += 2;
        }
        let segments = self.resolve(segments);
        self.found.push(PathRef {
            segments,
            line: token.line,
            imported: false,
        });
    }

    fn resolve(&self, segments: Vec<String>) -> Vec<String> {
        let mut module = self.module.clone();
        let mut rest = &segments[..];
        while let [first, tail @ ..] = rest {
            match first.as_str() {
                "self" => {}
                "super" => {
                    module.pop();
                }
                _ => break,
            }
            rest = tail;
        }
        if rest.len() < segments.len() {
            module.extend_from_slice(rest);
            return module;
        }
        match self.names.get(&segments[0]) {
            Some(full) => [full, &segments[1..]].concat(),
            None => segments,
        }
    }
}

/// `engine/src/core/slab.rs` is `crate::core::slab`.
fn module_of(path: &str) -> Vec<String> {
    let inside = path.split_once("/src/").map_or("", |(_, inside)| inside);
    let inside = inside.strip_suffix(".rs").unwrap_or(inside);
    let parts = inside
        .split('/')
        .filter(|part| !matches!(*part, "mod" | "lib" | "main" | ""));
    ["crate"]
        .into_iter()
        .chain(parts)
        .map(str::to_owned)
        .collect()
}
