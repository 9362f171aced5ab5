//! The control plane: it may stand still without stopping a request; what it shows is true.

use crate::harness::*;
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

/// The thread of the process that is called `name`.
fn thread(gateway: &Gateway, name: &str) -> Pid {
    let folder = format!("/proc/{}/task", gateway.child.id());
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if std::fs::read_to_string(path.join("comm")).unwrap().trim() == name {
            let id: i32 = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
            return Pid::from_raw(id);
        }
    }
    panic!("no thread {name}");
}

#[test]
fn a_frozen_control_plane_stops_no_request() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let gateway = Setup::new(driver, upstream.config()).start();
        assert_eq!(gateway.admin("GET", "/livez").status, 200);
        // Only this one thread is stopped, as by a debugger.
        let control = thread(&gateway, "control");
        ptrace::seize(control, ptrace::Options::empty()).unwrap();
        ptrace::interrupt(control).unwrap();
        waitpid(control, Some(WaitPidFlag::__WALL)).unwrap();
        let frozen = std::net::TcpStream::connect(&gateway.admin).unwrap();
        frozen
            .set_read_timeout(Some(std::time::Duration::from_millis(300)))
            .unwrap();
        let mut client = Client {
            stream: frozen,
            unread: Vec::new(),
        };
        client.send(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n");
        assert!(
            std::io::Read::read(&mut client.stream, &mut [0]).is_err(),
            "it is not frozen"
        );
        // More requests than access records may wait, on new connections and old.
        let mut client = gateway.connect();
        let question = ask("same").to_string();
        let one = request("/v1/chat/completions", &[], question.as_bytes());
        for round in 0..90 {
            client.send(&one.repeat(100));
            for _ in 0..100 {
                assert_eq!(client.response().status, 200);
            }
            // Not `chat`: that looks at metrics, which the frozen thread serves.
            let fresh = ask(&format!("fresh {round}"));
            let reply = gateway.connect().post("/v1/chat/completions", &[], &fresh);
            assert_eq!(reply.status, 200);
        }
        ptrace::detach(control, None).unwrap();
        assert_eq!(gateway.admin("GET", "/livez").status, 200);
        // Log lines were dropped, and counted; numbers were not.
        let dropped = gateway.metric("ringside_access_records_dropped_total");
        gateway.wait_for_metric(
            "ringside_requests_total{operation=\"chat\",status=\"200\"}",
            9090.0,
        );
        assert!(dropped > 0.0);
    });
}

#[test]
fn the_driver_in_use_is_named_everywhere() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let gateway = Setup::new(driver, upstream.config()).start();
        assert_eq!(gateway.started["driver"], driver);
        assert_eq!(gateway.info()["driver"], driver);
        let version = env!("CARGO_PKG_VERSION");
        let name = format!("ringside_info{{version=\"{version}\",driver=\"{driver}\"}}");
        gateway.wait_for_metric(&name, 1.0);
    });
}

#[test]
fn admin_paths() {
    let upstream = Upstream::echo();
    let gateway = Setup::new("epoll", upstream.config()).start();
    assert_eq!(gateway.admin("GET", "/readyz").status, 200);
    assert_eq!(gateway.admin("GET", "/nothing").status, 404);
    let refused = gateway.admin("POST", "/admin/v1/cache");
    assert_eq!(
        (refused.status, refused.header("allow")),
        (405, Some("DELETE"))
    );
    let moved = gateway.admin("GET", "/info");
    assert_eq!(moved.status, 404);
    assert!(moved.text().contains("this path is now /admin/v1/info"));
    let document = gateway.admin("GET", "/admin/v1/openapi.json").json();
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["paths"]["/admin/v1/info"]["get"].is_object());
    let page = gateway.admin("GET", "/metrics").text();
    // One type line per metric, and no metric twice.
    let types: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("# TYPE"))
        .collect();
    let mut unique = types.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(types.len(), unique.len());
    assert!(types.len() > 30);
}

#[test]
fn where_io_uring_is_refused_epoll_serves() {
    let upstream = Upstream::echo();
    let gateway = Setup::new("auto", upstream.config())
        .without_io_uring()
        .start();
    assert_eq!(gateway.started["driver"], "epoll");
    assert_eq!(gateway.chat(&ask("hello")).status, 200);
}

#[test]
fn where_io_uring_is_demanded_and_refused_the_reason_is_given() {
    let upstream = Upstream::echo();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ringside.toml");
    let setup = Setup::new("io_uring", upstream.config()).without_io_uring();
    std::fs::write(&path, setup.text()).unwrap();
    let output = setup.command(&path).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text.contains("seccomp") && text.contains("server.driver"),
        "{text}"
    );
}
