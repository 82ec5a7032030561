//! What unmodified Amazon SQS clients say and want to hear (API 2012-11-05): requests in both of their
//! protocols, refusals in the forms of both, and the digests that SDKs check. It does not listen yet.

pub mod digest;
pub mod fault;
pub mod params;
