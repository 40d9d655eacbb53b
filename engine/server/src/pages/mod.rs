//! The pages for browsers: the rooms, which show the `topics` application at work, and a console to try every
//! application by hand.
//!
//! A page is one document, joined from the files beside this one. So it takes one request and one connection of an address,
//! and names nothing that would have to be fetched. Its policy (Content Security Policy level 3) allows the styles and the script that
//! the document contains, by their hashes, and connections to where it came from; nothing else.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::ValueEnum;
use corecast::Server;
use sha2::{Digest, Sha256};

use crate::options::App;

const HTML: &str = "text/html; charset=utf-8";

/// Gives the server its pages. On `/` is the one that works with what the server serves.
pub(crate) fn serve(server: Server, only: Option<App>) -> Server {
    let apps = only.map_or(App::value_variants().to_vec(), |app| vec![app]);
    let server = server.page("/console", HTML, CONSOLE.document(&apps));
    let first = if apps.contains(&App::Topics) {
        ROOMS
    } else {
        CONSOLE
    };
    server.page("/", HTML, first.document(&apps))
}

/// The sources of a page. Styles and scripts follow one another as one text, so later ones may use names of earlier ones.
struct Page {
    html: &'static str,
    styles: &'static [&'static str],
    scripts: &'static [&'static str],
}

const ROOMS: Page = Page {
    html: include_str!("rooms/rooms.html"),
    styles: &[include_str!("look.css"), include_str!("rooms/rooms.css")],
    scripts: &[
        include_str!("backoff.js"),
        include_str!("rooms/messages.js"),
        include_str!("rooms/history.js"),
        include_str!("rooms/chart.js"),
        include_str!("rooms/people.js"),
        include_str!("rooms/room.js"),
        include_str!("rooms/load.js"),
        include_str!("rooms/view.js"),
        include_str!("rooms/main.js"),
    ],
};

const CONSOLE: Page = Page {
    html: include_str!("console/console.html"),
    styles: &[
        include_str!("look.css"),
        include_str!("console/console.css"),
    ],
    scripts: &[
        include_str!("backoff.js"),
        include_str!("console/console.js"),
    ],
};

impl Page {
    /// The document, for a server of these applications.
    fn document(&self, apps: &[App]) -> String {
        let style = self.styles.concat();
        let script = self.scripts.concat();
        let policy = [
            "default-src 'none'".to_owned(),
            format!("style-src '{}'", hash_source(&style)),
            format!("script-src '{}'", hash_source(&script)),
            "img-src data:".to_owned(),
            "connect-src 'self'".to_owned(),
            "base-uri 'none'".to_owned(),
            "form-action 'none'".to_owned(),
        ];
        let names: Vec<_> = apps.iter().map(|app| app.name()).collect();
        // The long texts last: nothing is looked for in them.
        self.html
            .replacen("{{policy}}", &policy.join("; "), 1)
            .replacen("{{apps}}", &names.join(" "), 1)
            .replacen("{{style}}", &style, 1)
            .replacen("{{script}}", &script, 1)
    }
}

/// How a policy names an inline text (CSP level 3, §2.3.1).
fn hash_source(text: &str) -> String {
    format!(
        "sha256-{}",
        BASE64_STANDARD.encode(Sha256::digest(text.as_bytes()))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGES: [Page; 2] = [ROOMS, CONSOLE];

    #[test]
    fn the_hash_is_what_browsers_compute() {
        // The example of CSP level 3, §8.3.
        assert_eq!(
            hash_source("alert('Hello, world.');"),
            "sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng="
        );
    }

    #[test]
    fn the_policy_names_what_stands_between_the_tags() {
        for page in PAGES {
            let document = page.document(App::value_variants());
            for tag in ["style", "script"] {
                let (_, rest) = document.split_once(&format!("<{tag}")).unwrap();
                let (_, text) = rest.split_once('>').unwrap();
                let (text, rest) = text.split_once(&format!("</{tag}>")).unwrap();
                let source = format!("{tag}-src '{}'", hash_source(text));
                assert!(document.contains(&source), "{source}");
                assert!(!rest.contains(&format!("<{tag}")), "one {tag} only");
            }
        }
    }

    #[test]
    fn nothing_is_left_to_fill_in_and_nothing_is_fetched() {
        for page in PAGES {
            let document = page.document(&[App::Topics]);
            assert!(document.contains("data-apps=\"topics\""));
            for absent in ["{{", "src=", "@import", "url(", "style=\"", " onclick="] {
                assert!(!document.contains(absent), "{absent}");
            }
        }
    }
}
