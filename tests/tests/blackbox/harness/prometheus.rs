//! A real Prometheus with the configuration and the rules of `packaging/monitoring/`.

use std::{fs, path::PathBuf, process::Command};

use common::Address;
use serde_json::Value;
use tempfile::TempDir;

use super::{exposition::ask, process::Running, programs, wait::wait_until};

/// A running Prometheus.
pub(crate) struct Prometheus {
    // Ends before its folder is removed.
    _running: Running,
    address: Address,
    _folder: TempDir,
}

/// A file of `packaging/monitoring/`.
pub(crate) fn packaged(file: &str) -> PathBuf {
    programs::workspace().join("packaging/monitoring").join(file)
}

impl Prometheus {
    /// Scrapes these servers and load generators five times per second.
    #[track_caller]
    pub(crate) fn start(servers: &[&Address], loadgens: &[&Address]) -> Self {
        let folder = tempfile::tempdir().expect("there is room for temporary files");
        let example = fs::read_to_string(packaged("prometheus.yml")).expect("it is a text");
        let configuration = [
            ("scrape_interval: 5s", "scrape_interval: 200ms".to_owned()),
            ("evaluation_interval: 5s", "evaluation_interval: 200ms".to_owned()),
            ("targets: [\"127.0.0.1:9465\"]", targets(servers)),
            ("targets: [\"127.0.0.1:9464\"]", targets(loadgens)),
        ]
        .iter()
        .fold(example, |text, (from, to)| {
            assert!(text.contains(from), "the example has no '{from}'");
            text.replace(from, to)
        });
        let file = folder.path().join("prometheus.yml");
        fs::write(&file, configuration).expect("the folder is ours");
        fs::copy(packaged("echo-rules.yml"), folder.path().join("echo-rules.yml"))
            .expect("the folder is ours");

        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        command.arg("--web.listen-address=127.0.0.1:0");
        let running = Running::start(&mut command);
        let said = running.stderr.wait_for("msg=\"Listening on\"");
        let (_, address) = said.rsplit_once("address=").expect("it says where");
        let address: Address = address.parse().expect("an address");
        wait_until("Prometheus is ready", || request(&address, "/-/ready").0 == 200);
        Self { _running: running, address, _folder: folder }
    }

    /// The series that this expression selects now, with their values.
    ///
    /// # Panics
    /// If Prometheus does not accept the expression.
    #[track_caller]
    pub(crate) fn query(&self, expression: &str) -> Vec<(Value, f64)> {
        let data = self.get(&format!("/api/v1/query?query={}", percent_encoded(expression)));
        assert_eq!(data["resultType"], "vector", "{expression}");
        let sample = |sample: &Value| {
            let value = sample["value"][1].as_str().expect("a value is a text");
            (sample["metric"].clone(), value.parse().expect("it is a number"))
        };
        data["result"].as_array().expect("a vector is a list").iter().map(sample).collect()
    }

    /// The value of the only series that this expression selects. None if it selects no series.
    #[track_caller]
    pub(crate) fn value(&self, expression: &str) -> Option<f64> {
        let series = self.query(expression);
        assert!(series.len() <= 1, "{expression}: {series:?}");
        series.first().map(|(_, value)| *value)
    }

    /// Waits until the only series that this expression selects has this value.
    #[track_caller]
    pub(crate) fn wait_for_value(&self, expression: &str, expected: f64) {
        wait_until(&format!("{expression} is {expected}"), || self.value(expression) == Some(expected));
    }

    /// The rules, as the API describes them.
    #[track_caller]
    pub(crate) fn rules(&self) -> Vec<Value> {
        let data = self.get("/api/v1/rules");
        let groups = data["groups"].as_array().expect("groups are a list");
        groups
            .iter()
            .flat_map(|group| group["rules"].as_array().expect("rules are a list"))
            .cloned()
            .collect()
    }

    #[track_caller]
    fn get(&self, path: &str) -> Value {
        let (status, body) = request(&self.address, path);
        let answer: Value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
        assert!(status == 200 && answer["status"] == "success", "{path}: {answer}");
        answer["data"].clone()
    }
}

/// With HTTP/1.0, the answer is neither split into chunks nor followed by another one.
#[track_caller]
fn request(address: &Address, path: &str) -> (u16, String) {
    let answer = ask(address, &format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n"));
    (answer.status, answer.body)
}

fn targets(addresses: &[&Address]) -> String {
    let addresses: Vec<_> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
    format!("targets: [{}]", addresses.join(", "))
}

fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}
