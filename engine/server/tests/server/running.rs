//! Starts the server binary, connects to it, and ends it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use tungstenite::client::IntoClientRequest;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{ClientRequestBuilder, Message, WebSocket};

/// No single wait is longer: a busy machine needs seconds, a hanging server would need for ever.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) type Client = WebSocket<TcpStream>;

/// A server that ends with the test.
pub(crate) struct Running {
    child: Child,
    pub(crate) addr: SocketAddr,
    /// What it printed up to the point where it was ready.
    pub(crate) announcement: String,
}

impl Running {
    /// Starts `corecast serve` on a free port.
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut child = command(args).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (lines, received) = mpsc::channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = lines.send(line);
            }
        });
        let mut announcement = String::new();
        while !announcement.contains("try next") {
            match received.recv_timeout(PATIENCE) {
                Ok(line) => announcement += &format!("{line}\n"),
                Err(_) => panic!("{args:?} printed only {announcement:?}"),
            }
        }
        let line = announcement
            .lines()
            .find_map(|line| line.strip_prefix("listening "));
        let addr = line.and_then(|addr| addr.trim().parse().ok());
        Self {
            child,
            addr: addr.expect("it says where it listens"),
            announcement,
        }
    }

    pub(crate) fn connect(&self, path: &str) -> Client {
        self.try_connect(path, &[])
            .unwrap_or_else(|status| panic!("{path} answered {status}"))
    }

    /// Connects with so small a receive buffer that nearly all that it does not read waits at the server.
    pub(crate) fn connect_narrow(&self, path: &str) -> Client {
        let socket = Socket::new(Domain::for_address(self.addr), Type::STREAM, None).unwrap();
        // Before it connects, so that no larger window is offered.
        socket.set_recv_buffer_size(16 << 10).unwrap();
        socket.connect(&self.addr.into()).unwrap();
        let stream = patient(socket.into());
        let (client, _) = tungstenite::client(format!("ws://{}{path}", self.addr), stream).unwrap();
        client
    }

    /// Connects with further headers, or returns the status of the refusal.
    pub(crate) fn try_connect(&self, path: &str, headers: &[(&str, &str)]) -> Result<Client, u16> {
        let uri = format!("ws://{}{path}", self.addr).parse().unwrap();
        let mut request = ClientRequestBuilder::new(uri);
        for (name, value) in headers {
            request = request.with_header(*name, *value);
        }
        let request = request.into_client_request().unwrap();
        match tungstenite::client(request, self.stream()) {
            Ok((client, _)) => Ok(client),
            Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(response))) => {
                Err(response.status().as_u16())
            }
            Err(error) => panic!("{path}: {error}"),
        }
    }

    /// The whole answer to a plain HTTP request.
    pub(crate) fn http(&self, method: &str, path: &str) -> String {
        let mut stream = self.stream();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(
            Command::new("sh")
                .args(["-c", &kill])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits for the server to end by itself.
    pub(crate) fn end(mut self) -> ExitStatus {
        wait(&mut self.child)
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Bytes of anonymous memory in use.
    pub(crate) fn anonymous_memory(&self) -> usize {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"))
            .unwrap();
        let kib: usize = line.trim().trim_end_matches(" kB").parse().unwrap();
        kib << 10
    }

    fn stream(&self) -> TcpStream {
        patient(TcpStream::connect(self.addr).unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Runs the binary to its end: exit code and standard error.
pub(crate) fn run(args: &[&str]) -> (Option<i32>, String) {
    let mut child = command(args)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let status = wait(&mut child);
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    (status.code(), stderr)
}

/// The next message, which is text.
pub(crate) fn text(client: &mut Client) -> String {
    match client.read().unwrap() {
        Message::Text(text) => text.to_string(),
        other => panic!("expected text, got {other:?}"),
    }
}

/// The close code that arrives, messages before it skipped; the closing handshake is finished.
pub(crate) fn close_code(client: &mut Client) -> CloseCode {
    let code = loop {
        if let Message::Close(frame) = client.read().unwrap() {
            break frame.expect("a code").code;
        }
    };
    let ended = client.read().unwrap_err();
    assert!(
        matches!(ended, tungstenite::Error::ConnectionClosed),
        "{ended}"
    );
    code
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_corecast"));
    command
        .args(["serve", "-l", "127.0.0.1:0"])
        .args(args)
        .env("CORECAST_LOG", "warn");
    command
}

fn wait(child: &mut Child) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if start.elapsed() > PATIENCE {
            let _ = child.kill();
            panic!("the server did not end in {PATIENCE:?}");
        }
        thread::sleep(Duration::from_millis(5));
    }
}
