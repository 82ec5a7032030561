//! One blocking connection: requests of the crate `kafka-protocol` out, their answers in.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{
    ApiVersionsRequest, BrokerId, CreateTopicsRequest, ListOffsetsRequest, RequestHeader,
    ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};

/// A new topic's partitions may take a moment to find their leader.
const LED_LIMIT: Duration = Duration::from_secs(30);
/// What the generator calls itself.
pub(crate) const CLIENT_ID: &str = "mulgil-bench";
/// Nothing that is measured takes so long: a broker that does is stuck.
const STUCK: Duration = Duration::from_secs(60);
const READ_BUFFER_BYTES: usize = 256 << 10;

/// A connection to a broker.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) out: TcpStream,
    pub(crate) input: Input,
    next_correlation: i32,
}

/// The reading half of a connection.
#[derive(Debug)]
pub(crate) struct Input {
    stream: BufReader<TcpStream>,
    /// The last answer's memory: fresh pages for each of 50 MiB would cost more than reading it.
    lent: Bytes,
}

impl Input {
    /// The next answer, without its length.
    pub(crate) fn answer(&mut self) -> Result<Bytes> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).context("no answer")?;
        let length = usize::try_from(u32::from_be_bytes(length))?;
        let mut space = match std::mem::take(&mut self.lent).try_into_mut() {
            Ok(space) => Vec::from(space),
            Err(_still_read) => Vec::new(),
        };
        if space.len() < length {
            space.resize(length, 0);
        }
        let body = space.get_mut(..length).context("room was made")?;
        self.stream.read_exact(body)?;
        self.lent = space.into();
        Ok(self.lent.slice(..length))
    }

    /// The next answer, which is to a request `R` of `version`.
    pub(crate) fn answer_to<R: Request>(&mut self, version: i16) -> Result<(i32, R::Response)> {
        let mut body = self.answer()?;
        let head = ResponseHeader::decode(&mut body, R::Response::header_version(version))?;
        Ok((
            head.correlation_id,
            R::Response::decode(&mut body, version)?,
        ))
    }
}

impl Wire {
    /// Connects to `address`.
    pub(crate) fn connect(address: &str) -> Result<Self> {
        let out = TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
        out.set_nodelay(true)?;
        out.set_read_timeout(Some(STUCK))?;
        out.set_write_timeout(Some(STUCK))?;
        let stream = BufReader::with_capacity(READ_BUFFER_BYTES, out.try_clone()?);
        Ok(Self {
            out,
            input: Input {
                stream,
                lent: Bytes::new(),
            },
            next_correlation: 0,
        })
    }

    /// Sends `request` and waits for its answer.
    pub(crate) fn call<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response> {
        let correlation = self.next_correlation;
        self.next_correlation += 1;
        self.out.write_all(&frame(request, version, correlation)?)?;
        let (got, answer) = self.input.answer_to::<R>(version)?;
        ensure!(
            got == correlation,
            "answer {got} came instead of {correlation}"
        );
        Ok(answer)
    }

    /// Asks for versions, to see that the broker answers.
    pub(crate) fn greet(&mut self) -> Result<()> {
        let answer = self.call(&ApiVersionsRequest::default(), 0)?;
        ensure!(
            answer.error_code == 0,
            "ApiVersions: error {}",
            answer.error_code
        );
        Ok(())
    }

    /// Creates a topic, and waits until all of its partitions answer.
    pub(crate) fn create_topic(
        &mut self,
        name: &str,
        partitions: i32,
        setting: Option<(String, String)>,
    ) -> Result<()> {
        let configs = setting.map(|(name, value)| {
            CreatableTopicConfig::default()
                .with_name(StrBytes::from_string(name))
                .with_value(Some(StrBytes::from_string(value)))
        });
        let topic = CreatableTopic::default()
            .with_name(topic_name(name))
            .with_num_partitions(partitions)
            .with_replication_factor(1)
            .with_configs(configs.into_iter().collect());
        let request = CreateTopicsRequest::default()
            .with_topics(vec![topic])
            .with_timeout_ms(30_000);
        let answer = self.call(&request, 5)?;
        for topic in answer.topics {
            let why = topic.error_message.unwrap_or_default();
            ensure!(
                topic.error_code == 0,
                "topic {name}: error {} {why}",
                topic.error_code
            );
        }
        let begin = Instant::now();
        loop {
            match self.ends(name, partitions) {
                Ok(_ends) => return Ok(()),
                Err(error) if begin.elapsed() > LED_LIMIT => return Err(error),
                Err(_not_yet) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// The end offsets of partitions 0 to `partitions`.
    pub(crate) fn ends(&mut self, topic: &str, partitions: i32) -> Result<Vec<i64>> {
        let asked = (0..partitions).map(|index| {
            ListOffsetsPartition::default()
                .with_partition_index(index)
                .with_timestamp(-1)
        });
        let topic = ListOffsetsTopic::default()
            .with_name(topic_name(topic))
            .with_partitions(asked.collect());
        let request = ListOffsetsRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_topics(vec![topic]);
        let answer = self.call(&request, 5)?;
        let mut ends = vec![0; usize::try_from(partitions)?];
        for partition in answer.topics.into_iter().flat_map(|topic| topic.partitions) {
            let index = partition.partition_index;
            ensure!(
                partition.error_code == 0,
                "end of {index}: error {}",
                partition.error_code
            );
            let end = ends.get_mut(usize::try_from(index)?);
            *end.context("a partition that was not asked for")? = partition.offset;
        }
        Ok(ends)
    }
}

/// A topic's name as the schemas want it.
pub(crate) fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

/// `request` with its length and header.
pub(crate) fn frame<R: Request>(request: &R, version: i16, correlation: i32) -> Result<Bytes> {
    let head = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(StrBytes::from_static_str(CLIENT_ID)));
    let mut out = BytesMut::zeroed(4);
    head.encode(&mut out, R::header_version(version))?;
    request.encode(&mut out, version)?;
    let length = u32::try_from(out.len() - 4)?.to_be_bytes();
    if let Some(place) = out.first_chunk_mut() {
        *place = length;
    }
    Ok(out.freeze())
}
