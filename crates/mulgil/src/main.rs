//! The `mulgil` program.
mod node;
fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let a: Vec<String> = std::env::args().collect();
    let get = |n: &str| {
        a.iter()
            .position(|x| x == n)
            .and_then(|i| a.get(i + 1))
            .cloned()
    };
    let dir = get("--data-dir").unwrap();
    let node = node::start(&node::NodeOptions {
        data_dir: dir.clone().into(),
        kafka: Some(get("--kafka").unwrap_or("127.0.0.1:9092".into()).parse()?),
        advertised: None,
        runtimes: 0,
        partitions_default: 1,
        auto_create_topics: true,
        lane: Default::default(),
        limits: Default::default(),
        keeper: Default::default(),
    })?;
    std::fs::write(
        format!("{dir}/addresses.json"),
        format!(
            "{{\"kafka\":\"{}\",\"http\":\"127.0.0.1:1\"}}",
            node.kafka.unwrap()
        ),
    )?;
    println!("Server startup complete");
    let rt = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    rt.block_on(async move {
        let mut term =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
        tokio::select! { _ = tokio::signal::ctrl_c() => {}, _ = term.recv() => {} }
        node.stop().await
    });
    Ok(())
}
