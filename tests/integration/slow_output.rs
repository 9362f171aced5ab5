//! Nothing slow stops the control plane: a log that nobody reads, a full disk, files that hang.

use crate::harness::*;
use nix::sys::signal::Signal;
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Longest answer of the admin API. The control plane does not wait for anything, so this allows for a busy machine only.
const ADMIN_WITHIN: Duration = Duration::from_secs(5);

/// Asks the probes and the metrics several times; the longest answer.
fn slowest_admin_answer(gateway: &Gateway) -> Duration {
    let mut slowest = Duration::ZERO;
    for path in ["/livez", "/readyz", "/metrics", "/admin/v1/info"].repeat(5) {
        let began = Instant::now();
        assert_eq!(gateway.admin("GET", path).status, 200, "{path}");
        slowest = slowest.max(began.elapsed());
    }
    assert!(slowest < ADMIN_WITHIN, "{slowest:?}");
    slowest
}

/// Sends requests until log lines are dropped.
fn fill_log(gateway: &Gateway) {
    let mut client = gateway.connect();
    let one = b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for _ in 0..1000 {
        client.send(&one.repeat(500));
        for _ in 0..500 {
            assert_eq!(client.response().status, 200);
        }
        if gateway.metric("ringside_log_lines_dropped_total") > 0.0 {
            return;
        }
    }
    panic!("no line was dropped");
}

#[test]
fn a_log_that_nobody_reads_stops_neither_probes_nor_signals() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let mut gateway = Setup::new(driver, upstream.config())
            .server("[server.drain]\ndelay = \"60s\"\ndeadline = \"60s\"\n")
            .without_log_reader()
            .start();
        fill_log(&gateway);
        let slowest = slowest_admin_answer(&gateway);
        eprintln!("slowest answer of the admin API: {slowest:?}");
        let waiting = gateway.metric("ringside_log_bytes_waiting");
        assert!(waiting > 0.0 && waiting <= gateway.metric("ringside_log_bytes_limit"));
        assert_eq!(gateway.chat(&ask("served")).status, 200);
        // A reload takes effect: from now on there is a model `other`.
        let path = gateway.folder.path().join("ringside.toml");
        let text = std::fs::read_to_string(path).unwrap();
        gateway.rewrite_config(&text.replace("name = \"m\"", "name = \"other\""));
        gateway.signal(Signal::SIGHUP);
        wait_until("reloaded", || gateway.info()["models"] == json!(["other"]));
        gateway.signal(Signal::SIGTERM);
        wait_until("draining", || gateway.admin("GET", "/readyz").status == 503);
        let began = Instant::now();
        gateway.signal(Signal::SIGTERM);
        assert!(gateway.wait_for_exit().success());
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "{:?}",
            began.elapsed()
        );
    });
}

/// Whether tests may make namespaces of their own here.
fn has_namespaces() -> bool {
    let made = std::process::Command::new("unshare")
        .args(["-rmn", "true"])
        .status();
    let may = made.is_ok_and(|status| status.success());
    if !may {
        eprintln!("skipped: no namespaces here");
    }
    may
}

#[test]
fn a_name_server_that_does_not_answer_does_not_hold_up_the_stop() {
    if !has_namespaces() {
        return;
    }
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/integration/silent_name_server.py"
    );
    let config = format!(
        "{}{}",
        provider("p", "slow.example", ""),
        model("m", &["p"])
    );
    let mut gateway = Setup::new("epoll", config)
        .run_by(&["unshare", "-rmn", "python3", script])
        .start();
    let began = Instant::now();
    gateway.signal(Signal::SIGTERM);
    assert!(gateway.wait_for_exit().success());
    // The resolver would wait for half a minute.
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    gateway.wait_for_event("stopped");
}

/// A gateway whose standard output is `/dev/full`; its addresses are on standard error.
fn start_with_full_disk(driver: &str, folder: &std::path::Path) -> (Child, String, String) {
    let path = folder.join("ringside.toml");
    let upstream = "[[providers]]\nname = \"p\"\nbase_url = \"http://127.0.0.1:9/v1\"\n[[models]]\nname = \"m\"\ntargets = [{ provider = \"p\" }]\n";
    let setup = Setup::new(driver, upstream);
    std::fs::write(&path, setup.text()).unwrap();
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let mut child = setup
        .command(&path)
        .stdout(Stdio::from(full))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stderr = child.stderr.take().unwrap();
    let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
    let line = lines.find(|line| line.contains("(admin http://")).unwrap();
    std::thread::spawn(move || lines.for_each(drop));
    let (_, rest) = line.split_once(" on ").unwrap();
    let (address, rest) = rest.split_once(" (admin http://").unwrap();
    let (admin, _) = rest.split_once(')').unwrap();
    (child, address.to_owned(), admin.to_owned())
}

#[test]
fn a_log_that_is_read_again_says_how_many_lines_are_missing() {
    let upstream = Upstream::echo();
    let gateway = Setup::new("epoll", upstream.config())
        .without_log_reader()
        .start();
    fill_log(&gateway);
    gateway.read_log_again();
    gateway.wait_for_metric("ringside_log_bytes_waiting", 0.0);
    // The next line after the gap tells.
    assert_eq!(gateway.chat(&ask("after")).status, 200);
    let gap = gateway.wait_for_event("log_lines_dropped");
    let dropped = gateway.metric("ringside_log_lines_dropped_total");
    assert_eq!(gap["lines"].as_f64(), Some(dropped));
    gateway.wait_for_log(|line| line["operation"] == "chat");
    for line in gateway.log_lines() {
        let parsed = serde_json::from_str::<serde_json::Value>(&line);
        assert!(parsed.is_ok(), "{line}");
    }
}

#[test]
fn a_log_on_a_full_disk_stops_nothing() {
    on_both_drivers(|driver| {
        let folder = tempfile::tempdir().unwrap();
        let (mut child, address, admin) = start_with_full_disk(driver, folder.path());
        let get = |address: &str, path: &str| {
            let mut client = Client::connect(address);
            client.send(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes());
            client.response()
        };
        for _ in 0..50 {
            assert_eq!(get(&address, "/v1/models").status, 200);
        }
        assert_eq!(get(&admin, "/livez").status, 200);
        wait_until("the lost lines are counted", || {
            let page = get(&admin, "/metrics").text();
            let lost = page
                .lines()
                .find_map(|line| line.strip_prefix("ringside_log_lines_dropped_total "));
            lost.is_some_and(|lost| lost.parse::<f64>().unwrap() >= 50.0)
        });
        let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
        nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
        assert!(child.wait().unwrap().success());
    });
}

#[test]
fn a_full_disk_of_the_cache_is_said_in_the_log_once() {
    if !has_namespaces() {
        return;
    }
    let upstream = Upstream::start(|seen, stream| {
        let answer = format!("{} {}", seen.question(), "word ".repeat(10_000));
        write_json(stream, 200, &chat_response(&answer))
    });
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    std::fs::create_dir(&cache).unwrap();
    let cache = cache.to_str().unwrap().to_owned();
    let config = format!("{}[cache]\ndir = \"{cache}\"\n", upstream.config());
    let script = "mount -t tmpfs -o size=256k,mode=700 tmpfs \"$0\" && exec \"$@\"";
    let gateway = Setup::new("epoll", config)
        .run_by(&["unshare", "-rm", "sh", "-c", script, &cache])
        .start_in(folder);
    for at in 0..40 {
        assert_eq!(gateway.chat(&ask(&format!("question {at}"))).status, 200);
    }
    let line = gateway.wait_for_event("cache_not_written");
    assert_eq!(line["dir"], cache.as_str());
    assert!(line["reason"].as_str().unwrap().contains("No space left"));
    slowest_admin_answer(&gateway);
    let lines = gateway.log_lines();
    let said = lines
        .iter()
        .filter(|line| line.contains("\"cache_not_written\""));
    assert_eq!(said.count(), 1);
}

fn named_pipe(path: &std::path::Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status();
    assert!(made.unwrap().success());
}

fn send(child: &Child, signal: Signal) {
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, signal).unwrap();
}

fn wait_for_exit(child: &mut Child) -> std::process::ExitStatus {
    let until = Instant::now() + TEST_TIMEOUT;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < until, "it did not stop");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_file_that_hangs_holds_up_neither_the_stop_nor_the_probes() {
    let upstream = Upstream::echo();
    let mut gateway = Setup::new("epoll", upstream.config()).start();
    // Nobody writes to this pipe, so reading the secret never ends.
    let pipe = gateway.folder.path().join("secret");
    named_pipe(&pipe);
    let path = gateway.folder.path().join("ringside.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let key = format!(
        "{text}\n[[keys]]\nname = \"a\"\nsecret = \"file:{}\"\n",
        pipe.display()
    );
    gateway.rewrite_config(&key);
    gateway.signal(Signal::SIGHUP);
    std::thread::sleep(Duration::from_millis(200));
    slowest_admin_answer(&gateway);
    assert_eq!(gateway.chat(&ask("served")).status, 200);
    gateway.signal(Signal::SIGTERM);
    assert!(gateway.wait_for_exit().success());
    gateway.wait_for_event("stopped");
}

#[test]
fn a_signal_while_starting_stops_cleanly_or_is_obeyed_later() {
    // A provider's credentials come from a server that never answers: the start waits for them.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let config = format!(
        "{}{}",
        provider(
            "p",
            "127.0.0.1:9",
            &format!(
                "auth = {{ kind = \"entra\", tenant = \"t-1\", client_id = \"app\", client_secret = \"env:PATH\", authority = \"{url}\" }}"
            )
        ),
        model("m", &["p"])
    );
    let start = || {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ringside.toml");
        let setup = Setup::new("epoll", config.clone());
        std::fs::write(&path, setup.text()).unwrap();
        let child = setup.command(&path).stdout(Stdio::piped()).spawn().unwrap();
        // The request for credentials shows that it is starting.
        let (waiting, _) = silent.accept().unwrap();
        (child, folder, waiting)
    };
    let (mut child, _folder, _waiting) = start();
    send(&child, Signal::SIGTERM);
    assert!(wait_for_exit(&mut child).success());

    let (mut child, _folder, _waiting) = start();
    send(&child, Signal::SIGHUP);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut lines = lines.map_while(Result::ok);
    assert!(
        lines.any(|line| line.contains("\"started\"")),
        "the hang-up ended it"
    );
    assert!(
        lines.any(|line| line.contains("\"reloaded\"")),
        "it was forgotten"
    );
    send(&child, Signal::SIGTERM);
    assert!(lines.any(|line| line.contains("\"stopped\"")));
    assert!(wait_for_exit(&mut child).success());
}

#[test]
fn a_start_that_hangs_in_a_file_can_be_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ringside.toml");
    named_pipe(&path);
    let mut child = Setup::new("epoll", "").command(&path).spawn().unwrap();
    // Its handler is installed before it opens the file.
    std::thread::sleep(Duration::from_millis(300));
    send(&child, Signal::SIGTERM);
    assert!(wait_for_exit(&mut child).success());
}
