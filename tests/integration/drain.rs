//! Graceful stop: idle connections close, busy ones finish, remaining streams end with an error, the process ends.

use crate::harness::*;
use nix::sys::signal::Signal;
use std::io::Write;
use std::time::Duration;

/// Streams `words` events, one each 20 ms, then ends well.
fn paced(words: usize) -> Upstream {
    Upstream::start(move |_, stream| {
        let mut ok = stream.write_all(stream_head()).is_ok();
        for _ in 0..words {
            ok = ok && stream.write_all(&chunk(&delta("word "))).is_ok();
            std::thread::sleep(Duration::from_millis(20));
        }
        ok && stream.write_all(&chunk(&stream_end())).is_ok()
            && stream.write_all(b"0\r\n\r\n").is_ok()
    })
}

#[test]
fn a_stream_in_flight_is_finished_and_idle_connections_close() {
    on_both_drivers(|driver| {
        let upstream = paced(30);
        let mut gateway = Setup::new(driver, upstream.config()).start();
        let mut idle = gateway.connect();
        idle.send(b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n");
        assert_eq!(idle.response().status, 200);
        let mut busy = gateway.connect();
        busy.send(&request(
            "/v1/chat/completions",
            &[],
            ask_stream("x").to_string().as_bytes(),
        ));
        busy.read_until("word");
        gateway.signal(Signal::SIGTERM);
        assert!(idle.is_closed());
        assert!(
            std::net::TcpStream::connect(&gateway.address).is_err(),
            "still accepting"
        );
        let reply = busy.response();
        assert_eq!(reply.content(), "word ".repeat(30));
        assert!(reply.text().ends_with("data: [DONE]\n\n"));
        assert!(busy.is_closed());
        assert!(gateway.wait_for_exit().success());
        // Its usage was accounted before the end.
        let line =
            gateway.wait_for_log(|line| line["event"] == "request" && line["stream"] == true);
        assert_eq!(line["output_tokens"], 5);
    });
}

#[test]
fn readiness_fails_before_connections_close() {
    let upstream = Upstream::echo();
    let gateway = Setup::new("io_uring", upstream.config())
        .server("[server.drain]\ndelay = \"2s\"\n")
        .start();
    gateway.signal(Signal::SIGTERM);
    wait_until("not ready", || {
        gateway.admin("GET", "/readyz").status == 503
    });
    // It still serves while load balancers take notice.
    let mut client = gateway.connect();
    let reply = client.post("/v1/chat/completions", &[], &ask("x"));
    assert_eq!(reply.status, 200);
    gateway.wait_for_event("stopped");
}

#[test]
fn past_the_deadline_streams_end_with_an_error() {
    on_both_drivers(|driver| {
        let upstream = paced(1000);
        let mut gateway = Setup::new(driver, upstream.config())
            .server("[server.drain]\ndelay = \"1ms\"\ndeadline = \"200ms\"\n")
            .start();
        let mut busy = gateway.connect();
        busy.send(&request(
            "/v1/chat/completions",
            &[],
            ask_stream("x").to_string().as_bytes(),
        ));
        busy.read_until("word");
        gateway.signal(Signal::SIGTERM);
        let reply = busy.response();
        assert!(!reply.text().contains("[DONE]"));
        assert_eq!(
            reply.events().pop().unwrap()["error"]["code"],
            "shutting_down"
        );
        assert!(gateway.wait_for_exit().success());
    });
}
