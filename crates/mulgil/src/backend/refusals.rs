//! From each refusal of the broker to the code that the API has for it.

use mulgil_admin::catalogue::Code;
use mulgil_admin::problem::Refusal;
use mulgil_broker::request::{AlterRefusal, AppendRefusal, CreateRefusal, ReadRefusal};
use mulgil_meta::settings::SettingRefusal;

pub(super) fn unexpected() -> Refusal {
    Refusal::new(Code::Internal, "the broker answered something else")
}

pub(super) fn stopping() -> Refusal {
    Refusal::new(Code::Stopping, "the broker is stopping")
}

pub(super) fn append_refusal(refusal: &AppendRefusal) -> Refusal {
    let code = match refusal {
        AppendRefusal::UnknownPartition(_) => Code::PartitionUnknown,
        AppendRefusal::Partition(_) => Code::RecordRefused,
        AppendRefusal::DiskFull => Code::DiskFull,
        AppendRefusal::Overloaded => Code::Overloaded,
        AppendRefusal::Stopping => Code::Stopping,
    };
    Refusal::new(code, refusal.to_string())
}

pub(super) fn read_refusal(refusal: &ReadRefusal) -> Refusal {
    let code = match refusal {
        ReadRefusal::UnknownPartition(_) => Code::PartitionUnknown,
        ReadRefusal::OutOfRange { .. } => Code::OffsetOutOfRange,
        ReadRefusal::Damaged { .. } => Code::Damaged,
        ReadRefusal::FencedEpoch { .. }
        | ReadRefusal::UnknownEpoch { .. }
        | ReadRefusal::Unavailable(_) => Code::Internal,
    };
    Refusal::new(code, refusal.to_string())
}

pub(super) fn create_refusal(refusal: &CreateRefusal) -> Refusal {
    let code = match refusal {
        CreateRefusal::Exists(_) => Code::TopicExists,
        CreateRefusal::PartitionCount { .. } | CreateRefusal::TooMany { .. } => {
            Code::PartitionCount
        }
        CreateRefusal::Name(_) => Code::TopicName,
        CreateRefusal::DiskFull => Code::DiskFull,
        CreateRefusal::Stopping => Code::Stopping,
    };
    Refusal::new(code, refusal.to_string())
}

pub(super) fn alter_refusal(refusal: &AlterRefusal, name: &str) -> Refusal {
    let code = match refusal {
        AlterRefusal::Unknown => Code::TopicUnknown,
        AlterRefusal::PartitionCount { .. } | AlterRefusal::TooMany { .. } => Code::PartitionCount,
        AlterRefusal::Setting(_) => Code::SettingValue,
        AlterRefusal::DiskFull => Code::DiskFull,
        AlterRefusal::Stopping => Code::Stopping,
    };
    Refusal::new(code, format!("topic \"{name}\": {refusal}"))
}

pub(super) fn setting_refusal(refusal: &SettingRefusal) -> Refusal {
    Refusal::new(Code::SettingValue, refusal.to_string())
}
