//! From each refusal of the broker to the code that the API has for it.

use std::time::Duration;

use mulgil_admin::catalogue::Code;
use mulgil_admin::problem::Refusal;
use mulgil_broker::courier::CourierFault;
use mulgil_broker::request::{
    AlterRefusal, AppendRefusal, CreateRefusal, DeleteRefusal, ReadRefusal,
};
use mulgil_broker::subscription::{QueueRefusal, SettleRefusal, SubscriptionRefusal};
use mulgil_meta::settings::SettingRefusal;

pub(super) fn unexpected() -> Refusal {
    Refusal::new(Code::Internal, "the broker answered something else")
}

pub(super) fn unreachable(after: Duration) -> Refusal {
    let seconds = after.as_secs();
    let detail = format!("the lane could not be entered for {seconds} s; see /livez");
    Refusal::new(Code::Unhealthy, detail)
}

pub(super) fn courier_fault(fault: &CourierFault, name: &str) -> Refusal {
    match fault {
        CourierFault::Subscription(why) => subscription_refusal(why, name),
        CourierFault::Read(why) => read_refusal(why),
        CourierFault::Damaged { .. } => Refusal::new(Code::Damaged, fault.to_string()),
        CourierFault::Unreachable(after) => unreachable(*after),
        CourierFault::Stopping => stopping(),
        CourierFault::Unexpected => unexpected(),
    }
}

pub(super) fn stopping() -> Refusal {
    Refusal::new(Code::Stopping, "the broker is stopping")
}

pub(super) fn append_refusal(refusal: &AppendRefusal) -> Refusal {
    let code = match refusal {
        AppendRefusal::UnknownPartition(_) => Code::PartitionUnknown,
        AppendRefusal::Partition(_) => Code::RecordRefused,
        AppendRefusal::DiskFull => Code::DiskFull,
        AppendRefusal::Overloaded | AppendRefusal::FactsOwed => Code::Overloaded,
        AppendRefusal::QueueFull { .. } => Code::QueueFull,
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
        AlterRefusal::Ordered(_) => Code::PartitionCount,
        AlterRefusal::DiskFull => Code::DiskFull,
        AlterRefusal::Stopping => Code::Stopping,
    };
    Refusal::new(code, format!("topic \"{name}\": {refusal}"))
}

pub(super) fn subscription_refusal(refusal: &SubscriptionRefusal, name: &str) -> Refusal {
    use SubscriptionRefusal as Why;
    let code = match refusal {
        Why::Unknown | Why::Deleted => Code::SubscriptionUnknown,
        Why::Exists(_) => Code::SubscriptionExists,
        Why::UnknownTopic => Code::TopicUnknown,
        Why::UnknownDeadLetter(_) | Why::DeadLetterToItself | Why::DeadLetter => {
            Code::DeadLetterTarget
        }
        Why::UnknownPartition(_) => Code::PartitionUnknown,
        Why::Name(_) => Code::SubscriptionName,
        Why::Setting(_) | Why::Priority(_) => Code::SubscriptionSetting,
        Why::TooMany(_)
        | Why::TooManyFilters(_)
        | Why::TooManyConsumers(_)
        | Why::TooManyLocked(_) => Code::SubscriptionsFull,
        Why::Topic(refusal) => return create_refusal(refusal),
        Why::TopicSetting(refusal) => return setting_refusal(refusal),
        Why::TopicDeletion(DeleteRefusal::Unknown) => Code::TopicUnknown,
        Why::TopicDeletion(DeleteRefusal::Stopping) | Why::Stopping => Code::Stopping,
        Why::NotAQueue => Code::NotAQueue,
        Why::Amount { .. } => Code::Malformed,
        Why::Queue(refusal) => queue_code(refusal),
        // Of consumers of connections; the API has none.
        Why::UnknownConsumer(_) | Why::Waits(_) => Code::Internal,
        Why::DiskFull => Code::DiskFull,
    };
    Refusal::new(code, format!("\"{name}\": {refusal}"))
}

pub(super) fn settle_refusal(refusal: &SettleRefusal) -> Refusal {
    let code = match refusal {
        SettleRefusal::UnknownPartition(_) => Code::BadReceipt,
        SettleRefusal::Queue(refusal) => queue_code(refusal),
        SettleRefusal::Words { .. } | SettleRefusal::Lock(_) => Code::SubscriptionSetting,
    };
    Refusal::new(code, refusal.to_string())
}

const fn queue_code(refusal: &QueueRefusal) -> Code {
    match refusal {
        QueueRefusal::NotHeld { .. } => Code::NotHeld,
        QueueRefusal::Full { .. } | QueueRefusal::FullOfBytes { .. } => Code::SubscriptionsFull,
        QueueRefusal::Exclusive { .. } => Code::NotAllowed,
        // The lane sees to it that none of these comes to be.
        QueueRefusal::AlreadyAttached { .. }
        | QueueRefusal::NotAttached { .. }
        | QueueRefusal::OutOfOrder { .. }
        | QueueRefusal::NotArchiving { .. }
        | QueueRefusal::NotWaiting { .. }
        | QueueRefusal::SizesNotTracked
        | QueueRefusal::CannotTrack { .. }
        | QueueRefusal::KeysAndPriorities
        | QueueRefusal::BeyondEnd { .. }
        | QueueRefusal::FactsUnknown
        | QueueRefusal::Nothing => Code::Internal,
    }
}

pub(super) fn setting_refusal(refusal: &SettingRefusal) -> Refusal {
    Refusal::new(Code::SettingValue, refusal.to_string())
}
