//! A gateway process: started with a configuration, observed by its log and admin API, killed at the end.

use super::{Client, Response, TEST_TIMEOUT, wait_until};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// A running gateway; killed when dropped.
pub(crate) struct Gateway {
    pub child: Child,
    pub address: String,
    pub admin: String,
    pub started: Value,
    pub folder: tempfile::TempDir,
    log: Arc<(Mutex<Vec<String>>, Condvar)>,
    reads_log: Arc<AtomicBool>,
}

/// How a gateway is to be started.
pub(crate) struct Setup<'s> {
    pub driver: &'s str,
    pub server: &'s str,
    pub config: String,
    /// Program and arguments that start the gateway, if it is not started directly.
    wrapper: Vec<String>,
    reads_log: bool,
}

impl<'s> Setup<'s> {
    pub(crate) fn new(driver: &'s str, config: impl Into<String>) -> Self {
        Self {
            driver,
            server: "",
            config: config.into(),
            wrapper: Vec::new(),
            reads_log: true,
        }
    }

    /// As in a container with a default seccomp profile.
    pub(crate) fn without_io_uring(self) -> Self {
        self.run_by(&[
            "python3",
            concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/integration/refuse_io_uring.py"
            ),
        ])
    }

    /// Starts the gateway by another program, which must become the gateway.
    pub(crate) fn run_by(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|&part| part.to_owned()).collect();
        self
    }

    /// Reads the log up to `started`; then its pipe fills up, until [`Gateway::read_log_again`].
    pub(crate) fn without_log_reader(mut self) -> Self {
        self.reads_log = false;
        self
    }

    pub(crate) fn command(&self, path: &std::path::Path) -> Command {
        let gateway = env!("CARGO_BIN_EXE_ringside");
        let mut command = match self.wrapper.split_first() {
            None => Command::new(gateway),
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(gateway);
                command
            }
        };
        command
            .arg("serve")
            .arg("--config")
            .arg(path)
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        command
    }

    pub(crate) fn server(mut self, keys: &'s str) -> Self {
        self.server = keys;
        self
    }

    pub(crate) fn text(&self) -> String {
        let listen = if self.server.contains("listen") {
            ""
        } else {
            "listen = \"127.0.0.1:0\"\n"
        };
        let drain_delay = if self.server.contains("[server.drain]") {
            ""
        } else {
            "[server.drain]\ndelay = \"1ms\"\n"
        };
        format!(
            "[server]\n{listen}driver = \"{}\"\n{}\n{drain_delay}[admin]\nlisten = \"127.0.0.1:0\"\n{}",
            self.driver, self.server, self.config
        )
    }

    pub(crate) fn start(self) -> Gateway {
        let folder = tempfile::tempdir().unwrap();
        self.start_in(folder)
    }

    pub(crate) fn start_in(self, folder: tempfile::TempDir) -> Gateway {
        let path = folder.path().join("ringside.toml");
        std::fs::write(&path, self.text()).unwrap();
        let mut child = self.command(&path).stdout(Stdio::piped()).spawn().unwrap();
        let log = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let reads_log = Arc::new(AtomicBool::new(self.reads_log));
        let (into, reads_on) = (Arc::clone(&log), Arc::clone(&reads_log));
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let has_started = line.contains("\"event\":\"started\"");
                into.0.lock().unwrap().push(line);
                into.1.notify_all();
                while has_started && !reads_on.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
        });
        let mut gateway = Gateway {
            child,
            address: String::new(),
            admin: String::new(),
            started: Value::Null,
            folder,
            log,
            reads_log,
        };
        let started = gateway.wait_for_event("started");
        gateway.address = started["listen"][0].as_str().unwrap().to_owned();
        gateway.admin = started["admin"].as_str().unwrap().to_owned();
        gateway.started = started;
        gateway
    }
}

impl Gateway {
    /// Reads the log on, after [`Setup::without_log_reader`].
    pub(crate) fn read_log_again(&self) {
        self.reads_log.store(true, Ordering::SeqCst);
    }

    /// The first log line with this event (and, for requests, after `from` lines).
    pub(crate) fn wait_for_event(&self, event: &str) -> Value {
        self.wait_for_log(|line| line["event"] == event)
    }

    pub(crate) fn wait_for_log(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + TEST_TIMEOUT;
        let mut seen = 0;
        let mut lines = self.log.0.lock().unwrap();
        loop {
            for line in &lines[seen..] {
                if let Ok(value) = serde_json::from_str::<Value>(line)
                    && wanted(&value)
                {
                    return value;
                }
            }
            seen = lines.len();
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no such log line in {:#?}", *lines);
            lines = self.log.1.wait_timeout(lines, left).unwrap().0;
        }
    }

    pub(crate) fn log_lines(&self) -> Vec<String> {
        self.log.0.lock().unwrap().clone()
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(&self.address)
    }

    /// One request on a fresh connection; see [`Self::post_with`].
    pub(crate) fn post(&self, path: &str, body: &Value) -> Response {
        self.post_with(path, &[], body)
    }

    /// One request on a fresh connection, which may be on another core than the last one. The gateway stores a response
    /// after it has sent it: this returns once the response of a miss is stored, so that the next request finds it on
    /// any core. Must not be used while the test holds back a call that requests may share.
    pub(crate) fn post_with(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Response {
        let response = self.connect().post(path, headers, body);
        if response.cache() == "miss" {
            self.wait_for_metric("ringside_coalesce_in_flight", 0.0);
        }
        response
    }

    pub(crate) fn chat(&self, body: &Value) -> Response {
        self.post("/v1/chat/completions", body)
    }

    pub(crate) fn admin(&self, method: &str, path: &str) -> Response {
        let mut client = Client::connect(&self.admin);
        client.send(format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes());
        client.response()
    }

    pub(crate) fn info(&self) -> Value {
        self.admin("GET", "/admin/v1/info").json()
    }

    /// The value of a metric line that begins with `name`; zero if there is none.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        value_of(&self.complete_metrics_page(), name)
    }

    /// A page with the numbers of every core. On a busy machine a core may report too late for a page, which then lacks
    /// its numbers.
    fn complete_metrics_page(&self) -> String {
        let until = Instant::now() + TEST_TIMEOUT;
        loop {
            let page = self.admin("GET", "/metrics").text();
            if value_of(&page, "ringside_cores_reporting") == value_of(&page, "ringside_cores") {
                return page;
            }
            assert!(Instant::now() < until, "a core never reports: {page}");
        }
    }

    pub(crate) fn wait_for_metric(&self, name: &str, wanted: f64) {
        wait_until(&format!("{name} = {wanted}"), || {
            self.metric(name) == wanted
        });
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().try_into().unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    pub(crate) fn wait_for_exit(&mut self) -> ExitStatus {
        let until = Instant::now() + TEST_TIMEOUT;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "the gateway did not stop");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Open file descriptors of the process.
    pub(crate) fn open_files(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.child.id());
        std::fs::read_dir(folder).unwrap().count()
    }

    pub(crate) fn rewrite_config(&self, text: &str) {
        std::fs::write(self.folder.path().join("ringside.toml"), text).unwrap();
    }
}

fn value_of(page: &str, name: &str) -> f64 {
    page.lines()
        .filter_map(|line| line.strip_prefix(name)?.trim().parse().ok())
        .next()
        .unwrap_or(0.0)
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
