//! Debian's Chromium, by its driver.

use std::net::{Ipv4Addr, TcpListener};
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::process::{self, Child, Stdio};
use std::time::Instant;

use fantoccini::key::Key;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use futures_util::FutureExt as _;
use http::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use url::{ParseError, Url};

use super::daemon::PATIENCE;

/// What only drivers of Chromium know.
#[derive(Debug)]
struct Command {
    what: &'static str,
    body: String,
}

/// A browser with one page; ended with its driver.
pub(crate) struct Browser {
    driver: Child,
    pub(crate) client: Client,
}

impl Browser {
    /// Does `work` with one whose window is so large, in dark or light, and ends it whatever comes of that: a driver that is killed
    /// leaves its browser behind.
    pub(crate) async fn with(size: (u32, u32), is_dark: bool, work: impl AsyncFnOnce(&Self)) {
        let browser = Self::start(size, is_dark).await;
        let done = AssertUnwindSafe(work(&browser)).catch_unwind().await;
        let closed = browser.client.clone().close().await;
        if let Err(panic) = done {
            resume_unwind(panic);
        }
        closed.unwrap();
    }

    async fn start(size: (u32, u32), is_dark: bool) -> Self {
        let program = std::env::var_os("FLEETGAUGE_CHROMEDRIVER").unwrap_or_else(|| "chromedriver".into());
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let driver = process::Command::new(program)
            .arg(format!("--port={}", address.port()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let window = format!("--window-size={},{}", size.0, size.1);
        // As root, which tests may be, Chromium has no sandbox of its own.
        let args = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            &window,
        ];
        let capabilities = json!({
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"args": args},
        });
        let Value::Object(capabilities) = capabilities else {
            unreachable!("it is an object");
        };
        let deadline = Instant::now() + PATIENCE;
        let client = loop {
            let mut builder = ClientBuilder::new(HttpConnector::new());
            builder.capabilities(capabilities.clone());
            match builder.connect(&format!("http://{address}")).await {
                Ok(client) => break client,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        };
        let browser = Self { driver, client };
        let scheme = if is_dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        browser
            .devtools("Emulation.setEmulatedMedia", &json!({"features": features}))
            .await;
        let metrics = json!({"width": size.0, "height": size.1, "deviceScaleFactor": 1, "mobile": false});
        browser
            .devtools("Emulation.setDeviceMetricsOverride", &metrics)
            .await;
        browser
    }

    /// What `script` returns.
    pub(crate) async fn run(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap()
    }

    /// Waits until `script` returns something that is true.
    pub(crate) async fn until(&self, script: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.run(script).await != Value::Bool(true) {
            assert!(
                Instant::now() < deadline,
                "{script} did not come about:\n{}",
                self.run("return document.body.innerText").await
            );
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// Presses a key where the focus is.
    pub(crate) async fn press(&self, key: Key) {
        let focused = self.client.active_element().await;
        let focused = match focused {
            Ok(focused) => focused,
            Err(_) => self.client.find(Locator::Css("body")).await.unwrap(),
        };
        focused.send_keys(&String::from(char::from(key))).await.unwrap();
    }

    /// What scripts and the browser itself have logged since this was asked last.
    pub(crate) async fn log(&self) -> Vec<Value> {
        let logged = self.driver("se/log", &json!({"type": "browser"})).await;
        logged.as_array().unwrap().clone()
    }

    async fn devtools(&self, command: &str, params: &Value) {
        let body = json!({"cmd": command, "params": params});
        self.driver("goog/cdp/execute", &body).await;
    }

    async fn driver(&self, what: &'static str, body: &Value) -> Value {
        let body = body.to_string();
        self.client.issue_cmd(Command { what, body }).await.unwrap()
    }
}

impl WebDriverCompatibleCommand for Command {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.what))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.clone()))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
