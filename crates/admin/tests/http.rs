//! The API as a client meets it: paths, bodies, codes, and the guard before all of them.

#![expect(clippy::unwrap_used, reason = "a test may end with a panic")]
#![expect(clippy::indexing_slicing, reason = "a test may end with a panic")]
#![expect(clippy::too_many_lines, reason = "a table is as long as it is")]

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use mulgil_admin::gate::Gate;
use mulgil_admin::model::{Listener, Listeners, Recovery};
use mulgil_admin::routes::router;
use mulgil_admin::server::Options;
use mulgil_admin::time::Timestamp;
use serde_json::{Value, json};
use tower::ServiceExt as _;

#[path = "support/memory.rs"]
mod memory;
use memory::{Memory, NOON};

struct Api {
    router: Router,
    gate: Arc<Gate>,
}

impl Api {
    fn closed() -> Self {
        let mut options = Options::new("1.2.3", "/data", || Timestamp(NOON.0 + 90_500));
        options.started = NOON;
        let gate = Arc::new(Gate::default());
        Self {
            router: router(Arc::clone(&gate), options),
            gate,
        }
    }

    fn open(memory: Memory) -> Self {
        let api = Self::closed();
        let kafka = Listener {
            address: "127.0.0.1:9092".into(),
            advertised: "localhost:9092".into(),
        };
        api.gate.open(
            Arc::new(memory),
            Listeners::from([("kafka".to_owned(), kafka)]),
        );
        api
    }

    async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn ask(&self, method: &str, path: &str, kind: &str, body: String) -> (u16, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost:15672")
            .header("content-type", kind)
            .body(Body::from(body))
            .unwrap();
        let response = self.send(request).await;
        let status = response.status().as_u16();
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 24)
            .await
            .unwrap();
        (
            status,
            serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        )
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.ask("GET", path, "", String::new()).await
    }

    async fn send_json(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        self.ask(method, path, "application/json", body.to_string())
            .await
    }

    async fn publish(&self, lines: &str) -> (u16, Value) {
        self.ask(
            "POST",
            "/api/v1/topics/a/records",
            "application/x-ndjson",
            lines.to_owned(),
        )
        .await
    }
}

async fn with_topic() -> Api {
    let api = Api::open(Memory::default());
    let body = json!({"name": "a", "partitions": 2, "settings": {"retention_ms": null}});
    let (status, created) = api.send_json("POST", "/api/v1/topics", body).await;
    assert_eq!((status, &created["name"]), (201, &json!("a")));
    api
}

#[tokio::test]
async fn a_topic_is_created_changed_and_deleted() {
    let api = with_topic().await;
    let (status, topic) = api.get("/api/v1/topics/a").await;
    assert_eq!(status, 200);
    assert_eq!(topic["settings"]["retention_ms"], Value::Null);
    assert_eq!(topic["created"], "2026-11-22T10:00:00.000Z");
    assert_eq!(topic["partition_details"].as_array().map(Vec::len), Some(2));
    let change = json!({"partitions": 3, "settings": {"durability": "os"}});
    let (status, topic) = api.send_json("PATCH", "/api/v1/topics/a", change).await;
    assert_eq!((status, &topic["partitions"]), (200, &json!(3)));
    assert_eq!(topic["settings"]["durability"], "os");
    assert_eq!(
        api.ask("DELETE", "/api/v1/topics/a", "", String::new())
            .await
            .0,
        204
    );
    let (status, problem) = api.get("/api/v1/topics/a").await;
    assert_eq!((status, &problem["code"]), (404, &json!("MG-1001")));
}

#[tokio::test]
async fn validate_only_creates_nothing() {
    let api = Api::open(Memory::default());
    let body = json!({"name": "a", "validate_only": true});
    assert_eq!(api.send_json("POST", "/api/v1/topics", body).await.0, 200);
    assert_eq!(api.get("/api/v1/topics/a").await.0, 404);
}

#[tokio::test]
async fn a_topic_has_a_name_that_clients_can_use() {
    let api = Api::open(Memory::default());
    let long = "x".repeat(250);
    for name in ["", ".", "..", "a b", "a/b", "\u{e9}", "a\n", &long] {
        let (status, problem) = api
            .send_json("POST", "/api/v1/topics", json!({"name": name}))
            .await;
        assert_eq!(
            (status, &problem["code"]),
            (400, &json!("MG-1003")),
            "{name}"
        );
    }
    for name in ["...", "A_b-9.c", &long[..249]] {
        let body = json!({"name": name});
        assert_eq!(api.send_json("POST", "/api/v1/topics", body).await.0, 201);
    }
}

#[tokio::test]
async fn lists_come_in_pages() {
    let api = Api::open(Memory::default());
    for name in ["a", "b", "c"] {
        api.send_json("POST", "/api/v1/topics", json!({"name": name}))
            .await;
    }
    let (_, page) = api.get("/api/v1/topics?limit=2").await;
    assert_eq!(page["next"], "b");
    let (_, page) = api.get("/api/v1/topics?limit=2&after=b").await;
    assert_eq!(page["topics"][0]["name"], "c");
    assert_eq!(page.get("next"), None);
}

#[tokio::test]
async fn records_are_published_and_read_back_as_they_were() {
    let api = with_topic().await;
    let lines = "{\"key\":\"k\",\"value\":\"v\",\"headers\":[{\"name\":\"h\",\"value\":null}]}\n\n\
                 {\"value\":{\"base64\":\"AP8=\"},\"timestamp\":\"2026-11-22T10:00:01Z\"}\n";
    let (status, answer) = api.publish(lines).await;
    assert_eq!((status, &answer["published"]), (200, &json!(2)));
    assert_eq!(answer["results"][1], json!({"partition": 0, "offset": 1}));
    let (_, page) = api.get("/api/v1/topics/a/records?partition=0").await;
    assert_eq!(page["next"], 2);
    assert_eq!(
        page["records"][0]["headers"],
        json!([{"name": "h", "value": null}])
    );
    assert_eq!(page["records"][1]["value"], json!({"base64": "AP8="}));
    let at = "/api/v1/topics/a/records?partition=0&from=2026-11-22T10:00:01Z";
    assert_eq!(api.get(at).await.1["records"][0]["offset"], 1);
    let (status, problem) = api.get("/api/v1/topics/a/records?partition=0&from=9").await;
    assert_eq!((status, &problem["code"]), (416, &json!("MG-1006")));
}

#[tokio::test]
async fn a_publish_that_succeeds_in_part_says_so() {
    let api = with_topic().await;
    let (status, answer) = api
        .publish("{\"value\":\"v\"}\n{\"value\":\"w\",\"partition\":7}")
        .await;
    assert_eq!((status, &answer["refused"]), (207, &json!(1)));
    assert_eq!(answer["results"][1]["error"]["code"], "MG-1005");
    let (status, problem) = api.publish("{\"value\":\"v\"}\n{\"valu\":\"v\"}").await;
    assert_eq!((status, &problem["code"]), (400, &json!("MG-0010")));
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .starts_with("line 2: unknown field"),
        "{problem}"
    );
}

#[tokio::test]
async fn every_mistake_has_a_code() {
    let api = with_topic().await;
    let long = " ".repeat(9 * 1024 * 1024);
    for (method, path, kind, body, status, code) in [
        ("GET", "/nothing", "", "", 404, "MG-0013"),
        ("GET", "/api/v1/nothing", "", "", 404, "MG-0013"),
        ("PUT", "/api/v1/topics", "", "", 405, "MG-0014"),
        (
            "POST",
            "/api/v1/topics",
            "text/plain",
            "{\"name\":\"b\"}",
            415,
            "MG-0012",
        ),
        (
            "POST",
            "/api/v1/topics",
            "application/json",
            "{",
            400,
            "MG-0010",
        ),
        (
            "POST",
            "/api/v1/topics",
            "application/json",
            "{\"nam\":1}",
            400,
            "MG-0010",
        ),
        (
            "POST",
            "/api/v1/topics",
            "application/json",
            &long,
            413,
            "MG-0011",
        ),
        (
            "POST",
            "/api/v1/topics",
            "application/json",
            "{\"name\":\"a\"}",
            409,
            "MG-1002",
        ),
        (
            "PATCH",
            "/api/v1/topics/a",
            "application/json",
            "{}",
            400,
            "MG-0010",
        ),
        (
            "PATCH",
            "/api/v1/topics/a",
            "application/json",
            "{\"partitions\":1}",
            400,
            "MG-1004",
        ),
        ("GET", "/api/v1/topics?limt=1", "", "", 400, "MG-0010"),
        ("GET", "/api/v1/topics/%ff", "", "", 400, "MG-0010"),
        ("GET", "/api/v1/topics/a/records", "", "", 400, "MG-0010"),
        (
            "GET",
            "/api/v1/topics/a/records?partition=0&from=soon",
            "",
            "",
            400,
            "MG-0010",
        ),
    ] {
        let (got, problem) = api.ask(method, path, kind, body.to_owned()).await;
        assert_eq!(
            (got, &problem["code"]),
            (status, &json!(code)),
            "{method} {path}"
        );
        assert_eq!(problem["status"], status);
        assert!(problem["hint"].is_string());
    }
}

#[tokio::test]
async fn status_shows_listeners_and_uptime() {
    let (status, answer) = with_topic().await.get("/api/v1/status").await;
    assert_eq!((status, &answer["version"]), (200, &json!("1.2.3")));
    assert_eq!(answer["uptime_seconds"], 90);
    assert_eq!(answer["listeners"]["kafka"]["advertised"], "localhost:9092");
    assert_eq!(answer["alarms"][0]["name"], "disk_low");
    let metrics = &answer["metrics"];
    for (name, value) in [
        ("mulgil_messages_published_total", 4),
        ("mulgil_connections_closed_total", 4),
        ("mulgil_messages_dropped_total", 9),
        ("mulgil_request_duration_seconds_count", 3),
        ("mulgil_partitions", 2),
        ("process_open_fds", 12),
    ] {
        assert_eq!(metrics[name], value, "{name}");
    }
}

#[tokio::test]
async fn health_follows_the_life_of_the_broker() {
    let api = Api::closed();
    assert_eq!(api.get("/startupz").await.1["progress_percent"], 0);
    let recovery = || Recovery {
        phase: "log".to_owned(),
        bytes_read: 403,
        bytes_total: 1_000,
    };
    api.gate.watch(Box::new(recovery));
    assert_eq!(api.get("/livez").await.0, 200);
    assert_eq!(api.get("/readyz").await.0, 503);
    let (status, health) = api.get("/startupz").await;
    assert_eq!((status, &health["progress_percent"]), (503, &json!(40)));
    let told = json!({"phase": "log", "bytes_read": 403, "bytes_total": 1000});
    assert_eq!(health["recovery"], told);
    let reason = "recovery, phase log: 403 of 1000 bytes read";
    assert_eq!(health["checks"][0]["reason"], reason);
    let (status, problem) = api.get("/api/v1/topics").await;
    assert_eq!((status, &problem["code"]), (503, &json!("MG-5004")));

    let api = Api::open(Memory::default());
    for path in ["/livez", "/readyz", "/startupz"] {
        assert_eq!(api.get(path).await.0, 200, "{path}");
    }
    assert_eq!(api.get("/startupz").await.1.get("recovery"), None);
    let (_, health) = api.get("/readyz?verbose=1").await;
    assert_eq!(health["checks"][2], json!({"name": "storage", "ok": true}));

    api.gate.drain();
    assert_eq!(
        (api.get("/livez").await.0, api.get("/readyz").await.0),
        (200, 503)
    );
    assert_eq!(api.get("/readyz?exclude=not_draining").await.0, 200);
}

#[tokio::test]
async fn a_failed_check_names_its_reason() {
    let api = Api::open(Memory {
        unready: Some("read-only file system"),
        ..Memory::default()
    });
    let (status, health) = api.get("/readyz").await;
    let failed = json!([{"name": "storage", "ok": false, "reason": "read-only file system"}]);
    assert_eq!((status, &health["checks"]), (503, &failed));
}

#[tokio::test]
async fn a_broker_that_hangs_is_not_alive() {
    let api = Api::open(Memory {
        dead: Some("the lane has not come round for 11 s"),
        ..Memory::default()
    });
    let (status, health) = api.get("/livez").await;
    let failed = json!([
        {"name": "loops", "ok": false, "reason": "the lane has not come round for 11 s"}
    ]);
    assert_eq!((status, &health["checks"]), (503, &failed));
    assert_eq!(api.get("/readyz").await.0, 200);
}

#[tokio::test]
async fn metrics_are_the_golden_page() {
    let api = Api::open(Memory::default());
    let request = Request::builder()
        .uri("/metrics")
        .header("host", "localhost");
    let response = api.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(
        response.headers()["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let page = axum::body::to_bytes(response.into_body(), 1 << 20)
        .await
        .unwrap();
    golden("metrics.txt", std::str::from_utf8(&page).unwrap());
}

fn golden(name: &str, text: &str) {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap();
    assert!(
        wanted == text,
        "{path} differs; run with UPDATE=1 and look at the change:\n{text}"
    );
}

#[tokio::test]
async fn foreign_pages_are_refused_on_every_path_and_method() {
    let api = with_topic().await;
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        for path in [
            "/",
            "/metrics",
            "/livez",
            "/api/v1/topics",
            "/api/v1/topics/a",
            "/nothing",
        ] {
            for (name, value) in [
                ("host", "rebound.example:15672"),
                ("origin", "http://evil.example"),
                ("origin", "null"),
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-site", "same-site"),
            ] {
                let mut request = Request::builder().method(method).uri(path);
                if name != "host" {
                    request = request.header("host", "localhost:15672");
                }
                let request = request.header(name, value).body(Body::empty()).unwrap();
                let response = api.send(request).await;
                assert_eq!(response.status(), 403, "{method} {path} {name}: {value}");
                assert!(
                    !response
                        .headers()
                        .contains_key("access-control-allow-origin")
                );
                assert_eq!(response.headers()["x-content-type-options"], "nosniff");
            }
        }
    }
    assert_eq!(api.get("/api/v1/topics/a").await.0, 200);
}

#[tokio::test]
async fn what_is_asked_of_queues_in_the_wrong_way_reaches_none() {
    let api = with_topic().await;
    for (method, path, body, code) in [
        ("POST", "/api/v1/queues", json!({"nam": "q"}), "MG-0010"),
        ("POST", "/api/v1/queues", json!({"name": "a b"}), "MG-1018"),
        (
            "POST",
            "/api/v1/subscriptions",
            json!({"name": "s"}),
            "MG-0010",
        ),
        (
            "POST",
            "/api/v1/subscriptions",
            json!({"name": "s", "topic": "a", "from": "soon"}),
            "MG-0010",
        ),
        ("PATCH", "/api/v1/queues/q", json!({}), "MG-0010"),
        (
            "PATCH",
            "/api/v1/queues/q",
            json!({"settings": {}}),
            "MG-0010",
        ),
        (
            "POST",
            "/api/v1/queues/q/receive",
            json!({"records_max": 0}),
            "MG-0010",
        ),
        (
            "POST",
            "/api/v1/queues/q/receive",
            json!({"records_max": 1001}),
            "MG-0010",
        ),
        (
            "POST",
            "/api/v1/subscriptions/q/receive",
            json!({"wait_ms": 30_001}),
            "MG-0010",
        ),
        (
            "POST",
            "/api/v1/queues/q/settle",
            json!({"settlements": []}),
            "MG-0010",
        ),
        (
            "POST",
            "/api/v1/queues/q/settle",
            json!({"settlements": [{"receipt": "1.1.1.1.1", "outcome": "done"}]}),
            "MG-0010",
        ),
        (
            "POST",
            "/api/v1/queues/q/settle",
            json!({"settlements": [{
                "receipt": "1.1.1.1.1",
                "outcome": {"release": {"delay_ms": 1, "at": "2026-11-22T10:00:00Z"}},
            }]}),
            "MG-0010",
        ),
        // Who asks rightly is told that this backend has none.
        ("POST", "/api/v1/queues", json!({"name": "q"}), "MG-1010"),
        ("POST", "/api/v1/queues/q/receive", json!({}), "MG-1010"),
        (
            "POST",
            "/api/v1/queues/q/settle",
            json!({"settlements": [{"receipt": "1.1.1.1.1", "outcome": "accept"}]}),
            "MG-1010",
        ),
    ] {
        let (_, problem) = api.send_json(method, path, body.clone()).await;
        assert_eq!(problem["code"], code, "{method} {path} {body}: {problem}");
    }
    for (path, code) in [
        ("/api/v1/queues?limt=1", "MG-0010"),
        ("/api/v1/queues/q/records?from=soon", "MG-0010"),
        ("/api/v1/queues", "MG-1010"),
        ("/api/v1/subscriptions/q/records", "MG-1010"),
    ] {
        let (_, problem) = api.get(path).await;
        assert_eq!(problem["code"], code, "{path}");
    }
    let many = vec![json!({"receipt": "1.1.1.1.1", "outcome": "accept"}); 10_001];
    let body = json!({"settlements": many});
    let settle = "/api/v1/queues/q/settle";
    assert_eq!(api.send_json("POST", settle, body).await.0, 400);
}
