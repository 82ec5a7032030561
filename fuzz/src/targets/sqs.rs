//! Requests of SQS clients, in both forms.

use mulgil_sqs::params::{self, Asked};

/// The first line is the header that names the action, the rest the body.
pub(super) fn json(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (head, body) = bytes.split_at(end.unwrap_or(0));
    let body = body.strip_prefix(b"\n").unwrap_or(body);
    let head = String::from_utf8_lossy(head);
    let asked = params::from_json(&head, body);
    assert_eq!(asked, params::from_json(&head, body), "the same twice");
    if let Ok(asked) = asked {
        named(&asked);
        let again = serde_json::to_vec(&asked.parameters).expect("parameters are JSON");
        assert_eq!(params::from_json(&head, &again), Ok(asked));
    }
}

/// A form.
pub(super) fn query(bytes: &[u8]) {
    let asked = params::from_query(bytes);
    assert_eq!(asked, params::from_query(bytes), "the same twice");
    if let Ok(asked) = asked {
        named(&asked);
    }
}

fn named(asked: &Asked) {
    assert!(!asked.action.is_empty() && asked.action.len() <= 64);
}
