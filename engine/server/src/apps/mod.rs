//! The built-in applications.

mod chat;
mod echo;
mod topics;

use corecast::Server;

use crate::options::App;

/// Gives the server its applications: one at every path, or all, each at its own.
pub(crate) fn serve(server: Server, only: Option<App>) -> Server {
    match only {
        Some(app) => route(server, app, "*"),
        None => [
            (App::Echo, "/echo"),
            (App::Topics, "/topics"),
            (App::Chat, "/chat"),
        ]
        .into_iter()
        .fold(server, |server, (app, path)| route(server, app, path)),
    }
}

fn route(server: Server, app: App, pattern: &str) -> Server {
    match app {
        App::Echo => server.route(pattern, |_| echo::Echo),
        App::Topics => server.route(pattern, |_| topics::Topics),
        App::Chat => {
            let rooms = chat::Rooms::default();
            server.route(pattern, move |core| chat::Chat::new(core, rooms.clone()))
        }
    }
}
