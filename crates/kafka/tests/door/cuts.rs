//! However the stream of a client is cut into pieces, the same comes out.

use kafka_protocol::messages::ApiKey;

use crate::driver::Driver;
use crate::hostile::Random;
use crate::samples::sample;
use crate::versions::{advertised, broker};

#[test]
fn the_cuts_of_the_stream_do_not_matter() {
    let mut stream = Vec::new();
    let mut correlation = 0;
    for _ in 0..3 {
        for (key, _, max) in advertised() {
            let (_, id) = broker();
            correlation += 1;
            stream.extend_from_slice(&sample(key, max, correlation, id));
            if key == ApiKey::Produce {
                stream.extend_from_slice(&sample(key, max, correlation, id));
            }
        }
    }
    let run = |cut: &mut dyn FnMut() -> usize| {
        let (broker, _) = broker();
        let mut driver = Driver::new(&broker);
        let mut rest = &stream[..];
        while !rest.is_empty() {
            let (piece, left) = rest.split_at(cut().clamp(1, rest.len()));
            rest = left;
            driver.receive(piece.to_vec());
            driver.settle();
        }
        driver.settle();
        assert!(driver.hangup.is_none(), "{:?}", driver.hangup);
        driver.sent()
    };
    let whole = run(&mut || usize::MAX);
    assert!(!whole.is_empty());
    assert!(run(&mut || 1) == whole);
    for seed in 0..40 {
        let mut random = Random(seed);
        assert!(run(&mut || random.below(300)) == whole, "seed {seed}");
    }
}
