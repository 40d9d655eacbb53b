//! The opening handshake, and plain HTTP beside it.

use std::io::Write;
use std::time::Duration;

use corecast::{Accept, Conn, Handler, Io, Message, Reject, Request, Server};

use crate::common::client::{
    Client, KEY, Response, http, read_response, request, request_with, tcp,
};
use crate::common::{Echo, Running, eventually, over_every_transport, start};

over_every_transport![
    refusals_have_their_status,
    refusals_of_head_have_no_body,
    a_head_may_come_byte_by_byte,
    a_head_over_the_limit_gets_431,
    pages_are_served,
    routes_match_in_order,
    the_connection_limit_gives_503_until_a_place_is_free,
    far_past_the_connection_limit_it_recovers,
    subprotocol_and_headers_are_sent,
    impossible_headers_give_500,
    the_applications_refusal_is_sent,
    only_allowed_origins_connect,
    origins_can_be_required_and_null_allowed,
    a_handler_sees_the_request,
    upgrades_without_upgrade_code_need_no_data,
];

fn echo(io: Io) -> Running {
    start(io, |server| server.route("/echo", |_| Echo))
}

/// A request without the lines of the upgrade.
fn plain(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

fn refusals_have_their_status(io: Io) {
    let server = echo(io);
    let upgrade = request("/echo");
    let cases = [
        (404, plain("GET", "/nowhere")),
        (404, request("/nowhere")),
        (426, plain("GET", "/echo")),
        (405, plain("POST", "/echo")),
        (405, plain("DELETE", "/")),
        (400, upgrade.replace("Host: localhost\r\n", "")),
        (400, upgrade.replace("Host: ", "Host: localhost\r\nHost: ")),
        (400, upgrade.replace(KEY, "too short")),
        (400, upgrade.replace("Sec-WebSocket-Key", "X-Key")),
        (
            400,
            upgrade.replace("Connection: Upgrade", "Connection: close"),
        ),
        (426, upgrade.replace("Version: 13", "Version: 8")),
        (426, upgrade.replace("Upgrade: websocket", "Upgrade: h2c")),
        (505, upgrade.replace("HTTP/1.1", "HTTP/3.0")),
        (400, "this is no request\r\n\r\n".to_owned()),
        (400, upgrade.replace("\r\n", "\n")),
    ];
    for (status, request) in cases {
        let response = http(server.address(), &request);
        assert_eq!(response.status, status, "{request}\n{response:?}");
        assert_eq!(
            response.header("Content-Length"),
            Some(&*response.body.len().to_string()),
            "{response:?}"
        );
        let connection = response.header("Connection").expect("a Connection header");
        assert!(connection.starts_with("close"), "{connection}");
    }
    let response = http(server.address(), &plain("GET", "/echo"));
    assert_eq!(response.header("Upgrade"), Some("websocket"));
    assert_eq!(response.header("Sec-WebSocket-Version"), Some("13"));
    let response = http(server.address(), &plain("POST", "/echo"));
    assert_eq!(response.header("Allow"), Some("GET, HEAD"));
    eventually("all are gone", || server.stats().connections == 0);
    assert_eq!(server.stats().opened, 0);
}

/// RFC 9110 §9.3.2: the same head, and nothing behind it.
fn refusals_of_head_have_no_body(io: Io) {
    let server = echo(io);
    let long = format!("GET /echo HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(9 << 10));
    for (status, request) in [
        (404, plain("GET", "/nowhere")),
        (426, plain("GET", "/echo")),
        (400, "GET / HTTP/1.1\r\n\r\n".to_owned()),
        (
            400,
            "GET / HTTP/1.1\r\nHost: a\r\nBad Header: x\r\n\r\n".to_owned(),
        ),
        (
            400,
            "\r\nGET nowhere HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        ),
        (431, long),
        (505, "GET / HTTP/2.0\r\n\r\n".to_owned()),
    ] {
        let get = http(server.address(), &request);
        let head = http(server.address(), &request.replace("GET", "HEAD"));
        assert_eq!((get.status, head.status), (status, status), "{request}");
        assert_eq!(head.head, get.head);
        assert!(!get.body.is_empty(), "{request}");
        assert_eq!(head.body, "", "{request}");
    }
    let full = start(io, |server| server.max_connections(1).route("*", |_| Echo));
    let _inside = Client::connect(full.address());
    let response = http(full.address(), &plain("HEAD", "/"));
    assert_eq!((response.status, &*response.body), (503, ""));
    let slow = start(io, |server| {
        let time = Duration::from_millis(100);
        server.handshake_timeout(time).route("*", |_| Echo)
    });
    let mut stream = tcp(slow.address());
    stream.write_all(b"HEAD / HTTP/1.1\r\nHost: a").unwrap();
    let response = read_response(stream);
    assert_eq!((response.status, &*response.body), (408, ""));
}

/// Also when it looks as if it were whole, again and again.
fn a_head_may_come_byte_by_byte(io: Io) {
    let server = echo(io);
    for request in [
        request("/echo"),
        format!("\r\n\r\n{}", request_with("/echo", "X: y\r\nX: y\r\n")),
    ] {
        let mut stream = tcp(server.address());
        for byte in request.as_bytes() {
            stream.write_all(&[*byte]).unwrap();
        }
        let mut client = Client::opened(stream);
        client.round_trip("whole");
        client.close(1000);
    }
    let mut stream = tcp(server.address());
    for byte in b"GET /echo HTTP/1.1\r\nNo header\r\n\r\n" {
        stream.write_all(&[*byte]).unwrap();
    }
    assert_eq!(read_response(stream).status, 400);
}

fn a_head_over_the_limit_gets_431(io: Io) {
    let server = echo(io);
    let filler = |bytes| format!("X-Filler: {}\r\n", "x".repeat(bytes));
    // Just below 8 KiB is fine.
    let client = Client::upgrade(
        tcp(server.address()),
        &request_with("/echo", &filler(7 << 10)),
    );
    client.close(1000);
    let many: String = (0..100).map(|n| format!("X-{n}: x\r\n")).collect();
    for headers in [filler(8 << 10), filler(100 << 10), many] {
        let response = http(server.address(), &request_with("/echo", &headers));
        assert_eq!(response.status, 431);
    }
    // Without an end in sight.
    let mut stream = tcp(server.address());
    let endless = format!("GET /echo HTTP/1.1\r\nX-Filler: {}", "x".repeat(8 << 10));
    stream.write_all(endless.as_bytes()).unwrap();
    assert_eq!(read_response(stream).status, 431);
}

fn pages_are_served(io: Io) {
    let body = "<!doctype html><title>größer</title>".to_owned();
    let large = "0123456789".repeat(300_000);
    let (small, huge) = (body.clone(), large.clone());
    let server = start(io, move |server| {
        server
            .page("/", "text/html; charset=utf-8", small)
            .page("/large", "text/plain", huge)
            .page("/broken", "text/html\r\nX-Injected: yes", "body")
            .route("/", |_| Echo)
    });
    let page = http(server.address(), &plain("GET", "/"));
    assert_eq!((page.status, &page.body), (200, &body));
    assert_eq!(
        page.header("Content-Type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(
        page.header("Content-Length"),
        Some(&*body.len().to_string())
    );
    let page = http(server.address(), &plain("GET", "/?query=1"));
    assert_eq!((page.status, page.body), (200, body.clone()));
    let page = http(server.address(), &plain("GET", "/large"));
    assert_eq!(page.status, 200);
    assert!(page.body == large, "{} bytes", page.body.len());

    let head = http(server.address(), &plain("HEAD", "/"));
    assert_eq!((head.status, &*head.body), (200, ""));
    assert_eq!(
        head.header("Content-Length"),
        Some(&*body.len().to_string())
    );
    // RFC 9110 §9.3.2: no body, whatever the status.
    let head = http(server.address(), &plain("HEAD", "/nowhere"));
    assert_eq!((head.status, &*head.body), (404, ""));

    let broken = http(server.address(), &plain("GET", "/broken"));
    assert_eq!((broken.status, broken.header("X-Injected")), (500, None));
    // The same path upgrades.
    Client::connect(server.address()).close(1000);
}

/// Says who it is.
struct Named(&'static str);

impl Handler for Named {
    type Data = ();

    fn open(&mut self, ws: &mut Conn<'_, ()>) {
        ws.send_text(self.0);
    }

    fn message(&mut self, _ws: &mut Conn<'_, ()>, _message: Message<'_>) {}
}

fn routes_match_in_order(io: Io) {
    let server = start(io, |server| {
        server
            .route("/chat", |_| Named("exact"))
            .route("/chat/*", |_| Named("below"))
            .route("/c*", |_| Named("prefix"))
    });
    for (path, name) in [
        ("/chat", "exact"),
        ("/chat?x=/chat/y", "exact"),
        ("/chat/room", "below"),
        ("/chatter", "prefix"),
    ] {
        let mut client = Client::connect_to(server.address(), path);
        client.expect_text(name);
        client.close(1000);
    }
    assert_eq!(http(server.address(), &request("/")).status, 404);
}

fn the_connection_limit_gives_503_until_a_place_is_free(io: Io) {
    let server = start(io, |server| server.max_connections(2).route("*", |_| Echo));
    let mut first = Client::connect(server.address());
    let mut second = Client::connect(server.address());
    for refused in 1..=3 {
        assert_eq!(http(server.address(), &request("/")).status, 503);
        assert_eq!(server.stats().refused, refused);
    }
    first.round_trip("still in");
    second.round_trip("me too");
    first.close(1000);
    eventually("a place is free", || server.stats().connections == 1);
    let mut third = Client::connect(server.address());
    third.round_trip("now me");
    assert_eq!(http(server.address(), &request("/")).status, 503);
    assert_eq!(server.stats().accepted, 3);
}

/// More than are answered: the rest is closed, and all is well afterwards.
fn far_past_the_connection_limit_it_recovers(io: Io) {
    let server = start(io, |server| server.max_connections(1).route("*", |_| Echo));
    let mut inside = Client::connect(server.address());
    let surplus: Vec<_> = (0..200)
        .map(|_| {
            let mut stream = tcp(server.address());
            // The kernel may keep a silent connection to itself for a while.
            stream.write_all(b"G").unwrap();
            stream
        })
        .collect();
    eventually("all have been refused", || server.stats().refused == 200);
    inside.round_trip("not disturbed");
    assert_eq!(server.stats().connections, 1);
    drop(surplus);
    inside.close(1000);
    eventually("a place is free", || server.stats().connections == 0);
    // The surplus has left its places too.
    eventually("a new connection is served", || {
        let mut stream = tcp(server.address());
        stream.write_all(request("/").as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut stream, &mut answer).is_ok()
            && server.stats().accepted > 1
    });
}

/// Answers as the path says.
struct Choosy;

impl Handler for Choosy {
    type Data = String;

    fn upgrade(&mut self, request: &Request<'_>) -> Result<Accept<String>, Reject> {
        let accept = Accept::new(request.path().to_owned());
        Ok(match request.path() {
            "/protocol" => {
                let chosen = request.subprotocols().nth(1).ok_or(Reject::bad_request())?;
                accept.subprotocol(chosen).header("X-Served-By", "größe 1")
            }
            "/bad-name" => accept.header("X Bad", "value"),
            "/bad-value" => accept.header("X-Bad", "a\r\nX-Injected: yes"),
            "/reserved" => accept.header("Sec-WebSocket-Accept", "mine"),
            "/bad-protocol" => accept.subprotocol("chat, v2"),
            "/401" => return Err(Reject::unauthorized()),
            "/429" => return Err(Reject::new(429, "come back later")),
            "/200" => return Err(Reject::new(200, "no refusal at all")),
            _ => accept,
        })
    }

    fn open(&mut self, ws: &mut Conn<'_, String>) {
        let path = ws.data().clone();
        ws.send_text(&path);
    }

    fn message(&mut self, _ws: &mut Conn<'_, String>, _message: Message<'_>) {}
}

fn choosy(io: Io) -> Running {
    start(io, |server| server.route("*", |_| Choosy))
}

fn subprotocol_and_headers_are_sent(io: Io) {
    let server = choosy(io);
    let offer = "Sec-WebSocket-Protocol: chat.v1, chat.v2\r\nSec-WebSocket-Protocol: chat.v3\r\n";
    let mut client = Client::upgrade(tcp(server.address()), &request_with("/protocol", offer));
    client.expect_text("/protocol");
    for line in [
        "\r\nSec-WebSocket-Protocol: chat.v2\r\n",
        "\r\nX-Served-By: größe 1\r\n",
    ] {
        assert!(client.head.contains(line), "{}", client.head);
    }
    let client = Client::connect_to(server.address(), "/none");
    assert!(
        !client.head.contains("Sec-WebSocket-Protocol"),
        "{}",
        client.head
    );
}

fn impossible_headers_give_500(io: Io) {
    let server = choosy(io);
    for path in ["/bad-name", "/bad-value", "/reserved", "/bad-protocol"] {
        let response = http(server.address(), &request(path));
        assert_eq!(response.status, 500, "{path}");
        assert_eq!(response.header("X-Injected"), None, "{path}");
    }
    // What was given for them is given back: the next one has the right data.
    Client::connect_to(server.address(), "/fine").expect_text("/fine");
}

fn the_applications_refusal_is_sent(io: Io) {
    let server = choosy(io);
    for (path, status, body) in [
        ("/401", 401, "unauthorized\n"),
        ("/429", 429, "come back later\n"),
        ("/200", 500, "no refusal at all\n"),
    ] {
        let Response {
            status: found,
            body: said,
            ..
        } = http(server.address(), &request(path));
        assert_eq!((found, &*said), (status, body));
    }
}

fn from(origin: &str) -> String {
    request_with("/", &format!("Origin: {origin}\r\n"))
}

fn only_allowed_origins_connect(io: Io) {
    let server = start(io, |server: Server| {
        server
            .allow_origins(["https://example.com", "https://example.org:443"])
            .allow_origin("http://localhost:8080")
            .route("*", |_| Echo)
    });
    for origin in [
        "https://example.com.evil.org",
        "https://sub.example.com",
        "https://evilexample.com",
        "https://example.com@evil.org",
        "http://example.com",
        "https://example.com:8443",
        "https://example.com/",
        "https://example.com https://evil.org",
        "https://evil.org\r\nOrigin: https://example.com",
        "https://example.com\r\nOrigin: https://example.com",
        "null",
        "",
    ] {
        let response = http(server.address(), &from(origin));
        assert_eq!(response.status, 403, "{origin}");
    }
    // Not to be taken for none.
    let mut stream = tcp(server.address());
    let mut request = from("").trim_end().as_bytes().to_vec();
    request.extend_from_slice(b" https://example.com\xff\r\n\r\n");
    stream.write_all(&request).unwrap();
    assert_eq!(read_response(stream).status, 403);

    for origin in [
        "https://example.com",
        "HTTP://localhost:8080",
        "https://Example.org",
    ] {
        Client::upgrade(tcp(server.address()), &from(origin)).close(1000);
    }
    // Whoever sends none is no browser.
    Client::connect(server.address()).close(1000);
}

fn origins_can_be_required_and_null_allowed(io: Io) {
    let server = start(io, |server| {
        let server = server.require_origin(true).allow_origin("null");
        server.route("*", |_| Echo)
    });
    assert_eq!(http(server.address(), &request("/")).status, 403);
    assert_eq!(
        http(server.address(), &from("https://example.com")).status,
        403
    );
    Client::upgrade(tcp(server.address()), &from("null")).close(1000);
    let server = start(io, |server| {
        server.require_origin(true).route("*", |_| Echo)
    });
    assert_eq!(http(server.address(), &request("/")).status, 403);
    Client::upgrade(tcp(server.address()), &from("https://anywhere.org")).close(1000);
}

/// Tells what it was asked.
struct Mirror;

impl Handler for Mirror {
    type Data = Vec<String>;

    fn upgrade(&mut self, request: &Request<'_>) -> Result<Accept<Self::Data>, Reject> {
        let peer = request.peer_addr().ok_or(Reject::bad_request())?;
        let headers = request
            .headers()
            .filter(|(name, _)| name.starts_with("X-"))
            .map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(value)));
        let mut seen = vec![
            request.path().to_owned(),
            request.query_string().unwrap_or("none").to_owned(),
            request.query("name").unwrap_or_default().into_owned(),
            request.query_all("room").collect::<Vec<_>>().join("+"),
            request.header("x-one").unwrap_or("none").to_owned(),
            request.host().unwrap_or("none").to_owned(),
            request.origin().unwrap_or("none").to_owned(),
            request.subprotocols().collect::<Vec<_>>().join("+"),
            peer.ip().to_string(),
        ];
        seen.extend(headers);
        Ok(Accept::new(seen))
    }

    fn open(&mut self, ws: &mut Conn<'_, Self::Data>) {
        let peer = ws.peer_addr().expect("it is there").ip().to_string();
        assert_eq!(ws.data()[8], peer);
        let seen = ws.data().join("\n");
        ws.send_text(&seen);
    }

    fn message(&mut self, _ws: &mut Conn<'_, Self::Data>, _message: Message<'_>) {}
}

fn a_handler_sees_the_request(io: Io) {
    let server = start(io, |server| server.route("/a/*", |_| Mirror));
    let request = request_with(
        "/a/b%20c?name=gr%C3%B6%C3%9Fe+1&room=x&room=y%26z",
        "X-One: 1\r\nOrigin: https://example.com\r\nSec-WebSocket-Protocol: v1, v2\r\nX-Two: zwei\r\n",
    );
    let expected = [
        "/a/b%20c",
        "name=gr%C3%B6%C3%9Fe+1&room=x&room=y%26z",
        "größe 1",
        "x+y&z",
        "1",
        "localhost",
        "https://example.com",
        "v1+v2",
        "127.0.0.1",
        "X-One=1",
        "X-Two=zwei",
    ];
    Client::upgrade(tcp(server.address()), &request).expect_text(&expected.join("\n"));
}

/// Has data that only `upgrade` could make, and no `upgrade`.
struct Unfinished;

impl Handler for Unfinished {
    type Data = String;

    fn message(&mut self, _ws: &mut Conn<'_, String>, _message: Message<'_>) {}
}

fn upgrades_without_upgrade_code_need_no_data(io: Io) {
    let server = start(io, |server| {
        server
            .route("/unfinished", |_| Unfinished)
            .route("/echo", |_| Echo)
    });
    assert_eq!(http(server.address(), &request("/unfinished")).status, 501);
    Client::connect_to(server.address(), "/echo").close(1000);
}
