//! Tests that hold on each transport.

use crate::running::Running;

/// Runs each test on each transport, except where the kernel or a sandbox refuses io_uring.
macro_rules! on_each_io {
    ($($test:ident)*) => {
        mod ring { $(#[test] fn $test() { crate::each_io::on("ring", super::$test); })* }
        mod monoio { $(#[test] fn $test() { crate::each_io::on("monoio", super::$test); })* }
        mod epoll { $(#[test] fn $test() { crate::each_io::on("epoll", super::$test); })* }
    };
}

/// Runs a test on one transport, or says why it cannot.
pub(crate) fn on(io: &str, test: fn(&str)) {
    let auto = Running::start(&["--io", "auto"]);
    let refused = match io {
        "ring" => !auto.announcement.contains("I/O: io_uring (data ring)"),
        "monoio" => auto.announcement.contains("I/O: monoio over epoll"),
        _ => false,
    };
    if refused {
        println!("skipped: no io_uring here; {}", auto.announcement);
    } else {
        test(io);
    }
}
