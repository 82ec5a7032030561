//! A topic's settings, as the API writes them and as the broker keeps them.

use mulgil_admin::model;
use mulgil_meta::schema::{Durability, TimestampType, TopicSettings};

pub(super) fn to_model(settings: &TopicSettings) -> model::TopicSettings {
    model::TopicSettings {
        durability: match settings.durability {
            Durability::Memory => model::Durability::Memory,
            Durability::Os => model::Durability::Os,
            Durability::Fsync => model::Durability::Fsync,
        },
        retention_ms: settings.retention_ms,
        retention_bytes: settings.retention_bytes,
        reclaim_on_ack: settings.reclaim_on_ack,
        message_bytes_max: settings.message_bytes_max,
        timestamp_type: match settings.timestamp_type {
            TimestampType::CreateTime => model::TimestampType::CreateTime,
            TimestampType::LogAppendTime => model::TimestampType::LogAppendTime,
        },
        timestamp_before_max_ms: settings.timestamp_before_max_ms,
        timestamp_after_max_ms: settings.timestamp_after_max_ms,
    }
}

pub(super) fn from_model(settings: &model::TopicSettings) -> TopicSettings {
    TopicSettings {
        durability: match settings.durability {
            model::Durability::Memory => Durability::Memory,
            model::Durability::Os => Durability::Os,
            model::Durability::Fsync => Durability::Fsync,
        },
        retention_ms: settings.retention_ms,
        retention_bytes: settings.retention_bytes,
        message_bytes_max: settings.message_bytes_max,
        timestamp_type: match settings.timestamp_type {
            model::TimestampType::CreateTime => TimestampType::CreateTime,
            model::TimestampType::LogAppendTime => TimestampType::LogAppendTime,
        },
        timestamp_before_max_ms: settings.timestamp_before_max_ms,
        timestamp_after_max_ms: settings.timestamp_after_max_ms,
        reclaim_on_ack: settings.reclaim_on_ack,
        ..TopicSettings::default()
    }
}
